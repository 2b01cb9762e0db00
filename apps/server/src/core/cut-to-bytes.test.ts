import fc from 'fast-check';
import { expect, it } from 'vitest';
import { cutToBytes } from './cut-to-bytes.ts';
import { utf8Length } from './utf8.ts';

const units = ['a', 'ä', '€', '🧀', '\ud800', '\udc00', '\0', '\n'];
const anyText = fc
  .array(fc.constantFrom(...units), { maxLength: 40 })
  .map((characters) => characters.join(''));

it('a text is cut to its bytes between characters', () => {
  fc.assert(
    fc.property(anyText, fc.nat(60), (text, max) => {
      const cut = cutToBytes(text, max);
      expect(text.startsWith(cut)).toBe(true);
      expect(utf8Length(cut)).toBeLessThanOrEqual(max);
      const next = String.fromCodePoint(text.codePointAt(cut.length) ?? 0);
      if (cut !== text) expect(utf8Length(cut + next)).toBeGreaterThan(max);
    }),
    { numRuns: 300, seed: 20261120 },
  );
  expect(cutToBytes('🧀🧀', 7)).toBe('🧀');
  expect(cutToBytes('🧀🧀', 3)).toBe('');
  expect(cutToBytes('abc', 3)).toBe('abc');
});
