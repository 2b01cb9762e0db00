import { describe, expect, test } from 'vitest';
import { formatText, type FormattedText } from './formatted-text.ts';

const ada = { id: 7, is_bot: false, first_name: 'Ada' };

function format(text: string, parseMode = ''): FormattedText {
  const users = (id: number): typeof ada | undefined => (id === ada.id ? ada : undefined);
  return formatText(text, { parseMode, entities: undefined, users, emptyName: 'message text' });
}

/** Each entity as its type and the words that it covers. */
function marked(text: string, parseMode = ''): string[] {
  const { text: shown, entities } = format(text, parseMode);
  return entities.map(
    ({ type, offset, length }) => `${type}: ${shown.slice(offset, offset + length)}`,
  );
}

describe('a plain text', () => {
  test('is trimmed and keeps its marks', () => {
    expect(format(' \n *a* <b> \n').text).toBe('*a* <b>');
  });

  test.each([
    [
      'hi @ada_l, see https://a.example/x?y=1.',
      ['mention: @ada_l', 'url: https://a.example/x?y=1'],
    ],
    ['/start@helper_bot now', ['bot_command: /start@helper_bot']],
    ['a/b @x 1/2 ##x', []],
    ['#tag #12 $USD me@a.example', ['hashtag: #tag', 'cashtag: $USD', 'email: me@a.example']],
    ['👍👍 t.me', ['url: t.me']],
  ])('%s', (text, expected) => {
    expect(marked(text)).toEqual(expected);
  });

  test('of one kind of character is read in no time, however long it is', () => {
    for (const character of ['a', '@', '/', '#', '.', 'a.', '$', 'a@', '-.']) {
      const long = character.repeat(30_000);
      expect(format(long).text).toBe(long);
    }
  });

  test.each(['', ' \n\t '])('%j is refused', (text) => {
    expect(() => format(text)).toThrow(
      text === '' ? 'Bad Request: message text is empty' : 'Bad Request: text must be non-empty',
    );
  });
});

describe('HTML', () => {
  test.each([
    ['<b>a</b> <strong>b</strong>', ['bold: a', 'bold: b']],
    ['<b>a <i>b <u>c</u></i></b>', ['bold: a b c', 'italic: b c', 'underline: c']],
    [
      '<s>a</s><del>b</del><tg-spoiler>c</tg-spoiler>',
      ['strikethrough: a', 'strikethrough: b', 'spoiler: c'],
    ],
    ['<span class="tg-spoiler">a</span>', ['spoiler: a']],
    ['<a href="http://a.example">x</a>', ['text_link: x']],
    ['<a href="tg://user?id=7">x</a><a href="tg://user?id=8">y</a>', ['text_mention: x']],
    ['<a href="">no link</a>', []],
    ['<pre>a <i>b</i></pre>', ['pre: a b']],
    ['<b>x<code>y</code>z</b>', ['bold: x', 'code: y', 'bold: z']],
    ['<blockquote>q</blockquote>', ['blockquote: q']],
    ['<blockquote expandable>q</blockquote>', ['expandable_blockquote: q']],
    ['<tg-emoji emoji-id="5368324170671202286">👍</tg-emoji>', ['custom_emoji: 👍']],
    ['<tg-time unix="1647531900" format="wDT">x</tg-time>', ['date_time: x']],
    ['<B>a</B>', ['bold: a']],
    ['<code>@ada_l</code>', ['code: @ada_l']],
    ['<b></b>x', []],
  ])('%s', (text, expected) => {
    expect(marked(text, 'HTML')).toEqual(expected);
  });

  test('takes the language of code', () => {
    const { entities } = format('<pre><code class="language-ts">let a</code></pre>', 'HTML');
    expect(entities).toEqual([{ type: 'pre', offset: 0, length: 5, language: 'ts' }]);
  });

  test('reads the characters that are written as names and numbers, and no others', () => {
    expect(format('&lt;&gt;&amp;&quot;&#33;&#x1F525; &nbsp; & a&b', 'HTML').text).toBe(
      '<>&"!🔥 &nbsp; & a&b',
    );
  });

  test('keeps leading white space within code only', () => {
    expect(format('  <pre>  a</pre>', 'html').text).toBe('  a');
    expect(format('  <b>  a</b>', 'html').text).toBe('a');
  });

  test.each([
    ['<table>x</table>', 'Unsupported start tag "table" at byte offset 0'],
    ['é <br>', 'Unsupported start tag "br" at byte offset 3'],
    ['a <b', 'Unclosed start tag at byte offset 2'],
    ['a < b', 'Unsupported start tag "" at byte offset 2'],
    ['a < b>', 'Unsupported start tag "" at byte offset 2'],
    ['<b>a', `Can't find end tag corresponding to start tag "b"`],
    ['a</b>', 'Unexpected end tag at byte offset 1'],
    ['<b><i>a</b></i>', 'Unmatched end tag at byte offset 7, expected "</i>", found "</b>"'],
    ['<span>a</span>', 'Tag "span" must have class "tg-spoiler" at byte offset 0'],
    [
      '<a href>x</a>',
      'Expected equal sign in declaration of an attribute of the tag "a" at byte offset 0',
    ],
    ['<a href="x', 'Unclosed start tag at byte offset 0'],
    ['<b>a</b', 'Unclosed end tag at byte offset 4'],
    ['<tg-emoji emoji-id="x">a</tg-emoji>', 'Invalid custom emoji identifier specified'],
  ])('%s is refused', (text, reason) => {
    expect(() => format(text, 'HTML')).toThrow(`Bad Request: can't parse entities: ${reason}`);
  });
});

