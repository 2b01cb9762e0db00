import fc from 'fast-check';
import { Lexer, type Token, type Tokens } from 'marked';
import type { TextLimits } from './cut.ts';
import { isPair } from './length.ts';

/** Limits of the three platforms, and the smallest that there is. */
export const platformLimits: TextLimits[] = [
  { maxLength: 4096, unit: 'utf16' },
  { maxLength: 2000, unit: 'chars' },
  { maxLength: 12_000, unit: 'chars' },
  { maxLength: 64, unit: 'bytes' },
];

export const anyLimits: fc.Arbitrary<TextLimits> = fc.record({
  maxLength: fc.oneof(fc.constant(64), fc.integer({ min: 64, max: 400 })),
  unit: fc.constantFrom('utf16', 'chars', 'bytes'),
});

const fragments = [
  '```',
  '````',
  '~~~',
  '~~~~',
  '```js',
  '~~~ x',
  '- ',
  '* ',
  '1. ',
  '2) ',
  '10. ',
  '> ',
  '>',
  '  ',
  '    ',
  ' ',
  '\n',
  '\n',
  '\n',
  '\n',
  '\n\n',
  '\r\n',
  'a',
  'b c',
  '# h',
  '---',
  '===',
  '| a | b |',
  '|---|---|',
  '<div>',
  '</div>',
  '<!-- ',
  '-->',
  '<b>',
  '`',
  '**',
  '*',
  '_',
  '~~',
  '[',
  ']',
  '(',
  ')',
  '[a](b c)',
  '[a]: b',
  '\\',
  '&amp;',
  '👨‍👩‍👧',
  '\ud800',
  '\udc00',
  'e\u0301',
  'word word word word',
  'x'.repeat(29),
  '日本語。',
  '\n'.repeat(8),
  ' '.repeat(10),
  '12',
  '    code line\n',
  '`code span`',
  'Sentence one. Sentence two! ',
  'Intro:\n\n',
];

/** Texts of pieces that mean something in Markdown, in any order. */
export const soup: fc.Arbitrary<string> = fc
  .array(fc.constantFrom(...fragments), { minLength: 1, maxLength: 60 })
  .map((pieces) => pieces.join(''));

export const anyText: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: soup },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 300 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 300 }) },
  {
    weight: 1,
    // Any UTF-16 units, halves of pairs too.
    arbitrary: fc
      .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 300 })
      .map((units) => String.fromCharCode(...units)),
  },
);

/** The fence that is open at the end of a text, as marked reads it. */
export function openFence(text: string): string | null {
  const source = text.replaceAll(/\r\n|\r/g, '\n');
  return fenceAtEnd(
    new Lexer().blockTokens(source, []),
    /\n[ \t]*\n[ \t]*$|\n[ \t]+$/.test(source),
  );
}

function fenceAtEnd(tokens: Token[], endsBlank: boolean): string | null {
  const last = tokens.findLast(({ type }) => type !== 'space');
  if (last === undefined) return null;
  if (isFence(last)) {
    const [, marks = ''] = /^ {0,3}(`{3,}|~{3,})/.exec(last.raw) ?? [];
    const lines = last.raw.trimEnd().split('\n');
    const closing = /^ {0,3}(`{3,}|~{3,}) *$/.exec(lines.slice(1).at(-1) ?? '')?.[1] ?? '';
    return closing.startsWith(marks) ? null : marks;
  }
  // A blank line ends a quote, and with it the fence.
  if (last.type === 'blockquote') return endsBlank ? null : fenceAtEnd(last.tokens ?? [], false);
  if (last.type !== 'list') return null;
  return fenceAtEnd((last as Tokens.List).items.at(-1)?.tokens ?? [], endsBlank);
}

export function isFence(token: Token): token is Tokens.Code {
  return token.type === 'code' && (token as Tokens.Code).codeBlockStyle !== 'indented';
}

/** All tokens of a text, those within others too. */
export function tokensOf(text: string): Token[] {
  const found: Token[] = [];
  const visit = (tokens: readonly Token[]): void => {
    for (const token of tokens) {
      found.push(token);
      if (token.type === 'list') visit((token as Tokens.List).items);
      else if (token.type === 'table') {
        const { header, rows } = token as Tokens.Table;
        for (const cell of [header, ...rows].flat()) visit(cell.tokens);
      } else if ('tokens' in token && token.tokens !== undefined) visit(token.tokens);
    }
  };
  visit(new Lexer({ gfm: true }).lex(text));
  return found;
}

