import type { RichBlock } from 'grammy/types';
import { describe, expect, test } from 'vitest';
import { readRichMessage } from './rich-message.ts';

const users = (): undefined => undefined;

function read(value: unknown): { blocks: RichBlock[]; text: string } {
  const { message, text } = readRichMessage(value, { users, isDraft: false });
  return { blocks: message.blocks, text };
}

const markdown = (source: string): RichBlock[] => read({ markdown: source }).blocks;
const html = (source: string): RichBlock[] => read({ html: source }).blocks;
const inline = (source: string): unknown => {
  const [block] = markdown(source);
  return block?.type === 'paragraph' ? block.text : block;
};

describe('rich Markdown', () => {
  test('has the blocks of GitHub Flavored Markdown', () => {
    const source = [
      '# Title',
      'Text that goes',
      'on.',
      '',
      '```ts',
      'let **a**',
      '```',
      '---',
      '> quoted',
      '> > twice',
      '',
      '$$E = mc^2$$',
      '',
      'Below',
      '-----',
    ].join('\n');
    expect(markdown(source)).toEqual([
      { type: 'heading', text: 'Title', size: 1 },
      { type: 'paragraph', text: 'Text that goes on.' },
      { type: 'pre', text: 'let **a**', language: 'ts' },
      { type: 'divider' },
      {
        type: 'blockquote',
        blocks: [
          { type: 'paragraph', text: 'quoted' },
          { type: 'blockquote', blocks: [{ type: 'paragraph', text: 'twice' }] },
        ],
      },
      { type: 'mathematical_expression', expression: 'E = mc^2' },
      { type: 'heading', text: 'Below', size: 2 },
    ]);
  });

  test('has lists in lists, numbers and boxes', () => {
    const { text } = read({
      markdown:
        '1. one\n2. two\n   more\n   - inner\n\n- [x] done\n- [ ] open\n  lazy\n* other list',
    });
    expect(text).toBe('1. one\n2. two more\n  • inner\n☑ done\n☐ open lazy\n• other list');
  });

  test('has tables', () => {
    expect(markdown('| a | `x|y` |\n|:--|:-:|\n| 1 |\n')).toEqual([
      {
        type: 'table',
        is_bordered: true,
        cells: [
          [
            { text: 'a', is_header: true, align: 'left', valign: 'middle' },
            {
              text: { type: 'code', text: 'x|y' },
              is_header: true,
              align: 'center',
              valign: 'middle',
            },
          ],
          [
            { text: '1', align: 'left', valign: 'middle' },
            { align: 'center', valign: 'middle' },
          ],
        ],
      },
    ]);
  });

  test('has details and footnotes', () => {
    const source =
      '<details open><summary>**S**</summary>\n\n- a\n\n</details>\n\nSee[^n].\n\n[^n]: The note.';
    expect(markdown(source)).toMatchObject([
      {
        type: 'details',
        summary: { type: 'bold', text: 'S' },
        blocks: [{ type: 'list' }],
        is_open: true,
      },
      {
        type: 'paragraph',
        text: ['See', { type: 'reference_link', text: '1', reference_name: 'n' }, '.'],
      },
      { type: 'paragraph', text: { type: 'reference', text: 'The note.', name: 'n' } },
    ]);
  });

  test.each<[string, unknown]>([
    ['**b**', { type: 'bold', text: 'b' }],
    ['***b***', { type: 'bold', text: { type: 'italic', text: 'b' } }],
    ['**b *i***', { type: 'bold', text: ['b ', { type: 'italic', text: 'i' }] }],
    ['~~s~~', { type: 'strikethrough', text: 's' }],
    ['==m==', { type: 'marked', text: 'm' }],
    ['||s||', { type: 'spoiler', text: 's' }],
    ['``a ` b``', { type: 'code', text: 'a ` b' }],
    ['$x^2$', { type: 'mathematical_expression', expression: 'x^2' }],
    ['costs $5 or $6', 'costs $5 or $6'],
    ['2*3, snake_case_name, a * b, a == b || c', '2*3, snake_case_name, a * b, a == b || c'],
    ['\\*a\\* &lt;b&gt; 1 < 2', '*a* <b> 1 < 2'],
    ['a  \nb\\\nc', 'a  \nb\nc'],
    ['[x](https://a.example/(y) "t")', { type: 'url', text: 'x', url: 'https://a.example/(y)' }],
    ['[x] (y)', '[x] (y)'],
    ['<u>u</u>', { type: 'underline', text: 'u' }],
    ['<sup>2</sup>', { type: 'superscript', text: '2' }],
    ['@ada_l', { type: 'mention', text: '@ada_l', username: 'ada_l' }],
    [
      '![👍](tg://emoji?id=5)',
      { type: 'custom_emoji', custom_emoji_id: '5', alternative_text: '👍' },
    ],
  ])('%s', (source, expected) => {
    expect(inline(source)).toEqual(expected);
  });

  test.each([
    ['é\n\n```ts\nlet', "Can't find end of PreCode entity at byte offset 4"],
    ['a **b', "Can't find end of Bold entity at byte offset 2"],
    ['> x\n> a *b', "Can't find end of Italic entity at byte offset 8"],
    ['**a *b** c*', "Can't find end of"],
    ['a `b', "Can't find end of Code entity at byte offset 2"],
    ['[a](b', "Can't find end of a URL at byte offset 4"],
    ['$$x', "Can't find end of a mathematical expression at byte offset 0"],
    ['<u>a', `Can't find end tag corresponding to start tag "u"`],
    ['x <u>a</b>', 'Unmatched end tag at byte offset 6, expected "</u>", found "</b>"'],
    ['Vec<T>', 'Unsupported start tag "t" at byte offset 3'],
    [
      'x ![a](https://a.example/b.jpg)',
      'Media can be specified only as a separate block at byte offset 2',
    ],
    ['| a | b |\n|---|', 'Table has 2 header cells and 1 columns at byte offset 0'],
    ['| a |\n|---|\n| 1 | 2 |', 'Table row has 2 cells for 1 columns at byte offset 12'],
    ['<details>\nx', 'Tag "details" must begin with "summary" at byte offset 0'],
    ['<details><summary>a</summary>\nx', `Can't find end tag corresponding to start tag "details"`],
    ['[^a]: x\n[^a]: y', 'Footnote "a" is defined twice at byte offset 8'],
    ['>'.repeat(40) + 'x', 'Blocks are nested in more than 16 levels'],
    ['['.repeat(40) + 'x' + '](a.example)'.repeat(40), 'Text is nested in more than 16 levels'],
    ['<b>'.repeat(40), 'Text is nested in more than 16 levels'],
  ])('%.60s is refused', (source, reason) => {
    expect(() => markdown(source)).toThrow(`Bad Request: can't parse entities: ${reason}`);
  });

  test('of strange shape is read in no time, however long it is', () => {
    const pieces = [
      '*',
      '**a ',
      '[',
      '![',
      '`',
      '$a',
      '|',
      '| a ',
      '> ',
      '- ',
      '<',
      '<b>',
      '&',
      '_a',
      '\\',
      '[^',
      '#',
    ];
    for (const piece of pieces) {
      const long = piece.repeat(Math.floor(30_000 / piece.length));
      try {
        markdown(long);
        markdown(long.replaceAll(' ', '\n'));
      } catch (error) {
        expect(String(error)).toContain('Bad Request');
      }
    }
  });
});

