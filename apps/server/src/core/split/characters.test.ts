import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isBetweenCharacters } from './characters.ts';

/** Where characters begin, as the runtime's own tables say. */
function boundaries(text: string): number[] {
  const segments = new Intl.Segmenter('und', { granularity: 'grapheme' }).segment(text);
  return [...segments].map(({ index }) => index).slice(1);
}

function found(text: string): number[] {
  return Array.from({ length: text.length }, (_, at) => at).filter(
    (at) => at > 0 && isBetweenCharacters(text, at),
  );
}

it('knows what people take for one character', () => {
  const characters = [
    'a',
    ' ',
    '\n',
    '\r\n',
    'é',
    'e\u0301',
    'Z\u0351\u036b',
    '日',
    'ß',
    '\u00a0',
    '。',
    '👍',
    '👍🏽',
    '👨‍👩‍👧‍👦',
    '🏳️‍🌈',
    '🧑🏽‍🚀',
    '🇩🇪',
    '1️⃣',
    '🏴󠁧󠁢󠁥󠁮󠁧󠁿',
    '𝔘',
    '☃️',
    '한',
    '\u1112\u1161\u11ab',
    'ᄒ',
    '가',
    'क्ष',
    'स्त्री',
    'न',
    'กำ',
    'ท',
    'ｶﾞ',
    'ש',
    'م',
  ];
  const text = fc.array(fc.constantFrom(...characters), { maxLength: 20 });
  fc.assert(
    fc.property(text, (pieces) => {
      const whole = pieces.join('');
      expect([whole, found(whole)]).toEqual([whole, boundaries(whole)]);
    }),
    { numRuns: 1000 },
  );
});

it('never takes a pair apart', () => {
  const anyPoints = fc
    .array(
      fc.oneof(fc.integer({ min: 0x1f1e0, max: 0x1f600 }), fc.integer({ min: 0, max: 0x10ffff })),
    )
    .map((points) => String.fromCodePoint(...points).toWellFormed());
  fc.assert(
    fc.property(anyPoints, (text) => {
      expect(found(text).filter((at) => !text.slice(0, at).isWellFormed())).toEqual([]);
    }),
  );
});
