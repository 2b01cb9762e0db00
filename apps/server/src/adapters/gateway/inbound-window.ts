/** Counts what was read and is not yet durable, and says when no more may be read. */
export class InboundWindow {
  readonly #max: { events: number; bytes: number };
  #events = 0;
  #bytes = 0;
  #isFull = false;
  #open = Promise.withResolvers<void>();

  constructor(max: { events: number; bytes: number }) {
    this.#max = max;
  }

  /** From when a bound is reached until both counts are below half of theirs. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Resolves when it is no longer full. */
  whenOpen(): Promise<void> {
    return this.#isFull ? this.#open.promise : Promise.resolve();
  }

  add(bytes: number): void {
    this.#events += 1;
    this.#bytes += bytes;
    if (this.#isFull || (this.#events < this.#max.events && this.#bytes < this.#max.bytes)) return;
    this.#isFull = true;
    this.#open = Promise.withResolvers();
  }

  remove(bytes: number): void {
    this.#events -= 1;
    this.#bytes -= bytes;
    if (this.#events < this.#max.events / 2 && this.#bytes < this.#max.bytes / 2) this.release();
  }

  /** Lets whoever waits go on, whatever is not durable. */
  release(): void {
    this.#isFull = false;
    this.#open.resolve();
  }
}
