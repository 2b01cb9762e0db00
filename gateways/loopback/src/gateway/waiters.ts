import type { ServerResponse } from 'node:http';

/** Callers that wait for something to change. */
export class Waiters {
  /** Told of every change. */
  readonly #listeners = new Set<() => void>();

  /** Lets everybody look whether this is what they wait for. */
  tell(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Waits until `isDone`, at most so long, and no longer than the caller and the gateway are there. */
  async wait(
    ms: number,
    response: ServerResponse,
    signal: AbortSignal,
    isDone: () => boolean,
  ): Promise<void> {
    if (ms === 0 || isDone()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const listener = (): void => {
      if (isDone()) resolve();
    };
    const timer = setTimeout(resolve, ms);
    const end = (): void => resolve();
    this.#listeners.add(listener);
    response.once('close', end);
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) resolve();
    await promise;
    clearTimeout(timer);
    this.#listeners.delete(listener);
    response.off('close', end);
    signal.removeEventListener('abort', end);
  }
}