/** Whether a place is between the halves of a pair. */
export function isInPair(text: string, at: number): boolean {
  return at > 0 && isPair(text, at - 1);
}

/** Counts, so that each word of a document is there once. */
type Build = (next: () => number) => string;

const list = (build: fc.Arbitrary<Build>, min: number, max: number): fc.Arbitrary<Build[]> =>
  fc.array(build, { minLength: min, maxLength: max });

const letters = (number: number): string =>
  String(number).replaceAll(/\d/g, (digit) => 'abcdefghij'.charAt(Number(digit)));

const inline: fc.Arbitrary<Build> = fc.constantFrom<Build>(
  (next) => `word${letters(next())}`,
  (next) => `word${letters(next())} and more words.`,
  (next) => `**strong${letters(next())} words**`,
  (next) => `*slanted${letters(next())} words*`,
  (next) => `***both${letters(next())}***`,
  (next) => `~~struck${letters(next())}~~`,
  (next) => `\`code${letters(next())} span\``,
  (next) => `[link${letters(next())} text](https://example.org/${letters(next())})`,
  () => '👨‍👩‍👧',
);

const sentence = list(inline, 1, 8).map<Build>((parts) => (next) => {
  return `${parts.map((part) => part(next)).join(' ')}.`;
});

const paragraph = list(sentence, 1, 4).map<Build>((parts) => (next) => {
  return parts.map((part) => part(next)).join(' ');
});

const fence = fc
  .record({
    marks: fc.constantFrom('```', '~~~', '````'),
    info: fc.constantFrom('', 'js', 'python title="a.py"'),
    lines: fc.integer({ min: 1, max: 20 }),
    nested: fc.boolean(),
  })
  .map<Build>(({ marks, info, lines, nested }) => (next) => {
    const code = Array.from({ length: lines }, () => `line${letters(next())} = 1`);
    if (nested && marks === '````') code.splice(1, 0, '```js');
    return [marks + info, ...code, marks].join('\n');
  });

const table = fc.integer({ min: 1, max: 20 }).map<Build>((rows) => (next) => {
  const cells = Array.from({ length: rows }, () => `| cell${letters(next())} | x |`);
  return ['| head | other |', '|---|:-:|', ...cells].join('\n');
});

const block = fc.oneof(
  { weight: 4, arbitrary: paragraph },
  { weight: 3, arbitrary: fence },
  { weight: 2, arbitrary: table },
  { weight: 1, arbitrary: sentence.map<Build>((text) => (next) => `## ${text(next)}`) },
);

const indentBy = (text: string, columns: number): string =>
  text.replaceAll(/^(?=.)/gm, ' '.repeat(columns));

const item = fc
  .record({ text: sentence, inner: fc.option(fc.oneof(fence, table), { nil: null }) })
  .map(({ text, inner }) => ({ text, inner }));

const items = fc
  .record({
    bullet: fc.constantFrom('- ', '* ', '1. ', '10. '),
    items: fc.array(item, { minLength: 1, maxLength: 5 }),
    nested: fc.boolean(),
  })
  .map<Build>(({ bullet, items: all, nested }) => (next) => {
    const lines = all.map(({ text, inner }) => {
      const begin = bullet + text(next);
      return inner === null ? begin : `${begin}\n\n${indentBy(inner(next), bullet.length)}\n`;
    });
    return nested ? `- outer words\n\n${indentBy(lines.join('\n'), 2)}` : lines.join('\n');
  });

const quote = fc
  .oneof(paragraph, fence)
  .map<Build>((inner) => (next) => inner(next).replaceAll(/^/gm, '> '));

/** Documents as they should be: everything is closed, and no word is there twice. */
export const anyDocument: fc.Arbitrary<string> = list(
  fc.oneof({ weight: 5, arbitrary: block }, { weight: 3, arbitrary: items }, quote),
  1,
  7,
).map((blocks) => {
  let count = 0;
  return blocks.map((build) => build(() => (count += 1))).join('\n\n');
});
