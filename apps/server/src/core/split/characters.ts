import { isPair } from './length.ts';

/** Belongs to what stands before it: accents, joiners, variation selectors, skin tones, tags. */
const joinsBefore =
  /^(?:\p{M}|\p{EMod}|\u200c|\u200d|[\u0e33\u0eb3\uff9e\uff9f]|[\u{e0020}-\u{e007f}])/u;
/** Takes the consonant that follows it. */
const virama = /[\u094d\u09cd\u0acd\u0b4d\u0c4d\u0d4d]/;
const flagHalf = /^\p{RI}$/u;
/** Flags in a row that are counted to know which halves belong together. */
const MAX_FLAGS = 32;

/** Whether a cut here leaves whole what people take for one character: pairs, families, flags, accents, syllables, CRLF. */
export function isBetweenCharacters(text: string, at: number): boolean {
  if (at <= 0 || at >= text.length) return true;
  const before = text.charCodeAt(at - 1);
  const after = text.charCodeAt(at);
  if (before < 0x80 && after < 0x80) return !(before === 0x0d && after === 0x0a);
  if (isInsidePair(text, at)) return false;
  const next = String.fromCodePoint(text.codePointAt(at) ?? after);
  if (joinsBefore.test(next)) return before < 0x20;
  if (before === 0x200d) return !/^\p{ExtPict}/u.test(next);
  if (virama.test(text.charAt(at - 1))) return !/^\p{L}/u.test(next);
  if (flagHalf.test(next)) return flagsBefore(text, at) % 2 === 0;
  return !isWithinSyllable(before, after);
}

function flagsBefore(text: string, at: number): number {
  let count = 0;
  while (count < MAX_FLAGS && flagHalf.test(text.slice(at - 2 * count - 2, at - 2 * count)))
    count += 1;
  return count;
}

/** Whether two letters are of one syllable of Hangul. */
function isWithinSyllable(before: number, after: number): boolean {
  const kind = hangul(after);
  switch (hangul(before)) {
    case 'L':
      return kind === 'L' || kind === 'V' || kind === 'LV' || kind === 'LVT';
    case 'V':
    case 'LV':
      return kind === 'V' || kind === 'T';
    case 'T':
    case 'LVT':
      return kind === 'T';
    default:
      return false;
  }
}

function hangul(unit: number): 'L' | 'V' | 'T' | 'LV' | 'LVT' | null {
  if (unit >= 0xac00 && unit <= 0xd7a3) return (unit - 0xac00) % 28 === 0 ? 'LV' : 'LVT';
  if ((unit >= 0x1100 && unit <= 0x115f) || (unit >= 0xa960 && unit <= 0xa97c)) return 'L';
  if ((unit >= 0x1160 && unit <= 0x11a7) || (unit >= 0xd7b0 && unit <= 0xd7c6)) return 'V';
  if ((unit >= 0x11a8 && unit <= 0x11ff) || (unit >= 0xd7cb && unit <= 0xd7fb)) return 'T';
  return null;
}

/** Whether a cut here would leave half a surrogate pair on each side. */
export function isInsidePair(text: string, at: number): boolean {
  return at > 0 && isPair(text, at - 1);
}

/** Whether a character is white space to people and platforms alike. */
export function isSpace(text: string, at: number): boolean {
  return /\s/.test(text.charAt(at));
}

export function isLineBreak(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit === 0x0a || unit === 0x0d;
}

/** Where the white space that begins at `from` ends; `to` when it goes on until there. */
export function skipSpace(text: string, from: number, to: number): number {
  let at = from;
  while (at < to && isSpace(text, at)) at += 1;
  return at;
}

/** Where a text ends when the white space at its end is left out. */
export function trimmedEnd(text: string, end: number): number {
  let at = end;
  while (at > 0 && isSpace(text, at - 1)) at -= 1;
  return at;
}

/** Whether a cut here would go through an entity such as `&amp;`. */
export function isInsideEntity(text: string, at: number): boolean {
  const from = Math.max(0, at - 32);
  const begin = text.slice(from, at).lastIndexOf('&');
  if (begin === -1) return false;
  const entity = /^&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{0,31});/.exec(
    text.slice(from + begin, at + 33),
  );
  return entity !== null && from + begin + entity[0].length > at;
}

/** Whether a sentence ends before the white space that ends here. */
export function endsSentence(text: string, at: number): boolean {
  return /[.!?…。！？][)\]"'”’»*_`~]*\s*$/.test(text.slice(Math.max(0, at - 12), at));
}

/** Whether a cut here would go through marks such as `**`, or take a backslash from what it escapes. */
export function isInsideMark(text: string, at: number): boolean {
  const before = text.charAt(at - 1);
  return before === '\\' || (before === text.charAt(at) && '*_~`#|=-!<>['.includes(before));
}
