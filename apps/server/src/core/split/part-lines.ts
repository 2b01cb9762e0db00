import { advance, type Block } from './blocks.ts';
import { isLineBreak } from './characters.ts';

/** A line of a part, or as much of it as was looked at. */
export interface PartLine {
  number: number;
  /** Where it begins, and where it ends without its line break. */
  start: number;
  end: number;
  /** Where its first character stands that is not white space; its end when it is blank. */
  textAt: number;
  blank: boolean;
  /** What a prefix put before it. */
  lead: string;
  /** Where the part stands before and after it. */
  before: Block;
  after: Block;
}

/** Lines with text that are read beyond what may be in the part: a table is known by its second line. */
const BEYOND = 2;

/**
 * Reads the lines of a part that begins at `from`, after `prefix`, as someone reads them who sees
 * this part only; those that begin up to `to`, and a few more, but nothing from `stop` on.
 */
export function readLines(
  text: string,
  { from, to, stop, prefix }: { from: number; to: number; stop: number; prefix: string },
): PartLine[] {
  const lines: PartLine[] = [];
  let state: Block = { type: 'none' };
  let number = 0;
  const heads = prefix.split('\n');
  let lead = heads.pop() ?? '';
  for (const head of heads) {
    state = advance(state, head, { number, end: 0 });
    number += 1;
  }
  let start = from;
  let beyond = 0;
  while (start < stop && beyond < BEYOND) {
    const end = lineEnd(text, start, stop);
    const content = lead + text.slice(start, end);
    const after = advance(state, content, { number, end });
    const blank = content.trim() === '';
    const textAt = end - text.slice(start, end).trimStart().length;
    lines.push({ number, start, end, textAt, blank, lead, before: state, after });
    if (start > to && !blank) beyond += 1;
    state = after;
    number += 1;
    lead = '';
    start = afterBreak(text, end);
    if (end === stop) break;
  }
  return lines;
}

/** Where a part stands when it is cut at `at`, with the line where that is. */
export function stateAt(text: string, lines: readonly PartLine[], at: number): Block {
  const line = lineAt(lines, at);
  if (line === undefined) return { type: 'none' };
  if (at <= line.start && line.lead === '') return line.before;
  if (at >= line.end) return line.after;
  const { number, before, lead, start } = line;
  return advance(before, lead + text.slice(start, at), { number, end: at });
}

/** The last line that begins at or before `at`. */
export function lineAt(lines: readonly PartLine[], at: number): PartLine | undefined {
  let low = 0;
  let high = lines.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((lines[middle]?.start ?? Infinity) <= at) low = middle + 1;
    else high = middle;
  }
  return lines[low - 1];
}

function lineEnd(text: string, from: number, stop: number): number {
  let at = from;
  while (at < stop && !isLineBreak(text, at)) at += 1;
  return at;
}

function afterBreak(text: string, at: number): number {
  if (at >= text.length) return at;
  return text[at] === '\r' && text[at + 1] === '\n' ? at + 2 : at + 1;
}
