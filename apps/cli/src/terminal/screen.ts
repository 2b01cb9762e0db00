import type { WriteStream } from 'node:tty';
import { cutRow, layOut, spansWidth, writeRow, type Span, type TextLine } from './text-line.ts';

/** What is typed, laid out: rows, and where the cursor stands in them. */
export interface InputView {
  rows: Span[][];
  cursor: { row: number; column: number };
}

/** Draws the input for a screen of this size. */
export type DrawInput = (size: { columns: number; rows: number }) => InputView;

/** Reading gets tiring beyond this many columns. */
const MAX_COLUMNS = 100;
/** About 40 pictures a second, however fast the text comes. */
const FRAME_MS = 25;
const CLEAR_DOWN = '\x1b[J';

/**
 * Output that scrolls, above a few rows that change: the line that is not finished, a status, and
 * the input. What is printed is printed once and never touched again; only those rows are
 * redrawn, so the terminal's own scrolling, selection and history work.
 */
export class Screen {
  readonly #out: WriteStream;
  readonly #color: boolean;
  readonly #drawInput: DrawInput | null;
  readonly #onResize = (): void => this.#schedule();
  #printed: TextLine[] = [];
  #live: TextLine | null = null;
  #status: TextLine | null = null;
  /** Widths of the changing rows as they were drawn, and where the cursor was left. */
  #drawn: { widths: number[]; row: number; column: number } = { widths: [], row: 0, column: 0 };
  #timer: NodeJS.Timeout | null = null;
  #open = true;

  constructor(out: WriteStream, options: { color: boolean; drawInput: DrawInput | null }) {
    this.#out = out;
    this.#color = options.color;
    this.#drawInput = options.drawInput;
    out.on('resize', this.#onResize);
  }

  /** Adds finished lines above the changing rows. */
  print(lines: readonly TextLine[]): void {
    if (lines.length === 0) return;
    this.#printed.push(...lines);
    this.#schedule();
  }

  /** Shows the line that is being written. */
  setLive(live: TextLine | null): void {
    this.#live = live;
    this.#schedule();
  }

  /** Shows one line above the input. */
  setStatus(status: TextLine | null): void {
    this.#status = status;
    this.#schedule();
  }

  /** The input changed. */
  touch(): void {
    this.#schedule();
  }

  /** Empties the visible screen; the terminal's scrollback stays. */
  clear(): void {
    this.#drawn = { widths: [], row: 0, column: 0 };
    this.#out.write('\x1b[H\x1b[2J');
    this.#schedule();
  }

  /** Takes the changing rows away until the next change. */
  park(): void {
    this.#out.write(this.#toTop(this.#size().columns) + CLEAR_DOWN);
    this.#drawn = { widths: [], row: 0, column: 0 };
  }

  /** Prints what is owed and takes the changing rows away. */
  close(): void {
    if (!this.#open) return;
    this.#live = null;
    this.#status = null;
    this.#open = false;
    this.#draw();
    this.#out.off('resize', this.#onResize);
  }

  #schedule(): void {
    if (!this.#open) return;
    this.#timer ??= setTimeout(() => this.#draw(), FRAME_MS);
  }

  #draw(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const { columns, rows } = this.#size();
    let text = this.#toTop(columns) + CLEAR_DOWN;
    const readable = Math.min(columns, MAX_COLUMNS);
    for (const one of this.#printed) {
      for (const row of layOut(one, readable)) text += `${writeRow(row, this.#color)}\r\n`;
    }
    this.#printed = [];
    const view = this.#changingRows(columns, rows);
    text += view.rows.map((row) => writeRow(row, this.#color)).join('\r\n');
    text += toCursor(view);
    this.#drawn = { widths: view.rows.map(spansWidth), ...view.cursor };
    this.#out.write(text);
  }

  #size(): { columns: number; rows: number } {
    // A terminal that does not know its size says 0.
    return {
      columns: Math.max(this.#out.columns || 80, 4),
      rows: Math.max(this.#out.rows || 24, 3),
    };
  }

  /** From where the cursor was left to the first changing row; a resized terminal has broken them anew. */
  #toTop(columns: number): string {
    const { widths, row, column } = this.#drawn;
    let up = Math.floor(column / columns);
    for (const width of widths.slice(0, row)) up += Math.max(1, Math.ceil(width / columns));
    return up === 0 ? '\r' : `\r\x1b[${String(up)}A`;
  }

  /** Never as high as the screen: what has scrolled out of it could not be redrawn. */
  #changingRows(columns: number, rows: number): { rows: Span[][]; cursor: InputView['cursor'] } {
    // The last column stays free: in it, terminals differ on where the cursor is.
    const usable = columns - 1;
    const input = this.#open
      ? this.#drawInput?.({ columns: usable, rows: Math.max(1, rows - 2) })
      : null;
    const status =
      this.#status === null
        ? []
        : layOut(this.#status, usable)
            .slice(0, 1)
            .flatMap((row) => cutRow(row, usable).slice(0, 1));
    const gap: Span[][] = input === null || rows < 10 ? [] : [[]];
    const room = rows - 1 - gap.length - status.length - (input?.rows.length ?? 1);
    const live =
      this.#live === null || room <= 0
        ? []
        : layOut(this.#live, Math.min(usable, MAX_COLUMNS))
            .flatMap((row) => cutRow(row, usable))
            .slice(-room);
    const above = [...live, ...gap, ...status];
    const below = input ?? { rows: [[]], cursor: { row: 0, column: 0 } };
    return {
      rows: [...above, ...below.rows],
      cursor: { row: above.length + below.cursor.row, column: below.cursor.column },
    };
  }
}

/** From the end of the last row to the cursor's place. */
function toCursor(view: { rows: Span[][]; cursor: InputView['cursor'] }): string {
  const up = view.rows.length - 1 - view.cursor.row;
  const right = view.cursor.column;
  return `\r${up > 0 ? `\x1b[${String(up)}A` : ''}${right > 0 ? `\x1b[${String(right)}C` : ''}`;
}
