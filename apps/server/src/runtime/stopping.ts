import type { DuragentError } from '@duragent/protocol';

/** Why and when a server ends: it was asked to, or it cannot go on. The first failure wins. */
export class Stopping {
  readonly #asked = new AbortController();
  #failure: DuragentError | null = null;
  /** Called at once with what makes going on impossible. */
  onFailure: (why: DuragentError) => void = () => undefined;

  /** @param owner stops it when it aborts. */
  constructor(owner: AbortSignal) {
    if (owner.aborted) this.stop();
    else owner.addEventListener('abort', () => this.stop(), { once: true });
  }

  /** Aborted once it is to end. */
  get signal(): AbortSignal {
    return this.#asked.signal;
  }

  /** Set when it cannot go on: nothing more may be written. */
  get failure(): DuragentError | null {
    return this.#failure;
  }

  stop(): void {
    this.#asked.abort();
  }

  fail(error: DuragentError): void {
    if (this.#failure) return;
    this.#failure = error;
    this.onFailure(error);
    this.#asked.abort();
  }

  /** Resolves once it is to end. */
  async wait(): Promise<void> {
    if (this.signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
  }
}
