import { utf8Length } from './utf8.ts';

/** The beginning of a text that takes at most so many bytes of UTF-8, never cut within a character. */
export function cutToBytes(text: string, max: number): string {
  // No character takes fewer bytes than UTF-16 units.
  let kept = text.slice(0, max);
  while (utf8Length(kept) > max) {
    const over = utf8Length(kept) - max;
    kept = kept.slice(0, kept.length - Math.max(1, Math.ceil(over / 3)));
  }
  const isHalf = (text.codePointAt(kept.length - 1) ?? 0) > 0xffff;
  return isHalf ? kept.slice(0, -1) : kept;
}
