import type { ServerResponse } from 'node:http';
import { DuragentError } from '@duragent/protocol';
import type { Clock } from '../ports/clock.ts';
import type { Caller } from './auth.ts';

/** The client went away before it was answered; nobody is there to be told. */
export class ClientLeft extends Error {
  constructor() {
    super('the client left');
    this.name = 'ClientLeft';
  }
}

/** Made once: it says nothing about where it happened. */
const LEFT = new ClientLeft();

/** One request's life: its id, whose it is, until when it is answered, and whether anyone still waits. */
export class RequestScope {
  readonly id: string;
  /** null: a public route. */
  caller: Caller | null = null;
  readonly #res: ServerResponse;
  #controller: AbortController | null = null;
  #cancelDeadline: (() => void) | null = null;
  #isExpired = false;

  constructor(id: string, res: ServerResponse) {
    this.id = id;
    this.#res = res;
  }

  /** Aborts with `ClientLeft` once the response has been closed, by either side. */
  get signal(): AbortSignal {
    if (this.#controller) return this.#controller.signal;
    const controller = new AbortController();
    this.#controller = controller;
    const close = (): void => controller.abort(LEFT);
    if (this.#res.closed) close();
    else this.#res.once('close', close);
    return controller.signal;
  }

  /** Whether the connection was lost before the whole answer was written. */
  get isLeft(): boolean {
    return this.#res.closed && !this.#res.writableFinished;
  }

  /** Whether the time was up and the request has been answered so; what comes later is not sent. */
  get isExpired(): boolean {
    return this.#isExpired;
  }

  /**
   * Runs the work of the request, for at most `ms` unless it asked for `unlimited`.
   * @param onLate is told of an error that comes after the time was up.
   * @throws DuragentError request_timeout.
   */
  async run(
    work: () => Promise<void>,
    options: { clock: Clock; ms: number; onLate: (error: unknown) => void },
  ): Promise<void> {
    const expired = new Promise<never>((_, reject) => {
      this.#cancelDeadline = options.clock.after(options.ms, () => {
        this.#isExpired = true;
        reject(timeout(options.ms));
      });
    });
    const running = work();
    try {
      await Promise.race([running, expired]);
    } catch (error) {
      if (this.#isExpired) running.catch(options.onLate);
      throw error;
    } finally {
      this.#cancelDeadline?.();
    }
  }

  /** From here on the request may take as long as it wants. @throws as `assertInTime`. */
  unlimited(): void {
    this.assertInTime();
    this.#cancelDeadline?.();
  }

  /** Ends work that was already answered for, before it has an effect. @throws ClientLeft: nobody waits for it. */
  assertInTime(): void {
    if (this.#isExpired) throw new ClientLeft();
  }
}

function timeout(ms: number): DuragentError {
  return new DuragentError(
    'request_timeout',
    `The request was not finished within ${Math.ceil(ms / 1000)} s; send it again.`,
  );
}
