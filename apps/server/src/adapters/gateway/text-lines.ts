const LF = 0x0a;
const CR = 0x0d;

/**
 * Cuts a stream of bytes into lines of text and keeps at most `maxBytes` of each: what is behind
 * is dropped without being kept. Empty lines are skipped.
 */
export class TextLines {
  readonly #kept: Buffer;
  #length = 0;

  constructor(maxBytes: number) {
    this.#kept = Buffer.alloc(maxBytes);
  }

  /** Takes the next bytes, and gives each line that they end to `onLine`. */
  push(chunk: Buffer, onLine: (text: string) => void): void {
    let from = 0;
    for (let to = chunk.indexOf(LF); to >= 0; to = chunk.indexOf(LF, from)) {
      this.#keep(chunk.subarray(from, to));
      this.end(onLine);
      from = to + 1;
    }
    this.#keep(chunk.subarray(from));
  }

  /** The stream has ended: what stands behind the last LF is a line too. */
  end(onLine: (text: string) => void): void {
    const end = this.#kept[this.#length - 1] === CR ? this.#length - 1 : this.#length;
    if (end > 0) onLine(this.#kept.toString('utf8', 0, end));
    this.#length = 0;
  }

  #keep(bytes: Buffer): void {
    this.#length += bytes.copy(this.#kept, this.#length);
  }
}
