/** Bounds of a `LineDecoder`. */
export interface LineLimits {
  /** The longest line in bytes, without its LF. */
  maxBytes: number;
}

/** A whole line (without its LF), or what was dropped: a line that was too long, and its length in bytes. */
export type DecodedLine =
  { type: 'line'; bytes: Uint8Array } | { type: 'too_long'; length: number };

const LF = 0x0a;

/**
 * Cuts a stream of bytes into lines at LF, and nowhere else: U+2028 is no line end. It keeps at
 * most one line of `maxBytes`; what is longer is dropped without being kept, counted, and the
 * line after it is whole again. Pure: no I/O, no clock.
 */
export class LineDecoder {
  readonly #maxBytes: number;
  /** The beginning of a line, `#length` bytes of it; it grows by doubling, so tiny chunks cost no more. */
  #kept = new Uint8Array(256);
  #length = 0;

  constructor(limits: LineLimits) {
    this.#maxBytes = limits.maxBytes;
  }

  /** Takes the next bytes and gives the lines that they end. The bytes may be reused afterwards. */
  push(chunk: Uint8Array): DecodedLine[] {
    const lines: DecodedLine[] = [];
    let from = 0;
    for (let to = chunk.indexOf(LF); to >= 0; to = chunk.indexOf(LF, from)) {
      this.#keep(chunk.subarray(from, to));
      lines.push(this.#take());
      from = to + 1;
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
    return lines;
  }

  /** The stream has ended. @returns the bytes behind the last LF, which are no line; null: there are none. */
  end(): DecodedLine | null {
    return this.#length === 0 ? null : this.#take();
  }

  #keep(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length <= this.#maxBytes) {
      if (length > this.#kept.length) {
        const larger = new Uint8Array(
          Math.min(this.#maxBytes, Math.max(length, 2 * this.#kept.length)),
        );
        larger.set(this.#kept.subarray(0, this.#length));
        this.#kept = larger;
      }
      this.#kept.set(bytes, this.#length);
    }
    this.#length = length;
  }

  #take(): DecodedLine {
    const length = this.#length;
    this.#length = 0;
    if (length > this.#maxBytes) return { type: 'too_long', length };
    return { type: 'line', bytes: this.#kept.slice(0, length) };
  }
}

/**
 * One message as a line: its JSON and an LF, UTF-8.
 * @throws RangeError when it would be longer than `maxBytes`; a line is sent whole or not at all.
 */
export function encodeLine(message: object, limits: LineLimits): Uint8Array {
  const bytes = new TextEncoder().encode(`${JSON.stringify(message)}\n`);
  if (bytes.length - 1 > limits.maxBytes) {
    throw new RangeError(
      `the message takes ${bytes.length - 1} bytes and a line may have ${limits.maxBytes}`,
    );
  }
  return bytes;
}
