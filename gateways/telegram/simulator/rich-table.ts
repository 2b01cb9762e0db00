import type { RichBlockTableCell, RichText } from 'grammy/types';
import { cannotParse } from './refusal.ts';
import type { BlockOfLines, Line } from './rich-lines.ts';

const MAX_COLUMNS = 20;

/**
 * Reads a table of rich Markdown from its head on.
 * @param inline reads the text of a cell.
 * @param where `at byte offset N` of the whole message for a place in it.
 * @returns undefined: there is no table here.
 * @throws Refusal `can't parse entities: …` for a row that does not fit.
 */
export function readTable(
  lines: readonly Line[],
  at: number,
  inline: (cell: Line) => RichText,
  where: (at: number) => string,
): BlockOfLines | undefined {
  const line = lines[at];
  const rule = lines[at + 1];
  if (line === undefined || rule === undefined || !line.text.includes('|')) return undefined;
  const aligns = readRule(rule.text);
  if (aligns === undefined) return undefined;
  const head = splitRow(line);
  if (head.length !== aligns.length) {
    throw cannotParse(
      `Table has ${head.length} header cells and ${aligns.length} columns ${where(line.at)}`,
    );
  }
  if (head.length > MAX_COLUMNS) {
    throw cannotParse(`Table has more than ${MAX_COLUMNS} columns ${where(line.at)}`);
  }
  const rows = [rowOf(head, aligns, true, inline)];
  let end = at + 2;
  for (; end < lines.length; end++) {
    const next = lines[end];
    if (next === undefined || !next.text.includes('|')) break;
    const cells = splitRow(next);
    if (cells.length > aligns.length) {
      throw cannotParse(
        `Table row has ${cells.length} cells for ${aligns.length} columns ${where(next.at)}`,
      );
    }
    rows.push(rowOf(cells, aligns, false, inline));
  }
  return { block: { type: 'table', cells: rows, is_bordered: true }, next: end };
}

function rowOf(
  cells: readonly Line[],
  aligns: readonly Align[],
  isHeader: boolean,
  inline: (cell: Line) => RichText,
): RichBlockTableCell[] {
  return aligns.map((align, column) => {
    const cell = cells[column];
    const text = cell === undefined || cell.text === '' ? undefined : inline(cell);
    return {
      ...(text === undefined ? {} : { text }),
      ...(isHeader ? { is_header: true } : {}),
      align,
      valign: 'middle',
    };
  });
}

type Align = 'left' | 'center' | 'right';

/** The line below a table's head; undefined when it is none. */
function readRule(text: string): Align[] | undefined {
  if (!text.includes('-')) return undefined;
  const cells = text.trim().replace(/^\|/, '').replace(/\|$/, '').split('|');
  const aligns: Align[] = [];
  for (const cell of cells) {
    const mark = cell.trim();
    if (!/^:?-+:?$/.test(mark)) return undefined;
    const isRight = mark.endsWith(':');
    aligns.push(isRight ? (mark.startsWith(':') ? 'center' : 'right') : 'left');
  }
  return cells.length === 1 && !text.includes('|') ? undefined : aligns;
}

/** The cells of a row; a bar in code or after a backslash divides nothing. */
function splitRow(line: Line): Line[] {
  const begin = line.text.length - line.text.trimStart().length;
  const end = line.text.trimEnd().length;
  const cells: Line[] = [];
  let from = line.text[begin] === '|' ? begin + 1 : begin;
  let isCode = false;
  for (let at = from; at < end; at++) {
    const character = line.text[at];
    if (character === '\\') at++;
    else if (character === '`') isCode = !isCode;
    else if (character === '|' && !isCode) {
      cells.push(cellOf(line, from, at));
      from = at + 1;
    }
  }
  if (from < end) cells.push(cellOf(line, from, end));
  return cells;
}

function cellOf(line: Line, from: number, to: number): Line {
  const text = line.text.slice(from, to);
  return { text: text.trim(), at: line.at + from + text.length - text.trimStart().length };
}
