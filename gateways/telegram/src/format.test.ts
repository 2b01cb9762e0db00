import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { markdownCorpus } from '../../../test/support/markdown-corpus.ts';
import { formatText } from '../simulator/formatted-text.ts';
import { parseHtml } from '../simulator/parse-html.ts';
import { readRichMessage } from '../simulator/rich-message.ts';
import { visibleText } from './format/entities.ts';
import { findMentions, MAX_TEXT_LENGTH, textForms, toHtml, toRich } from './format.ts';

/** What Telegram's documentation lists, with the attributes that this gateway uses. */
const tags = new Map([
  ['b', /^$/],
  ['i', /^$/],
  ['s', /^$/],
  ['code', /^( class="language-[\w+#.-]+")?$/],
  ['pre', /^$/],
  ['blockquote', /^$/],
  ['a', /^ href="[^"<>]+"$/],
]);

/** A piece of text, the kinds of form that it has, and where it links to. */
interface Piece {
  text: string;
  forms: string[];
  href: string;
}

/** Strict: what it does not know is an error. @returns the visible text in pieces. */
function parse(html: string): Piece[] {
  const pieces: Piece[] = [];
  const open: { name: string; href: string }[] = [];
  const matches = html.matchAll(/<(\/?)([a-z][a-z\d]*)([^<>]*)>|([^<>]+)|([<>])/g);
  for (const [, slash, name = '', rest = '', text, stray] of matches) {
    if (stray !== undefined) throw new Error(`a stray ${stray} in ${html}`);
    if (text !== undefined) {
      const unknown = text.replace(/&(lt|gt|amp|quot);/g, '').match(/&.{0,10}/);
      if (unknown !== null) throw new Error(`an entity that is none: ${unknown[0]}`);
      const href = open.map((tag) => tag.href).join('');
      pieces.push({ text: visibleText(text), forms: open.map((tag) => tag.name), href });
    } else if (slash === '/') {
      const last = open.pop();
      if (last?.name !== name) throw new Error(`</${name}> closes <${last?.name}> in ${html}`);
    } else {
      const attributes = tags.get(name);
      if (attributes === undefined) throw new Error(`no tag <${name}> in ${html}`);
      if (!attributes.test(rest)) throw new Error(`<${name}${rest}> in ${html}`);
      const isNested = name !== 'code' || rest === '';
      if (isNested && open.some((tag) => tag.name === name)) {
        throw new Error(`<${name}> in itself: ${html}`);
      }
      open.push({ name, href: /href="([^"]*)"/.exec(rest)?.[1] ?? '' });
    }
  }
  if (open.length > 0) throw new Error(`<${open.at(-1)?.name}> stays open in ${html}`);
  return pieces;
}

/** The pieces of a rich message's blocks. */
function piecesOf(node: unknown, forms: string[] = [], href = ''): Piece[] {
  if (typeof node === 'string') return [{ text: node, forms, href }];
  if (Array.isArray(node)) return node.flatMap((child) => piecesOf(child, forms, href));
  if (typeof node !== 'object' || node === null) return [];
  const { type = '', url = href, ...rest } = node as Record<string, unknown>;
  const inner = [...forms, String(type)];
  return ['text', 'blocks', 'items', 'cells', 'language'].flatMap((field) =>
    piecesOf(rest[field], inner, String(url)),
  );
}

/** Both renderings of a Markdown, in pieces. Plain Markdown is provoked into blocks. */
function renderings(markdown: string): Piece[][] {
  const html = toHtml(markdown)?.text;
  const blocks = toRich(`${markdown}\n\n<!---->`)?.blocks;
  return [...(html === undefined ? [] : [parse(html)]), ...(blocks ? [piecesOf(blocks)] : [])];
}

const nobody = (): undefined => undefined;

