import { DuragentError } from '@duragent/protocol';
import { Backoff } from './backoff.ts';
import {
  isTransient,
  notDuragent,
  readJson,
  send,
  type HttpRequest,
  type ServerAddress,
} from './http.ts';

/** Finds the server, anew at each connection: a restarted one may have another port and token. */
export type ResolveServer = (options: { signal: AbortSignal }) => Promise<ServerAddress>;

export interface CallOptions {
  signal: AbortSignal;
  /** How long a lost connection is tried again, in ms; default 10 s. */
  patienceMs?: number;
}

/** Reads an answer's body; null: this API gives no such answer. */
export type Reader<T> = (body: unknown) => T | null;

/** For answers that say nothing but that it was done. */
export const accept: Reader<true> = () => true;

const PATIENCE_MS = 10_000;

/** Requests to one server that survive its restart: they are repeated while there is patience. */
export class ApiCalls {
  readonly #resolve: ResolveServer;
  /** Where the last call was answered. */
  #address: ServerAddress | null = null;

  constructor(resolve: ResolveServer) {
    this.#resolve = resolve;
  }

  /** @throws DuragentError with the problem's code; no_server when patience is over. */
  async call<T>(
    request: Omit<HttpRequest, 'signal'>,
    read: Reader<T>,
    options: CallOptions,
  ): Promise<T> {
    const { signal, patienceMs = PATIENCE_MS } = options;
    const deadline = Date.now() + patienceMs;
    const backoff = new Backoff();
    for (;;) {
      // What is tried only once asks where the server is now, not where it was.
      const known = patienceMs === 0 ? null : this.#address;
      try {
        const address = known ?? (await this.#resolve({ signal }));
        const response = await send(address, { ...request, signal });
        const body = response.status === 204 ? {} : await readJson(response, signal);
        const value = read(body);
        if (value === null) throw notDuragent(address.url);
        this.#address = address;
        return value;
      } catch (error) {
        this.#address = null;
        // What is known may be of a server before this one.
        if (known !== null && isUnauthorized(error)) continue;
        if (!isTransient(error) || !(await backoff.wait({ signal, error, deadline }))) throw error;
      }
    }
  }
}

function isUnauthorized(error: unknown): boolean {
  return error instanceof DuragentError && error.code === 'unauthorized';
}
