import { randomUUID } from 'node:crypto';
import {
  agentListSchema,
  DuragentError,
  messageAcceptedSchema,
  sessionViewSchema,
  type CreateSession,
  type MessageAccepted,
  type PostMessage,
  type SessionView,
} from '@duragent/protocol';
import { Backoff } from './backoff.ts';
import { readEvents, type ClientFrame } from './event-reader.ts';
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

type Agents = ReturnType<typeof agentListSchema.parse>;
type Reader<T> = (body: unknown) => T | null;

const PATIENCE_MS = 10_000;
/** Listings are read to their end, at most this many pages of 100. */
const MAX_PAGES = 1000;

/**
 * A client of one server's sessions. Calls survive a restart of the server: those that only read
 * are repeated, those that write are repeated with the same Idempotency-Key and happen once.
 */
export class SessionClient {
  readonly #resolve: ResolveServer;
  /** Where the last call was answered. */
  #address: ServerAddress | null = null;

  constructor(resolve: ResolveServer) {
    this.#resolve = resolve;
  }

  async agents(options: CallOptions): Promise<Agents> {
    const read: Reader<Agents> = (body) => agentListSchema.safeParse(body).data ?? null;
    return await this.#call({ method: 'GET', path: '/api/v1/agents' }, read, options);
  }

  async createSession(body: CreateSession, options: CallOptions): Promise<SessionView> {
    const request = {
      method: 'POST',
      path: '/api/v1/sessions',
      body,
      idempotencyKey: randomUUID(),
    } as const;
    return await this.#call(request, readView, options);
  }

  /** All sessions that match, newest first. */
  async sessions(
    filter: { status?: string; agent?: string },
    options: CallOptions,
  ): Promise<SessionView[]> {
    const found: SessionView[] = [];
    let cursor: string | null = null;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const query = new URLSearchParams({ ...filter, limit: '100' });
      if (cursor !== null) query.set('cursor', cursor);
      const request = { method: 'GET', path: `/api/v1/sessions?${query.toString()}` } as const;
      const list: SessionPage = await this.#call(request, readPage, options);
      found.push(...list.sessions);
      cursor = list.next;
      if (cursor === null) return found;
    }
    throw new DuragentError(
      'failed',
      'There are too many sessions to list. Ask for one --agent or --status.',
    );
  }

  /** @throws DuragentError session_not_found */
  async session(session: string, options: CallOptions): Promise<SessionView> {
    return await this.#call({ method: 'GET', path: pathOf(session) }, readView, options);
  }

  /** Submits a message once, however often the connection is lost; resolves when it is durable. */
  async post(
    session: string,
    message: PostMessage,
    options: CallOptions,
  ): Promise<MessageAccepted> {
    const read: Reader<MessageAccepted> = (body) =>
      messageAcceptedSchema.safeParse(body).data ?? null;
    const idempotencyKey = randomUUID();
    const path = `${pathOf(session)}/messages`;
    return await this.#call({ method: 'POST', path, body: message, idempotencyKey }, read, options);
  }

  /** Cancels the open turn, if there is one. */
  async cancel(session: string, options: CallOptions): Promise<void> {
    await this.#call(
      { method: 'POST', path: `${pathOf(session)}/cancel`, body: {} },
      accept,
      options,
    );
  }

  /** Ends the session; ending it again does nothing. */
  async end(session: string, reason: 'user' | 'reset', options: CallOptions): Promise<void> {
    await this.#call(
      { method: 'DELETE', path: `${pathOf(session)}?reason=${reason}` },
      accept,
      options,
    );
  }

  /** Ends the session and deletes its data. */
  async delete(session: string, options: CallOptions): Promise<void> {
    await this.#call({ method: 'DELETE', path: `${pathOf(session)}?purge=true` }, accept, options);
  }

  /**
   * The session's events after `after` and what follows, each once and in order, over any number
   * of lost connections, which show as `lost` and `mended`. Returns when the signal aborts, or
   * when the stream of an ended session closes.
   * @throws DuragentError for what trying again cannot mend
   */
  events(
    session: string,
    options: { after: number; signal: AbortSignal; presence?: boolean },
  ): AsyncGenerator<ClientFrame> {
    return readEvents(this.#resolve, `${pathOf(session)}/events`, options);
  }

  async #call<T>(
    request: Omit<HttpRequest, 'signal'>,
    read: Reader<T>,
    options: CallOptions,
  ): Promise<T> {
    const { signal, patienceMs = PATIENCE_MS } = options;
    const deadline = Date.now() + patienceMs;
    const backoff = new Backoff();
    for (;;) {
      const known = this.#address;
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

interface SessionPage {
  sessions: SessionView[];
  next: string | null;
}

const readView: Reader<SessionView> = (body) => sessionViewSchema.safeParse(body).data ?? null;
const accept: Reader<true> = () => true;

const readPage: Reader<SessionPage> = (body) => {
  const { sessions, cursor } = (body ?? {}) as { sessions?: unknown; cursor?: unknown };
  const list = sessionViewSchema.array().safeParse(sessions);
  return list.success
    ? { sessions: list.data, next: typeof cursor === 'string' ? cursor : null }
    : null;
};

function pathOf(session: string): string {
  return `/api/v1/sessions/${encodeURIComponent(session)}`;
}