const pieces = [
  '**bold** and *it*al',
  '`code` <b>raw</b>',
  '# Title\n',
  '## Sub *x*\n',
  '- one\n- two\n  - three\n',
  '1. a\n2. b\n\n   c\n',
  '- [x] done\n- [ ] open\n',
  '> quote\n> > deeper\n',
  '```ts\nconst a = 1 < 2 && "x";\n```\n',
  '~~~\nplain\n~~~\n',
  '| a | b |\n|:--|--:|\n| `x` | **y** @bob |\n',
  '---\n',
  '[text](https://example.com/?a=1&b="2")',
  '[t](tg://user?id=1)',
  '![alt](https://example.com/i.png "t")',
  '![](http://10.0.0.1/x)',
  'a@example.com',
  'https://example.com/x_y_z',
  '@alice @*bob* \\@carol',
  '&amp; &lt;b&gt; &#64;dave &nbsp; &eacute;',
  '~~gone~~',
  '$x^2$ ==m== ||s||',
  '<tg-button type="callback_data" data="x">press</tg-button>',
  '<details open><summary>S</summary>\nbody\n</details>\n',
  '[ref][r]\n\n[r]: https://example.org "title"\n',
  'line  \nbreak<br>x',
  '\n\n',
  ' ',
  '***',
  '[a](<b> c)',
  '\\*not\\*',
  'Ünïcödé 👩‍👩‍👧 \u202e rtl',
  '*a **b `c** d*`',
  '<',
  '>',
  '&',
  '"',
  '[',
  ']',
  '`',
  '```',
  '|',
  '@',
  '_',
  '\t- x\n',
  '    indented\n',
  '[x](javascript:alert(1))',
  '<script>alert(1)</script>',
  '[local](http://localhost:3000/a)',
];
const markdowns = fc
  .array(fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 8 })), { maxLength: 12 })
  .map((parts) => parts.join(''));

