import { expect, test } from 'vitest';
import { arrival } from '../../ports/inbox.testing.ts';
import { encodeEntry, entryBody, keyOfLine, otherBody } from './record.ts';

test.each([
  ['plain', 'k1'],
  ['quotes and backslashes', '"\\"\\\\","at":"'],
  ['text of another script', 'ключ 鍵 🔑'],
  ['half of a surrogate pair', '\ud83d'],
  ['the longest, each unit of which takes most', '\0'.repeat(1024)],
  ['the longest in UTF-8', '鍵'.repeat(1024)],
])('the key of an entry is what its line begins with: %s', (_, key) => {
  const entry = arrival(key);
  const line = Buffer.from(entryBody(9_007_199_254_740_991, encodeEntry(entry)));
  expect(JSON.parse(`${keyOfLine(line)?.toString('utf8')}}`)).toEqual({
    n: 9_007_199_254_740_991,
    key,
    at: entry.at,
  });
});

test.each([
  otherBody({ mark: 7 }),
  '{"key":"k","n":1,"at":"2026-11-21T00:00:00.000Z"',
  '{"n":1,"key":"k"',
])('a line that is no entry has no key: %s', (body) => {
  expect(keyOfLine(Buffer.from(body))).toBeNull();
});
