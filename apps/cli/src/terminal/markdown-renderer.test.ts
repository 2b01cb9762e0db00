import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_LINE } from './line-splitter.ts';
import { MarkdownRenderer, PlainRenderer, type LineRenderer } from './markdown-renderer.ts';
import { layOut, writeRow, type TextLine } from './text-line.ts';
import { sanitize } from './sanitize.ts';

function render(text: string, columns = 60, color = false): string[] {
  const renderer = new MarkdownRenderer();
  return write([...renderer.push(text), ...renderer.end()], columns, color);
}

function write(lines: readonly TextLine[], columns = 60, color = false): string[] {
  return lines.flatMap((line) => layOut(line, columns)).map((row) => writeRow(row, color));
}

describe('Markdown on the terminal', () => {
  it.each([
    ['# Title', '\x1b[1m\x1b[4mTitle\x1b[24m\x1b[22m'],
    ['### Small ##', '\x1b[1mSmall\x1b[22m'],
    ['a **bold** word', 'a \x1b[1mbold\x1b[22m word'],
    ['a *slanted* word', 'a \x1b[3mslanted\x1b[23m word'],
    ['a `code` word', 'a \x1b[36mcode\x1b[39m word'],
    ['~~gone~~', '\x1b[9mgone\x1b[29m'],
    ['- item', '\x1b[2m•\x1b[22m item'],
    ['  2. item', '  \x1b[2m2.\x1b[22m item'],
    ['> said', '\x1b[2m│ \x1b[22msaid'],
    ['[site](https://a.example)', '\x1b[4msite\x1b[24m\x1b[2m (https://a.example)\x1b[22m'],
  ])('styles %j', (source, shown) => {
    expect(render(source, 60, true)).toEqual([shown]);
  });

  it.each([
    ['2 * 3 * 4 = 24', '2 * 3 * 4 = 24'],
    ['**kwargs and *args', '**kwargs and *args'],
    ['snake_case_name', 'snake_case_name'],
    ['a < b && c > d', 'a < b && c > d'],
    ['<b>html</b> &amp; &#27;[31m', '<b>html</b> &amp; &#27;[31m'],
    ['#hashtag', '#hashtag'],
    ['\\*not slanted\\*', '*not slanted*'],
    ['``a ` b``', 'a ` b'],
    ['- [x] done', '• ☑ done'],
    ['- [ ] open', '• ☐ open'],
    ['<https://a.example>', 'https://a.example'],
    ['    deeper', '    deeper'],
    ['| a | b |', '| a | b |'],
    ['>> twice', '│ │ twice'],
  ])('shows %j as %j', (source, shown) => {
    expect(render(source)).toEqual([shown]);
  });

  it('leaves code in fences as it is', () => {
    const source = '```js\nconst a = "**x**";\n# no title\n\n```\n**after**';
    expect(render(source)).toEqual([
      '```js',
      'const a = "**x**";',
      '# no title',
      '',
      '```',
      'after',
    ]);
  });

  it('ends a fence only with its own marker', () => {
    expect(render('````\n```\n**x**\n````\n**y**')).toEqual(['````', '```', '**x**', '````', 'y']);
  });

  it('wraps between words, under the text of the item', () => {
    expect(render('- one two three four five', 14)).toEqual([
      '• one two',
      '  three four',
      '  five',
    ]);
    expect(render('> one two three', 11)).toEqual(['│ one two', '│ three']);
  });

  it('breaks a word that is wider than the screen, counting wide characters', () => {
    expect(render('abcdefghij', 4)).toEqual(['abcd', 'efgh', 'ij']);
    expect(render('日本語の文', 5)).toEqual(['日本', '語の', '文']);
  });

  it('does not wrap code', () => {
    expect(render('```\n' + 'x y '.repeat(30) + '\n```', 20)[1]).toBe('x y '.repeat(30));
  });

  it('shows the line that is not finished', () => {
    const renderer = new MarkdownRenderer();
    renderer.push('done\nhalf **bo');
    expect(write([renderer.pending()!])).toEqual(['half **bo']);
    renderer.push('ld**');
    expect(write([renderer.pending()!])).toEqual(['half bold']);
    expect(write(renderer.push('\n'))).toEqual(['half bold']);
    expect(renderer.pending()).toBeNull();
  });

  it('forgets an open fence at the end of the text', () => {
    const renderer = new MarkdownRenderer();
    renderer.push('```\ncode');
    renderer.end();
    expect(write(renderer.push('**x**\n'))).toEqual(['x']);
  });

  it('cuts a line without an end, and loses nothing of it', () => {
    const text = 'word '.repeat(MAX_LINE);
    const renderer = new MarkdownRenderer();
    const lines = renderer.push(text);
    expect(
      (renderer.pending()?.body ?? []).reduce((sum, span) => sum + span.text.length, 0),
    ).toBeLessThanOrEqual(MAX_LINE);
    const shown = write([...lines, ...renderer.end()], 10_000).join('');
    expect(shown).toBe(text);
  });
});

describe('any text', () => {
  const pieces = fc.array(
    fc.oneof(
      fc.constantFrom(
        '\n',
        '\n\n',
        '# ',
        '- ',
        '1. ',
        '> ',
        '```',
        '```\n',
        '~~~',
        '**',
        '*',
        '`',
        '_',
        '[a](b)',
        '|',
        '\t',
        '---',
        'x'.repeat(900),
        '&#27;',
        '\\',
      ),
      fc.string({ unit: 'grapheme', maxLength: 8 }),
      fc.lorem({ maxCount: 6 }),
    ),
    { maxLength: 40 },
  );
  const renderers: [string, () => LineRenderer][] = [
    ['as Markdown', () => new MarkdownRenderer()],
    ['plain', () => new PlainRenderer(['dim'])],
  ];

  it.each(renderers)('is shown the same %s, however it is cut', (_, create) => {
    fc.assert(
      fc.property(pieces, (parts) => {
        const whole = create();
        const cut = create();
        const text = parts.join('');
        const expected = [...whole.push(text), ...whole.end()];
        const lines = parts.flatMap((part) => {
          const finished = part.split('').flatMap((unit) => cut.push(unit));
          cut.pending();
          return finished;
        });
        expect([...lines, ...cut.end()]).toEqual(expected);
      }),
      { numRuns: 150 },
    );
  });

  it('brings no control character that was not there, and no row that is too wide', () => {
    fc.assert(
      fc.property(pieces, (parts) => {
        const rows = render(sanitize(parts.join('')), 30);
        for (const row of rows) expect(row).not.toMatch(/[\0-\x1f\x7f-\x9f]/);
      }),
      { numRuns: 150 },
    );
  });
});
