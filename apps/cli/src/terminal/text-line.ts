import { styleText } from 'node:util';
import { charWidth, textWidth } from './width.ts';

export type Style =
  | 'bold'
  | 'dim'
  | 'italic'
  | 'underline'
  | 'strikethrough'
  | 'cyan'
  | 'green'
  | 'yellow'
  | 'red'
  | 'magenta'
  | 'blue';

/** Text in one style. Never holds a line break or a control character. */
export interface Span {
  text: string;
  styles: readonly Style[];
}

/** One line of a text, before it is laid out in rows. */
export interface TextLine {
  /** What stands before the first row, and (as wide) before the others. */
  first: readonly Span[];
  rest: readonly Span[];
  body: readonly Span[];
  /** Whether it is broken between words; code is not: the terminal breaks it, and copies it whole. */
  wrap: boolean;
}

/** Text in some style. */
export function span(text: string, ...styles: Style[]): Span {
  return { text, styles };
}

/** A line of these parts. */
export function line(...body: (Span | string)[]): TextLine {
  const spans = body.map((part) => (typeof part === 'string' ? span(part) : part));
  return { first: [], rest: [], body: spans, wrap: true };
}

/** Lays a line out in rows of at most `columns`; without `wrap` it is one row. */
export function layOut(text: TextLine, columns: number): Span[][] {
  const indent = spansWidth(text.first);
  const room = columns - indent;
  // Where the indent leaves no room to speak of, it is the smaller loss.
  if (text.wrap && room < 8 && indent > 0) return layOut({ ...text, first: [], rest: [] }, columns);
  if (!text.wrap || spansWidth(text.body) <= room) return [[...text.first, ...text.body]];
  return breakWords(text.body, Math.max(room, 2)).map((row, index) => [
    ...(index === 0 ? text.first : text.rest),
    ...row,
  ]);
}

/** Cuts a row into pieces of at most `columns`, as a terminal would. */
export function cutRow(row: readonly Span[], columns: number): Span[][] {
  const rows: Span[][] = [[]];
  let width = 0;
  for (const { text, styles } of row) {
    let piece = '';
    for (const char of text) {
      const next = charWidth(char);
      if (width + next > columns) {
        if (piece !== '') rows.at(-1)?.push({ text: piece, styles });
        rows.push([]);
        piece = '';
        width = 0;
      }
      piece += char;
      width += next;
    }
    if (piece !== '') rows.at(-1)?.push({ text: piece, styles });
  }
  return rows;
}

/** A row as it is written: with escape sequences for its styles, or without any. */
export function writeRow(row: readonly Span[], color: boolean): string {
  return row
    .map(({ text, styles }) =>
      !color || styles.length === 0 || text === ''
        ? text
        : styleText([...styles], text, { validateStream: false }),
    )
    .join('');
}

/** How many columns a row takes. */
export function spansWidth(row: readonly Span[]): number {
  return row.reduce((sum, part) => sum + textWidth(part.text), 0);
}

interface Cell {
  char: string;
  width: number;
  styles: readonly Style[];
}

/** Breaks at the last space that fits, else wherever the row is full; the space at a break is dropped. */
function breakWords(body: readonly Span[], columns: number): Span[][] {
  const rows: Span[][] = [];
  let row: Cell[] = [];
  let width = 0;
  for (const { text, styles } of body) {
    for (const char of text) {
      const cell = { char, width: charWidth(char), styles };
      if (width + cell.width > columns) {
        const space = cell.char === ' ' ? row.length : row.findLastIndex((one) => one.char === ' ');
        const breakAt = space > 0 ? space : row.length;
        rows.push(toSpans(row.slice(0, breakAt)));
        row = row.slice(space > 0 ? breakAt + 1 : breakAt);
        width = row.reduce((sum, one) => sum + one.width, 0);
        if (cell.char === ' ' && row.length === 0) continue;
      }
      row.push(cell);
      width += cell.width;
    }
  }
  if (row.length > 0 || rows.length === 0) rows.push(toSpans(row));
  return rows;
}

function toSpans(cells: readonly Cell[]): Span[] {
  const spans: Span[] = [];
  for (const { char, styles } of cells) {
    const last = spans.at(-1);
    if (last !== undefined && last.styles === styles) last.text += char;
    else spans.push({ text: char, styles });
  }
  return spans;
}
