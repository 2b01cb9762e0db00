import { printedLines } from './terminal-text.ts';

/** How much of a line that has not ended is remembered, in UTF-16 units. */
const MAX_LINE = 8192;
/** How much of a line is told. */
const MAX_TOLD = 1000;

/** Looks for texts in the lines of an output that comes in pieces. Also in a line that has not ended: prompts never do. */
export class LineWatch {
  #rest = '';

  /** @returns for each text that is in a line of the next piece, or of what it completes, the first such line. */
  take(piece: string, texts: readonly string[]): Map<string, string> {
    const lines = printedLines(this.#rest + piece);
    const last = lastLineEnd(piece);
    this.#rest = (last === -1 ? this.#rest + piece : piece.slice(last + 1)).slice(-MAX_LINE);
    const found = new Map<string, string>();
    for (const text of texts) {
      const line = lines.find((one) => one.includes(text));
      if (line !== undefined) found.set(text, excerpt(line, text));
    }
    return found;
  }

  /** A line that has begun counts no more: what was found in it would be found again. */
  forget(): void {
    this.#rest = '';
  }
}

function lastLineEnd(piece: string): number {
  return Math.max(piece.lastIndexOf('\n'), piece.lastIndexOf('\r'));
}

/** The part of a line around a text. */
function excerpt(line: string, text: string): string {
  if (line.length <= MAX_TOLD) return line;
  const at = line.indexOf(text);
  const start = Math.max(0, Math.min(at - (MAX_TOLD - text.length) / 2, line.length - MAX_TOLD));
  return line.slice(Math.floor(start), Math.floor(start) + MAX_TOLD).toWellFormed();
}
