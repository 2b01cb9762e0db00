import type { Writable } from 'node:stream';

/** Lines to a stream, in order, as fast as it takes them. Until `release` only those written `now` go out. */
export class LineOutput {
  readonly #stream: Writable;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #held = true;
  #behind = false;
  #closed = false;

  /** @param onBroken is called, at most once, when the stream takes no more. */
  constructor(stream: Writable, onBroken: () => void) {
    this.#stream = stream;
    const broken = (): void => {
      if (this.#closed) return;
      this.#closed = true;
      this.#waiting = [];
      onBroken();
    };
    // Never taken off: an error may come after the last line.
    stream.on('error', broken);
    stream.on('close', broken);
    stream.on('drain', () => {
      this.#behind = false;
      this.#flush();
    });
  }

  /** How much was written that the stream has not been given yet. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  write(line: Uint8Array): void {
    if (this.#closed) return;
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    this.#flush();
  }

  /** Writes in front of what waits. */
  writeNow(line: Uint8Array): void {
    if (!this.#closed) this.#behind = !this.#stream.write(line);
  }

  /** Lets go out what was written, and what will be. */
  release(): void {
    this.#held = false;
    this.#flush();
  }

  /** Writes what waits, unless it is held, and a last line. Resolves when they are taken, or after `ms`. Never rejects. */
  async close(last: Uint8Array, ms: number): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const lines = this.#held ? [last] : [...this.#waiting, last];
    this.#waiting = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#stream.write(Buffer.concat(lines), () => resolve());
    await promise;
    clearTimeout(timer);
  }

  #flush(): void {
    while (!this.#held && !this.#behind && !this.#closed) {
      const line = this.#waiting.shift();
      if (line === undefined) return;
      this.#waitingBytes -= line.length;
      this.#behind = !this.#stream.write(line);
    }
  }
}