describe('rich HTML', () => {
  test('has blocks, lists, tables and code', () => {
    const source = [
      '<h2>T</h2>',
      '<p>a\n  <b>b</b><br>c</p>loose',
      '<ol start="3"><li>x</li><li><p>y</p><ul><li>z</li></ul></li></ol>',
      '<ul><li><input type="checkbox" checked>done</li></ul>',
      '<table bordered><tr><th align="center">h</th></tr><tr><td>d</td></tr></table>',
      '<pre><code class="language-ts">a\n  b</code></pre><hr/>',
      '<blockquote>q<cite>W</cite></blockquote>',
      '<details open><summary>S</summary>in</details>',
    ].join('\n');
    const { blocks, text } = read({ html: source });
    expect(blocks.map(({ type }) => type).join(' ')).toBe(
      'heading paragraph paragraph list list table pre divider blockquote details',
    );
    expect(text).toBe(
      [
        'T',
        'a b\nc',
        'loose',
        '3. x',
        '4. y',
        '  • z',
        '☑ done',
        'h',
        'd',
        'a\n  b',
        '',
        'q',
        'S\nin',
      ].join('\n'),
    );
    expect(blocks[8]).toMatchObject({ credit: 'W' });
    expect(blocks[6]).toEqual({ type: 'pre', text: 'a\n  b', language: 'ts' });
  });

  test.each([
    ['<p>a', `Can't find end tag corresponding to start tag "p"`],
    ['<div>a</div>', 'Unsupported start tag "div" at byte offset 0'],
    ['<b><p>a</p></b>', 'Unexpected tag "p" at byte offset 3'],
    ['<ul>a</ul>', 'Unexpected text in the tag "ul" at byte offset 0'],
    ['<table><td>a</td></table>', 'Unexpected tag "td" at byte offset 7'],
    ['<details>a</details>', 'Tag "details" must begin with "summary" at byte offset 0'],
    [
      `<table><tr>${'<td>a</td>'.repeat(21)}</tr></table>`,
      'Table has more than 20 columns at byte offset 0',
    ],
    ['<p>'.repeat(60), 'Tags are nested in more than 48 levels'],
  ])('%.60s is refused', (source, reason) => {
    expect(() => html(source)).toThrow(`Bad Request: can't parse entities: ${reason}`);
  });
});

