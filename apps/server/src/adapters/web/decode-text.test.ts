import { expect, it } from 'vitest';
import { decodeText } from './decode-text.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const latin1 = (text: string) => Uint8Array.from(Buffer.from(text, 'latin1'));

it.each([
  ['as UTF-8 where nothing is said', utf8('é'), null, 'é'],
  ['as the server says', latin1('é'), 'iso-8859-1', 'é'],
  ['as the server says, rather than the page', utf8('<meta charset="latin1">é'), 'utf-8', /é/],
  ['as the page says', latin1('<meta charset="windows-1252">é'), null, /é$/],
  [
    'as the page says in the old form',
    latin1('<meta http-equiv="x" content="text/html; charset=latin1">é'),
    null,
    /é$/,
  ],
  ['as UTF-8 where the page says UTF-16', utf8('<meta charset="utf-16">é'), null, /é$/],
  ['by its byte order mark before all', Uint8Array.from([0xff, 0xfe, 0xe9, 0]), 'utf-8', 'é'],
  ['without its byte order mark', utf8('\ufeffé'), null, 'é'],
  ['as UTF-8 where nobody knows what is said', utf8('é'), 'x-unknown', 'é'],
  ['with marks for what is broken', Uint8Array.from([0x61, 0xff, 0x62]), null, 'a\ufffdb'],
  ['without the half of a character at its end', utf8('aé').subarray(0, 2), null, 'a'],
])('reads text %s', (_, body, charset, text) => {
  expect(decodeText(body, charset)).toMatch(
    text instanceof RegExp ? text : new RegExp(`^${text}$`),
  );
});
