/** At most `limit` holders at once; the others wait in order. */
export class Slots {
  readonly #limit: number;
  readonly #waiting: (() => void)[] = [];
  #held = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether `acquire` would have to wait. */
  get isFull(): boolean {
    return this.#held >= this.#limit;
  }

  /** Waits for a place. Rejects with the signal's reason. @returns a function that gives it back, once. */
  async acquire(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#held >= this.#limit) await this.#wait(signal);
    else this.#held += 1;
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      const first = this.#waiting.shift();
      if (first) first();
      else this.#held -= 1;
    };
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const start = (): void => {
        signal.removeEventListener('abort', stop);
        resolve();
      };
      const stop = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(start), 1);
        reject(signal.reason as Error);
      };
      this.#waiting.push(start);
      signal.addEventListener('abort', stop, { once: true });
    });
  }
}