describe('a rendering of Markdown', () => {
  test('is always well formed, whatever a model writes', () => {
    fc.assert(
      fc.property(markdowns, (markdown) => {
        const html = toHtml(markdown);
        if (html === null) return;
        parse(html.text);
        // The simulator reads it as strictly as Telegram does.
        const read = parseHtml(html.text, nobody);
        expect(read.text.length).toBe(html.length);
      }),
      { numRuns: 300 },
    );
  });

  test('of every text of the corpus is well formed, and fits what Telegram takes or is left out', () => {
    let rendered = 0;
    for (const { name, text } of markdownCorpus()) {
      for (const form of textForms(text.slice(0, 4096), 'markdown')) {
        if (form.kind === 'html') {
          parse(form.text);
          const { length } = parseHtml(form.text, nobody).text;
          expect([name, length]).toEqual([name, form.length]);
        } else if (form.kind === 'rich') {
          rendered += 1;
          try {
            readRichMessage(form.rich, { users: nobody, isDraft: false });
          } catch (error) {
            // What is nested too deep, or only a line, goes as an ordinary message.
            expect(`${name}: ${String(error)}`).toMatch(/nested|non-empty|blocks$/);
          }
        }
      }
    }
    expect(rendered).toBeGreaterThan(10);
  });

  test('is taken as a rich message, whatever a model writes', () => {
    fc.assert(
      fc.property(markdowns, (markdown) => {
        const rich = toRich(markdown);
        if (rich === null) return;
        try {
          readRichMessage(rich, { users: nobody, isDraft: false });
        } catch (error) {
          // A line in a quotation, and nothing else: it goes as an ordinary message.
          expect(String(error)).toContain('text must be non-empty');
        }
      }),
      { numRuns: 300 },
    );
  });

  test('loses no word', () => {
    fc.assert(
      fc.property(markdowns, (markdown) => {
        // Not words of the text: names of entities, titles of links, letters of task marks.
        const source = markdown
          .replace(/&#?\w+;/g, ' ')
          .replace(/"t(itle)?"/g, ' ')
          .replace(/\[x\]/gi, ' ')
          .replace(/<br>/gi, ' ');
        const words = source.match(/[\p{L}]{2,}/gu) ?? [];
        const html = toHtml(markdown)?.text ?? '';
        for (const pieces of renderings(markdown)) {
          const all = pieces.flatMap(({ text, href }) => [text, href]).join('') + html;
          const shown = all.replace(/(?:%[\da-f]{2})+/gi, (bytes) =>
            Buffer.from(bytes.replaceAll('%', ''), 'hex').toString(),
          );
          for (const word of words) expect(all + shown).toContain(word);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('links only to where Telegram may lead: no users, no scripts, no hosts of this machine', () => {
    fc.assert(
      fc.property(markdowns, (markdown) => {
        for (const { href } of renderings(markdown).flat()) {
          if (href !== '') expect(href).toMatch(/^https?:\/\/[^/]*\./i);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('pings nobody: every name of an ordinary message is code or a link', () => {
    fc.assert(
      fc.property(markdowns, (markdown) => {
        const html = toHtml(markdown);
        if (html === null) return;
        const pieces = parse(html.text);
        const shown = pieces.map(({ text }) => text).join('');
        const isSafe = pieces.flatMap(({ text, forms }) =>
          Array<boolean>(text.length).fill(
            forms.some((form) => ['code', 'pre', 'a'].includes(form)),
          ),
        );
        for (const match of shown.matchAll(/(?<!\w)@\w+/g)) expect(isSafe[match.index]).toBe(true);
        const { entities } = formatText(html.text, {
          parseMode: 'HTML',
          entities: undefined,
          users: nobody,
          emptyName: null,
        });
        expect(
          entities.filter(({ type }) => type === 'mention' || type === 'text_mention'),
        ).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test('pings nobody in a rich message and in a plain text either', () => {
    expect(toRich('ask @alice')).toEqual({
      blocks: [{ type: 'paragraph', text: 'ask @alice' }],
      skip_entity_detection: true,
    });
    expect(findMentions('ask @alice, not a@b.co')).toEqual([
      { type: 'code', offset: 4, length: 6 },
    ]);
  });

  test('counts its length as Telegram does', () => {
    expect(toHtml('**a** & 👍')).toEqual({ text: '<b>a</b> &amp; 👍', length: 6 });
  });
});

describe('an ordinary message shows', () => {
  test.each([
    ['headings as bold', '# A *b*\n\ntext', '<b>A <i>b</i></b>\n\ntext'],
    [
      'code with its language',
      '```ts\na < b\n```',
      '<pre><code class="language-ts">a &lt; b</code></pre>',
    ],
    ['lists with marks and indents', '- a\n  - b\n- [x] c', '• a\n  • b\n☑ c'],
    ['numbers as they are', '3. a\n4. b', '3. a\n4. b'],
    ['a quotation in one without a tag', '> a\n>\n> > b', '<blockquote>a\n\n&gt; b</blockquote>'],
    [
      'tables in columns',
      '| a | bb |\n|--|--|\n| ccc | d |',
      '<pre>a   | bb\n----+---\nccc | d</pre>',
    ],
    [
      'pictures as links',
      '![a cat](https://e.com/c.png)',
      '<a href="https://e.com/c.png">a cat</a>',
    ],
    [
      'where a link would lead that Telegram drops',
      '[app](http://localhost:1/)',
      'app (http://localhost:1/)',
    ],
    ['HTML as it is written', 'x <b onclick=1>y</b>', 'x &lt;b onclick=1&gt;y&lt;/b&gt;'],
    ['entities as what they mean', '1 &lt; 2 &amp; `&lt;`', '1 &lt; 2 &amp; <code>&amp;lt;</code>'],
    ['names as code', 'hi @bob_c!', 'hi <code>@bob_c</code>!'],
    ['mail addresses as they are', 'a@b.co', 'a@b.co'],
  ])('%s', (_, markdown, html) => {
    expect(toHtml(markdown)?.text).toBe(html);
  });
});

describe('a rich message', () => {
  test('is the Markdown as it is, where it can do nothing but format', () => {
    const markdown =
      '# T\n\n**b** [l](https://e.com)\n\n- [ ] x\n\n| a |\n|---|\n| b |\n\n```ts\nx\n```';
    expect(toRich(markdown)).toEqual({ markdown });
  });

  test.each([
    '<tg-button type="callback_data" data="appr_1">ok</tg-button>',
    '![](https://evil.example/?q=secret)',
    '[you](tg://user?id=1)',
    '[you](tg&colon;//user?id=1)',
    '[you][r]\n\n[r]: tg://user?id=1',
    '[y](\ntg://user?id=1)',
    'it costs $5 and $6',
    'a || b || c',
    'x == y == z',
    'ping @everyone',
    'note[^1]\n\n[^1]: n',
  ])('is our own rendering where Telegram could read more into it: %s', (markdown) => {
    const rich = toRich(markdown);
    expect(rich?.markdown).toBeUndefined();
    const { message } = readRichMessage(rich, { users: nobody, isDraft: false });
    expect(JSON.stringify(message)).not.toMatch(
      /"type":"(mention|button|photo|mathematical|spoiler|marked)/,
    );
  });

  test.each([
    'half **open',
    'a_b_c',
    '5 * 3',
    'a [b',
    '`x',
    '~~y',
    'x | y',
    '| a |\n|--|\n| b | c |',
  ])('is our own rendering where a mark is left over: %s', (markdown) => {
    const rich = toRich(markdown);
    expect(rich?.markdown).toBeUndefined();
    const { text } = readRichMessage(rich, { users: nobody, isDraft: false });
    expect(text).toContain(markdown.split('\n').at(-1));
  });

  test('has tables, task lists and headings', () => {
    const markdown = '# A\n\n- [x] b\n\n|c|d|\n|:-:|-|\n|$|e|\n\n2. f';
    const cell = { valign: 'middle' };
    expect(toRich(markdown)?.blocks).toEqual([
      { type: 'heading', text: 'A', size: 1 },
      {
        type: 'list',
        items: [
          { blocks: [{ type: 'paragraph', text: 'b' }], has_checkbox: true, is_checked: true },
        ],
      },
      {
        type: 'table',
        is_bordered: true,
        cells: [
          [
            { ...cell, text: 'c', align: 'center', is_header: true },
            { ...cell, text: 'd', align: 'left', is_header: true },
          ],
          [
            { ...cell, text: '$', align: 'center' },
            { ...cell, text: 'e', align: 'left' },
          ],
        ],
      },
      { type: 'list', items: [{ blocks: [{ type: 'paragraph', text: 'f' }], value: 2 }] },
    ]);
  });

  test('has no more columns than Telegram takes', () => {
    const row = `|${' a |'.repeat(21)}`;
    const rich = toRich(`${row}\n|${'-|'.repeat(21)}\n${row}\n\n$`);
    expect(rich?.blocks?.[0]).toMatchObject({
      type: 'pre',
      text: expect.stringMatching(/^a \| a/),
    });
  });
});

describe('the forms of a text', () => {
  test('end with the text as it is', () => {
    const forms = textForms('**a** @bob', 'markdown');
    expect(forms.map(({ kind }) => kind)).toEqual(['rich', 'html', 'plain']);
    expect(forms[2]).toEqual({
      kind: 'plain',
      text: '**a** @bob',
      entities: [{ type: 'code', offset: 6, length: 4 }],
    });
  });

  test('are one for a text that is no Markdown, or too long to be parsed', () => {
    expect(textForms('**a**', 'text').map(({ kind }) => kind)).toEqual(['plain']);
    expect(textForms('*'.repeat(10_000), 'markdown').map(({ kind }) => kind)).toEqual(['plain']);
  });

  test('hold no half characters, which Telegram takes in none of them', () => {
    const forms = textForms('a \ud800 *b*', 'markdown');
    expect(JSON.stringify(forms)).not.toContain('ud800');
    expect(forms.at(-1)).toMatchObject({ text: 'a \ufffd *b*' });
  });

  test('leave out what would be empty or deeper than the stack', () => {
    expect(textForms('   ', 'markdown').map(({ kind }) => kind)).toEqual(['plain']);
    const deep = '>'.repeat(MAX_TEXT_LENGTH);
    expect(textForms(deep, 'markdown').at(-1)).toMatchObject({ kind: 'plain', text: deep });
  });
});
