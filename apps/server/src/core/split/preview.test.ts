import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { markdownCorpus } from '../../../../../test/support/markdown-corpus.ts';
import { lengthOf, previewOf, splitMessage, type TextLimits } from '../split.ts';
import { findPreview } from './preview.ts';
import { anyDocument, anyLimits, anyText, openFence, tokensOf } from './testing.ts';

const roomy: TextLimits = { maxLength: 4096, unit: 'utf16' };
const tight: TextLimits = { maxLength: 64, unit: 'utf16' };

describe('a preview shows', () => {
  it.each([
    ['Hello wor', 'Hello wor'],
    ['Hello ', 'Hello'],
    ['Some **bold te', 'Some **bold te**'],
    ['Some **bold ', 'Some **bold**'],
    ['Some **bold** a', 'Some **bold** a'],
    ['Some **bold*', 'Some **bold**'],
    ['a ***both', 'a ***both***'],
    ['a **b *c', 'a **b *c***'],
    ['a *b **c** d', 'a *b **c** d*'],
    ['a ~~gone', 'a ~~gone~~'],
    ['a _slanted', 'a _slanted_'],
    ['a `code', 'a `code`'],
    ['a ``co`de', 'a ``co`de``'],
    ['# A **title', '# A **title**'],
    ['- one\n- **two', '- one\n- **two**'],
    ['> said **so', '> said **so**'],
    ['```js\nconst a', '```js\nconst a\n```'],
    ['````\n```\na', '````\n```\na\n````'],
    ['- a\n\n  ```\n  b', '- a\n\n  ```\n  b\n  ```'],
    ['> ```\n> a', '> ```\n> a\n>```'],
    ['```\na\n```\nb', '```\na\n```\nb'],
    ['a\n\n**b', 'a\n\n**b**'],
    ['**a\n\nb', '**a\n\nb'],
    ['2 * 3 * 4', '2 * 3 * 4'],
    ['snake_case_na', 'snake_case_na'],
    ['a [link](https://example.org) b', 'a [link](https://example.org) b'],
    ['array[0] is', 'array[0] is'],
  ])('of %j: %j', (text, shown) => {
    expect(previewOf(text, roomy)).toBe(shown);
  });
});

describe('a preview waits', () => {
  it.each([
    ['with marks', 'a **', 'a'],
    ['with marks in marks', 'a **[b', 'a'],
    ['with code that has nothing yet', 'a `', 'a'],
    ['for the end of a link', 'see [the li', 'see'],
    ['for the address of a link', 'see [the link](https://exa', 'see'],
    ['for what follows brackets', 'see [a]', 'see'],
    ['for the end of an address', 'see <https://exa', 'see'],
    ['for the end of an entity', 'a &am', 'a'],
    ['for what a backslash escapes', 'a \\', 'a'],
    ['for the second half of a pair', 'a \ud83d', 'a'],
    ['for the next member of a family', 'a 👨\u200d', 'a 👨'],
    ['for the first line of code', 'a\n\n```js\n', 'a'],
    ['for the rest of an info string', 'a\n```j', 'a'],
    ['for what a line begins', 'a\n-', 'a'],
    ['for what a number begins', 'a\n12', 'a'],
    ['for what an item begins', 'a\n1. -', 'a'],
    ['for an item with something in it', 'a\n- ', 'a'],
    ['for the end of a fence', '```\na\n``', '```\na\n```'],
    ['for a table', 'a\n\n| b | c', 'a'],
    ['for the line below a head', 'a\n\n| b | c |\n|--', 'a'],
    ['for the end of a row with words', '| b |\n|---|\n| 1 |\n| two', '| b |\n|---|\n| 1 |'],
    ['for the end of a row', '| b |\n|---|\n| 1 |\n| 2', '| b |\n|---|\n| 1 |'],
  ])('%s', (_, text, shown) => {
    expect(previewOf(text, roomy)).toBe(shown);
  });

  it.each(['', ' \n', '**', '- ', '```js\n', '| a | b |\n|---', '[', '👨'.slice(0, 1)])(
    'while %j is nothing worth showing',
    (text) => {
      expect(previewOf(text, roomy)).toBe(null);
    },
  );
});

