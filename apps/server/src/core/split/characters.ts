import { isPair } from './length.ts';

/** How far back a boundary between characters is looked for, and how far ahead. */
const MAX_BACK = 64;
const MAX_AHEAD = 8;

const segmenter = new Intl.Segmenter('und', { granularity: 'grapheme' });

/** Belongs to what stands before it: accents, joiners, variation selectors, skin tones. */
const joinsBefore = /^[\p{M}\u200c\u200d\p{EMod}]/u;
/** May belong to what stands before it, or take what follows: that is for the segmenter to say. */
const mayJoin =
  /[\p{M}\p{Cf}\p{RI}\u0e33\u0eb3\u1100-\u11ff\ua960-\ua97f\uac00-\ud7ff\uff9e\uff9f]/u;

/** Whether a cut here leaves whole what people take for one character: pairs, families, flags, accents, CRLF. */
export function isBetweenCharacters(text: string, at: number): boolean {
  if (at <= 0 || at >= text.length) return true;
  const before = text.charCodeAt(at - 1);
  const after = text.charCodeAt(at);
  if (before < 0x80 && after < 0x80) return !(before === 0x0d && after === 0x0a);
  if (isInsidePair(text, at)) return false;
  const next = String.fromCodePoint(text.codePointAt(at) ?? after);
  if (before >= 0x20 && joinsBefore.test(next)) return false;
  const last = isInsidePair(text, at - 1) ? text.slice(at - 2, at) : text.charAt(at - 1);
  if (!mayJoin.test(last) && !mayJoin.test(next)) return true;
  let start = at - 1;
  // A plain character is never the second half of another.
  while (start > 0 && at - start < MAX_BACK && !isPlain(text.charCodeAt(start))) start -= 1;
  if (isInsidePair(text, start)) start -= 1;
  for (const { index } of segmenter.segment(text.slice(start, at + MAX_AHEAD))) {
    if (start + index >= at) return start + index === at;
  }
  return false;
}

/** Whether a cut here would leave half a surrogate pair on each side. */
export function isInsidePair(text: string, at: number): boolean {
  return at > 0 && isPair(text, at - 1);
}

function isPlain(unit: number): boolean {
  return unit === 0x0a || (unit >= 0x20 && unit < 0x7f);
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
