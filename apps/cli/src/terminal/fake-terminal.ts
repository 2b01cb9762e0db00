import { EventEmitter } from 'node:events';
import type { WriteStream } from 'node:tty';

/** A terminal for tests: understands what `Screen` writes, and keeps what has scrolled out of it. */
export class FakeTerminal extends EventEmitter {
  readonly isTTY = true;
  readonly lines: string[] = [''];
  columns: number;
  rows: number;
  #row = 0;
  #column = 0;

  constructor(columns: number, rows: number) {
    super();
    this.columns = columns;
    this.rows = rows;
  }

  asStream(): WriteStream {
    return this as unknown as WriteStream;
  }

  /** All lines, those above the screen too, without spaces and empty lines at the end. */
  get text(): string {
    return this.lines
      .map((line) => line.trimEnd())
      .join('\n')
      .trimEnd();
  }

  get cursor(): { row: number; column: number } {
    return { row: this.#row, column: this.#column };
  }

  write(text: string): boolean {
    for (const [part] of text.matchAll(/\x1b\[([?\d;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]/gu)) {
      if (part === '\r') this.#column = 0;
      else if (part === '\n') this.#down();
      else if (part.startsWith('\x1b')) this.#control(part);
      else this.#put(part);
    }
    return true;
  }

  #control(sequence: string): void {
    const count = Number(/\d+/.exec(sequence)?.[0] ?? 1);
    const top = Math.max(0, this.lines.length - this.rows);
    if (sequence.endsWith('A')) this.#row = Math.max(top, this.#row - count);
    else if (sequence.endsWith('C'))
      this.#column = Math.min(this.columns - 1, this.#column + count);
    else if (sequence.endsWith('J')) {
      this.lines.length = this.#row + 1;
      this.lines[this.#row] = (this.lines[this.#row] ?? '').slice(0, this.#column);
    } else if (!sequence.endsWith('m'))
      throw new Error(`not understood: ${JSON.stringify(sequence)}`);
  }

  #put(char: string): void {
    if (this.#column >= this.columns) {
      this.#column = 0;
      this.#down();
    }
    const line = (this.lines[this.#row] ?? '').padEnd(this.#column);
    this.lines[this.#row] = line.slice(0, this.#column) + char + line.slice(this.#column + 1);
    this.#column += 1;
  }

  #down(): void {
    this.#row += 1;
    while (this.lines.length <= this.#row) this.lines.push('');
  }
}
