import type { Wrapping } from './rich-text.ts';

/** The marks of rich Markdown, and what each means. */
export const marks = new Map<string, { type: Wrapping; name: string }>([
  ['**', { type: 'bold', name: 'Bold' }],
  ['__', { type: 'bold', name: 'Bold' }],
  ['*', { type: 'italic', name: 'Italic' }],
  ['_', { type: 'italic', name: 'Italic' }],
  ['~~', { type: 'strikethrough', name: 'Strikethrough' }],
  ['||', { type: 'spoiler', name: 'Spoiler' }],
  ['==', { type: 'marked', name: 'Marked' }],
]);

/** How often the character stands there that stands at a place. */
export function runLength(source: string, from: number): number {
  let end = from;
  while (end < source.length && source[end] === source[from]) end++;
  return end - from;
}

/**
 * What a run of one mark's character, from `begin` to `end`, may do where it stands.
 * @param isStarOpen whether a `*` is still to be closed.
 */
export function roleOf(
  source: string,
  begin: number,
  end: number,
  isStarOpen: boolean,
): { canOpen: boolean; canClose: boolean; isLeft: boolean } {
  const character = source[begin];
  const before = begin === 0 ? ' ' : (source[begin - 1] ?? ' ');
  const after = source[end] ?? ' ';
  const isLeft = !isBlank(after) && (!isMark(after) || isBlank(before) || isMark(before));
  const isRight = !isBlank(before) && (!isMark(before) || isBlank(after) || isMark(after));
  const isWithinWord = !isBlank(before) && !isMark(before) && !isBlank(after) && !isMark(after);
  let canOpen = isLeft;
  let canClose = isRight;
  if (character === '_' && isWithinWord) canOpen = canClose = false;
  // `2*3` is no beginning of anything.
  if (character === '*' && end === begin + 1 && isWithinWord && !isStarOpen) canOpen = false;
  return { canOpen, canClose, isLeft };
}

function isBlank(character: string): boolean {
  return /\s/.test(character);
}

function isMark(character: string): boolean {
  return /[\p{P}\p{S}]/u.test(character);
}
