import type { RichBlock } from 'grammy/types';

/** A line without the marks of what it stands in. */
export interface Line {
  text: string;
  /** Where `text` begins in the whole source. */
  at: number;
}

/** A block of some lines, and the line that follows it. */
export interface BlockOfLines {
  block: RichBlock;
  next: number;
}

/** What an item of a list begins with. */
export interface Marker {
  /** Items of one list have one kind. */
  kind: string;
  /** Where the item's text begins in its line. */
  width: number;
  number: number | undefined;
  start: number;
}

/** The marker that a line begins with; undefined: it is no item. */
export function markerOf(line: Line): Marker | undefined {
  const match = /^( {0,3})(?:([-*+])|(\d{1,9})([.)]))( {1,4}|$)/.exec(line.text);
  if (match === null) return undefined;
  const [whole, , bullet, digits, dot] = match;
  const number = digits === undefined ? undefined : Number(digits);
  return { kind: bullet ?? dot ?? '', width: whole.length, number, start: number ?? 0 };
}

/** Whether a line ends the paragraph before it. */
export function beginsBlock(line: Line): boolean {
  const text = line.text.trimStart();
  const marker = markerOf(line);
  return (
    /^(?:`{3}|~{3}|>|\$\$|#{1,6}(?: |$)|<\/?details[\s>])/i.test(text) ||
    isDivider(text) ||
    (marker !== undefined && (marker.number === undefined || marker.number === 1))
  );
}

/** Within a list every marker begins an item, also one that does not begin a list. */
export function endsItem(line: Line): boolean {
  return beginsBlock(line) || markerOf(line) !== undefined;
}

/** Whether a line is a rule across the message. */
export function isDivider(text: string): boolean {
  const marks = text.replaceAll(' ', '');
  return marks.length >= 3 && /^(?:-+|\*+|_+)$/.test(marks);
}

/** A line from a place in it on, without what ends it. */
export function restOf(line: Line, from: number, ending?: RegExp): Line {
  const text = line.text.slice(from);
  return { text: ending === undefined ? text : text.replace(ending, ''), at: line.at + from };
}
