import type { Clock } from '../../ports/clock.ts';

/** The timers of one owner, which end with it. */
export class Timers {
  readonly #clock: Clock;
  readonly #pending = new Set<() => void>();
  #isClosed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls back once after `ms`, unless it is cancelled or all are. @returns a function that cancels it. */
  after(ms: number, callback: () => void): () => void {
    if (this.#isClosed) return () => undefined;
    const cancelTimer = this.#clock.after(ms, () => {
      this.#pending.delete(cancel);
      callback();
    });
    const cancel = (): void => {
      this.#pending.delete(cancel);
      cancelTimer();
    };
    this.#pending.add(cancel);
    return cancel;
  }

  /** Cancels all, and starts no more. */
  close(): void {
    this.#isClosed = true;
    for (const cancel of this.#pending) cancel();
  }
}