describe('a rich message', () => {
  test('may be blocks, as they are', () => {
    const blocks = [
      { type: 'paragraph', text: ['a ', { type: 'bold', text: '@ada_l' }] },
      { type: 'list', items: [{ blocks: [{ type: 'divider' }], value: 4 }] },
    ];
    expect(read({ blocks, skip_entity_detection: true }).blocks).toEqual([
      blocks[0],
      { type: 'list', items: [{ label: '4.', blocks: [{ type: 'divider' }], value: 4 }] },
    ]);
  });

  const refused: [unknown, string][] = [
    [{}, 'exactly one of the fields html, markdown, or blocks must be used'],
    [
      { markdown: 'a', html: 'a' },
      'exactly one of the fields html, markdown, or blocks must be used',
    ],
    [{ markdown: '' }, 'message text is empty'],
    [{ markdown: ' \n ' }, 'text must be non-empty'],
    [{ markdown: 'a'.repeat(32_769) }, 'message is too long'],
    [{ markdown: 'a\n\n'.repeat(501) }, 'rich message has more than 500 blocks'],
    [{ markdown: '![](https://a.example/b.jpg)' }, 'failed to get HTTP URL content'],
    [{ html: '<img src="https://a.example/b.jpg"/>' }, 'failed to get HTTP URL content'],
    [{ blocks: [{ type: 'map' }] }, `can't parse InputRichBlock: type "map" is unsupported`],
    [{ blocks: [{ type: 'thinking', text: 'x' }] }, 'thinking block may be used only in drafts'],
  ];
  test.each(refused.map(([value, reason]) => ({ value, reason })))(
    'is refused: $reason',
    ({ value, reason }) => {
      expect(() => read(value)).toThrow(`Bad Request: ${reason}`);
    },
  );

  test('counts characters as Telegram does: two surrogates are one', () => {
    expect(read({ markdown: '🔥'.repeat(32_768) }).text).toHaveLength(65_536);
  });
});