describe('near the limit a preview', () => {
  it('goes from one place between blocks to the next', () => {
    const text = `${'word '.repeat(8)}\n\n${'next '.repeat(4)}`;
    expect(previewOf(text, tight)).toBe(`${'word '.repeat(6)}w`);
    expect(previewOf(`${text}\n\n`, tight)).toBe('word '.repeat(8).trimEnd());
  });

  it('closes the fence that the first part ends in', () => {
    const text = `\`\`\`js\n${'const a = 1;\n'.repeat(9)}`;
    expect(previewOf(text, tight)).toBe(`\`\`\`js\n${'const a = 1;\n'.repeat(4)}\`\`\``);
  });

  it('shows the whole first part when that is known', () => {
    const text = 'word '.repeat(60);
    const [first] = splitMessage(text, tight);
    expect(previewOf(text, tight)).toBe(text.slice(0, first?.to).trimEnd());
  });
});

/** Walks a text as it grows; `step` UTF-16 units at a time. */
function checkGrowth(text: string, limits: TextLimits, step = 1): void {
  const first = splitMessage(text, limits)[0]?.to ?? 0;
  let last = 0;
  for (let end = 0; end <= text.length; end += step) {
    const beginning = text.slice(0, end);
    const found = findPreview(beginning, limits);
    if (found === null) {
      expect([beginning, last]).toEqual([beginning, 0]);
      continue;
    }
    expect(found.to).toBeLessThanOrEqual(end);
    // It only grows,
    expect([beginning, found.to]).toEqual([beginning, Math.max(found.to, last)]);
    // is in the first part of the whole text,
    expect([beginning, found.to]).toEqual([beginning, Math.min(found.to, first)]);
    // and fits.
    const shown = beginning.slice(0, found.to) + found.closing;
    expect(previewOf(beginning, limits)).toBe(shown);
    expect(lengthOf(shown, limits.unit)).toBeLessThanOrEqual(limits.maxLength);
    expect(found.closing).toMatch(/^(?:\n[ >]*(?:`{3,}|~{3,})|[`~*_]*)$/);
    last = found.to;
  }
}

describe('while any text grows', () => {
  it('its preview only grows, and stays within the first part', () => {
    fc.assert(
      fc.property(anyText, anyLimits, (text, limits) => checkGrowth(text, limits)),
      { numRuns: 250 },
    );
  });

  it('that of a fence in a quote does not show the mark of the line that may end it', () => {
    const text = '> ```js\n> one = 1\n>\n> two = 2\n> ```\n\n- and more words';
    for (let maxLength = 64; maxLength <= 90; maxLength += 1) {
      checkGrowth(text, { maxLength, unit: 'chars' });
    }
  });

  it('that of a document does, too, and no mark is half open', () => {
    const limits = fc.integer({ min: 64, max: 1500 }).map((maxLength): TextLimits => {
      return { maxLength, unit: 'chars' };
    });
    fc.assert(
      fc.property(anyDocument, limits, fc.nat({ max: 40 }), (text, limit, offset) => {
        checkGrowth(text, limit, 17);
        for (let end = offset; end < text.length; end += 43) {
          const shown = previewOf(text.slice(0, end), limit) ?? '';
          expect([shown, openFence(shown)]).toEqual([shown, null]);
          expect([shown, literalMarks(shown)]).toEqual([shown, []]);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('that of most answers is nearly all of what there is', () => {
    let written = 0;
    let shown = 0;
    for (const { name, text } of markdownCorpus()) {
      if (!name.startsWith('answers/') || text.length > 1500) continue;
      for (let end = 20; end <= text.length; end += 20) {
        written += end;
        shown += findPreview(text.slice(0, end), roomy)?.to ?? 0;
      }
    }
    expect(shown / written).toBeGreaterThan(0.9);
  });
});

/** Words of a document that have marks for marked: what should have been a mark is text. */
function literalMarks(text: string): string[] {
  return tokensOf(text)
    .filter((token) => token.type === 'text' && !('tokens' in token && token.tokens !== undefined))
    .map(({ raw }) => raw)
    .filter((raw) => /[*_~`[\]|<>]/.test(raw));
}
