import type { Clock } from '../../ports/clock.ts';

/** Why a call is not waited for any longer. */
export class CallEnded extends Error {
  override readonly name = 'CallEnded';
  readonly outcome: 'cancelled' | 'timed_out';

  constructor(outcome: 'cancelled' | 'timed_out', message: string) {
    super(message);
    this.outcome = outcome;
  }
}

/**
 * Ends the waiting for one call: when one of some signals aborts, and when a deadline is over, which
 * can be put off, but not beyond a last one. To be cleared in the end.
 */
export class CallGuard {
  readonly #clock: Clock;
  readonly #ms: number;
  readonly #signals: readonly AbortSignal[];
  readonly #controller = new AbortController();
  readonly #cancelLast: () => void;
  #cancel: () => void;
  #reject: (error: CallEnded) => void = () => undefined;

  constructor(
    clock: Clock,
    options: { signals: readonly AbortSignal[]; ms: number; lastMs: number },
  ) {
    const { signals, ms, lastMs } = options;
    this.#clock = clock;
    this.#ms = ms;
    this.#signals = signals;
    this.#cancel = clock.after(ms, () => this.#late(ms));
    this.#cancelLast = clock.after(lastMs, () => this.#late(lastMs));
    for (const signal of signals) signal.addEventListener('abort', this.#abort, { once: true });
    if (signals.some(({ aborted }) => aborted)) this.#abort();
  }

  /** Aborts with a `CallEnded`. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Waits for this, or rejects with a `CallEnded` at once. To be called once. */
  wait<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#reject = reject;
      if (this.signal.aborted) reject(this.signal.reason as CallEnded);
      work.then(resolve, reject);
    });
  }

  /** The deadline begins anew. */
  extend(): void {
    if (this.signal.aborted) return;
    this.#cancel();
    this.#cancel = this.#clock.after(this.#ms, () => this.#late(this.#ms));
  }

  clear(): void {
    this.#cancel();
    this.#cancelLast();
    for (const signal of this.#signals) signal.removeEventListener('abort', this.#abort);
  }

  readonly #abort = (): void => this.#end(new CallEnded('cancelled', 'was cancelled'));

  #late(ms: number): void {
    this.#end(new CallEnded('timed_out', `did not answer within ${ms / 1000} s`));
  }

  #end(why: CallEnded): void {
    if (this.signal.aborted) return;
    this.clear();
    this.#controller.abort(why);
    this.#reject(why);
  }
}
