import fc from 'fast-check';
import { expect, it } from 'vitest';
import { oneLine } from './display-text.ts';

it.each([
  ['Ann', 'Ann'],
  ['Ann\nowner: yes', 'Ann owner: yes'],
  ['  Ann \t B.  ', 'Ann B.'],
  ['Ann\u202egpj.exe', 'Anngpj.exe'],
  ['\u2066Ann\u2069', 'Ann'],
  ['A\u0000n\u001b[31mn\u007f', 'An[31mn'],
  ['A\u200bn\ufeffn', 'Ann'],
  ['Ann\u2028Bob\u2029Eve\u0085Tom', 'Ann Bob EveTom'],
  ['\u3164\u115f\u2800Ann', 'Ann'],
  ['👍 Ann 日本', '👍 Ann 日本'],
  ['\ud800Ann\udc00', 'Ann'],
  ['\u202e\n', ''],
])('shows %j as %j', (name, shown) => {
  expect(oneLine(name, 50)).toBe(shown);
});

it('cuts after so many code points, and never through a pair', () => {
  expect(oneLine('👍👍👍', 2)).toBe('👍👍');
  expect(oneLine('ab cd', 3)).toBe('ab');
});

const anyName = fc
  .array(fc.oneof(fc.integer({ max: 0x300, min: 0 }), fc.integer({ min: 0, max: 0x10ffff })))
  .map((points) => String.fromCodePoint(...points));

it('gives one safe line of any text', () => {
  fc.assert(
    fc.property(anyName, fc.integer({ min: 1, max: 20 }), (name, max) => {
      const line = oneLine(name, max);
      expect(Array.from(line).length).toBeLessThanOrEqual(max);
      expect(line).not.toMatch(/[\p{Cc}\p{Cf}\u2028\u2029]/u);
      expect(line.isWellFormed()).toBe(true);
      expect(line).toBe(line.trim());
    }),
  );
});

it('looks at no more of a very long name than it shows', () => {
  expect(oneLine('x'.repeat(10_000_000), 5)).toBe('xxxxx');
});
