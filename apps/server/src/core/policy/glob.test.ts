import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { matchesGlob, readGlob } from './glob.ts';

/** The same by a table of all prefixes: slow, and plain to see. */
function oracle(pattern: string, text: string): boolean {
  let fits = Array.from({ length: text.length + 1 }, (_, length) => length === 0);
  for (const char of pattern) {
    const before = fits;
    fits = before.map((_, length) => {
      if (char === '*') return before.slice(0, length + 1).includes(true);
      return length > 0 && before[length - 1] === true && text[length - 1] === char;
    });
  }
  return fits.at(-1) === true;
}

describe('a pattern', () => {
  test('stands for the same texts as one that is tried in every way', () => {
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 10 });
    const text = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 12 });
    fc.assert(
      fc.property(pattern, text, (one, other) => {
        expect(matchesGlob(readGlob(one), other)).toBe(oracle(one, other));
      }),
      { numRuns: 5000 },
    );
  });

  test('has no other signs', () => {
    expect(matchesGlob(readGlob('a.?[b](c)+'), 'a.?[b](c)+')).toBe(true);
    expect(matchesGlob(readGlob('a.c'), 'abc')).toBe(false);
    expect(matchesGlob(readGlob('a*c'), 'a\n\u{1f680}c')).toBe(true);
  });

  test('that would make others try again and again is done with soon', () => {
    const pattern = readGlob(`${'*a'.repeat(200)}b`);
    expect(matchesGlob(pattern, 'a'.repeat(1_000_000))).toBe(false);
  });
});
