import type { Clock } from '../ports/clock.ts';

/** A model call that shows nothing for so long has failed. */
export const STALL_MS = 120_000;

const CALL_ENDED = new Error('the call has ended');

/** Aborts a call that its owner aborts, or that shows nothing for `STALL_MS`. */
export class StallGuard {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #owner: AbortSignal;
  readonly #onAbort = (): void => this.#controller.abort(this.#owner.reason);
  #cancel: () => void;
  #last: number;
  isStalled = false;

  constructor(clock: Clock, owner: AbortSignal) {
    this.#clock = clock;
    this.#owner = owner;
    this.#last = clock.monotonic();
    this.#cancel = clock.after(STALL_MS, () => this.#check());
    if (owner.aborted) this.#onAbort();
    else owner.addEventListener('abort', this.#onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The call has shown something. */
  touch(): void {
    this.#last = this.#clock.monotonic();
  }

  /** The call is over. What still runs of it is aborted, unless it came to its own end. */
  stop({ isWhole }: { isWhole: boolean }): void {
    this.#cancel();
    this.#owner.removeEventListener('abort', this.#onAbort);
    if (!isWhole) this.#controller.abort(CALL_ENDED);
  }

  #check(): void {
    const left = STALL_MS - (this.#clock.monotonic() - this.#last);
    if (left > 0) {
      this.#cancel = this.#clock.after(left, () => this.#check());
      return;
    }
    this.isStalled = true;
    this.#controller.abort(new Error('the model stalled'));
  }
}
