import { setTimeout as sleep } from 'node:timers/promises';
import { DuragentError } from '@duragent/protocol';

const FIRST_MS = 200;
const LAST_MS = 5_000;

/** Waits between tries: 0.2 s, doubling to 5 s, or what the server asked for. */
export class Backoff {
  #nextMs = FIRST_MS;

  /** Waits once more. @returns false, at once, if that would pass the deadline (ms since 1970) */
  async wait(options: {
    signal: AbortSignal;
    error?: unknown;
    deadline?: number;
  }): Promise<boolean> {
    const asked =
      options.error instanceof DuragentError ? options.error.details['retryAfterMs'] : 0;
    const waitMs = Math.max(this.#nextMs, Math.min(typeof asked === 'number' ? asked : 0, LAST_MS));
    if (options.deadline !== undefined && Date.now() + waitMs > options.deadline) return false;
    this.#nextMs = Math.min(this.#nextMs * 2, LAST_MS);
    await sleep(waitMs, undefined, { signal: options.signal });
    return true;
  }

  /** After a success: the next wait is short again. */
  reset(): void {
    this.#nextMs = FIRST_MS;
  }
}