describe('MarkdownV2', () => {
  test.each([
    [
      '*a* _b_ __c__ ~d~ ||e||',
      ['bold: a', 'italic: b', 'underline: c', 'strikethrough: d', 'spoiler: e'],
    ],
    ['*a _b ~c~_*', ['bold: a b c', 'italic: b c', 'strikethrough: c']],
    ['`a*b` ```\nc.d\n```', ['code: a*b', 'pre: c.d']],
    ['[x](http://a.example/\\)) [y](tg://user?id=7)', ['text_link: x', 'text_mention: y']],
    ['>a\n>b\nc', ['blockquote: a\nb']],
    ['>a\n>b||', ['expandable_blockquote: a\nb']],
    ['![👍](tg://emoji?id=5368324170671202286)', ['custom_emoji: 👍']],
    ['___a_**__', ['italic: a', 'underline: a']],
    ['\\*a\\_', []],
  ])('%s', (text, expected) => {
    expect(marked(text, 'MarkdownV2')).toEqual(expected);
  });

  test('takes the language of code', () => {
    const { entities, text } = format('```ts\nlet a\n```', 'markdownv2');
    expect([entities, text]).toEqual([
      [{ type: 'pre', offset: 0, length: 5, language: 'ts' }],
      'let a',
    ]);
  });

  test.each([
    ['a.b', `Character '.' is reserved and must be escaped with the preceding '\\'`],
    ['a|b', `Character '|' is reserved and must be escaped with the preceding '\\'`],
    ['a > b', `Character '>' is reserved and must be escaped with the preceding '\\'`],
    ['🏟 🏟_abacaba', `Can't find end of Italic entity at byte offset 9`],
    ['🏟 🏟_abac * asd ', `Can't find end of Bold entity at byte offset 15`],
    ['🏟 🏟`', `Can't find end of Code entity at byte offset 9`],
    ['🏟 🏟```a ', `Can't find end of PreCode entity at byte offset 9`],
    ['*a\n>b*', `Can't find end of`],
    ['[a](b', `Can't find end of a URL at byte offset 4`],
    ['![a](b)', 'Custom emoji entity must contain a tg://emoji URL'],
  ])('%s is refused', (text, reason) => {
    expect(() => format(text, 'MarkdownV2')).toThrow(
      `Bad Request: can't parse entities: ${reason}`,
    );
  });
});

test('another parse mode is refused', () => {
  expect(() => format('a', 'Markdown')).toThrow('Bad Request: unsupported parse_mode');
});

test('entities of the bot are checked, completed and put in order', () => {
  const options = { parseMode: '', users: () => undefined, emptyName: 'message text' };
  const entities = [
    { type: 'italic', offset: 6, length: 3 },
    { type: 'bold', offset: 2, length: 100 },
    { type: 'bot_command', offset: 0, length: 2 },
    { type: 'bold', offset: 4, length: 2 },
  ];
  expect(formatText('  /go on', { ...options, entities }).entities).toEqual([
    { type: 'bot_command', offset: 0, length: 3 },
    { type: 'bold', offset: 2, length: 2 },
  ]);
  const link = [{ type: 'text_link', offset: 0, length: 1, url: 'localhost' }];
  expect(() => formatText('x', { ...options, entities: link })).toThrow(
    "Bad Request: entity URL 'localhost' is invalid: Wrong HTTP URL",
  );
});
