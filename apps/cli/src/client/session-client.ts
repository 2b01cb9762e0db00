import { randomUUID } from 'node:crypto';
import {
  agentListSchema,
  type ApprovalDecision,
  approvalListSchema,
  type ApprovalView,
  chatSessionSchema,
  DuragentError,
  messageAcceptedSchema,
  questionListSchema,
  type QuestionView,
  sessionViewSchema,
  type CreateSession,
  type MessageAccepted,
  type PostMessage,
  type SessionView,
} from '@duragent/protocol';
import {
  accept,
  ApiCalls,
  type CallOptions,
  type Reader,
  type ResolveServer,
} from './api-calls.ts';
import { readEvents, type ClientFrame } from './event-reader.ts';

type Agents = ReturnType<typeof agentListSchema.parse>;

/** Listings are read to their end, at most this many pages of 100. */
const MAX_PAGES = 1000;

/**
 * A client of one server's sessions. Calls survive a restart of the server: those that only read
 * are repeated, those that write are repeated with the same Idempotency-Key and happen once.
 */
export class SessionClient {
  readonly #resolve: ResolveServer;
  readonly #calls: ApiCalls;

  constructor(resolve: ResolveServer) {
    this.#resolve = resolve;
    this.#calls = new ApiCalls(resolve);
  }

  async agents(options: CallOptions): Promise<Agents> {
    const read: Reader<Agents> = (body) => agentListSchema.safeParse(body).data ?? null;
    return await this.#calls.call({ method: 'GET', path: '/api/v1/agents' }, read, options);
  }

  async createSession(body: CreateSession, options: CallOptions): Promise<SessionView> {
    const request = {
      method: 'POST',
      path: '/api/v1/sessions',
      body,
      idempotencyKey: randomUUID(),
    } as const;
    return await this.#calls.call(request, readView, options);
  }

  /** All sessions that match, newest first. */
  async sessions(
    filter: { status?: string; agent?: string; gateway?: string },
    options: CallOptions,
  ): Promise<SessionView[]> {
    const found: SessionView[] = [];
    let cursor: string | null = null;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const query = new URLSearchParams({ ...filter, limit: '100' });
      if (cursor !== null) query.set('cursor', cursor);
      const request = { method: 'GET', path: `/api/v1/sessions?${query.toString()}` } as const;
      const list: SessionPage = await this.#calls.call(request, readPage, options);
      found.push(...list.sessions);
      cursor = list.next;
      if (cursor === null) return found;
    }
    throw new DuragentError(
      'failed',
      'There are too many sessions to list. Ask for one --agent or --status.',
    );
  }

  /** The session that a chat shows; null: none. */
  async chat(
    chat: { gateway: string; chat_id: string; thread?: string },
    options: CallOptions,
  ): Promise<string | null> {
    const { gateway, chat_id, thread } = chat;
    const query = thread === undefined ? '' : `?${new URLSearchParams({ thread }).toString()}`;
    const path = `/api/v1/chats/${encodeURIComponent(gateway)}/${encodeURIComponent(chat_id)}${query}`;
    const read: Reader<string> = (body) => chatSessionSchema.safeParse(body).data?.session ?? null;
    try {
      return await this.#calls.call({ method: 'GET', path }, read, options);
    } catch (error) {
      if (error instanceof DuragentError && error.code === 'not_found') return null;
      throw error;
    }
  }

  /** @throws DuragentError session_not_found */
  async session(session: string, options: CallOptions): Promise<SessionView> {
    return await this.#calls.call({ method: 'GET', path: pathOf(session) }, readView, options);
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
    return await this.#calls.call(
      { method: 'POST', path, body: message, idempotencyKey },
      read,
      options,
    );
  }

  /** Cancels the open turn, if there is one. */
  async cancel(session: string, options: CallOptions): Promise<void> {
    await this.#calls.call(
      { method: 'POST', path: `${pathOf(session)}/cancel`, body: {} },
      accept,
      options,
    );
  }

  /** Holds the session, or lets it go on. */
  async control(session: string, what: 'pause' | 'resume', options: CallOptions): Promise<void> {
    await this.#calls.call(
      { method: 'POST', path: `${pathOf(session)}/${what}`, body: {} },
      accept,
      options,
    );
  }

  /** What waits for a person in any session. */
  async approvals(options: CallOptions): Promise<ApprovalView[]> {
    const read: Reader<ApprovalView[]> = (body) =>
      approvalListSchema.safeParse(body).data?.approvals ?? null;
    return await this.#calls.call({ method: 'GET', path: '/api/v1/approvals' }, read, options);
  }

  async questions(options: CallOptions): Promise<QuestionView[]> {
    const read: Reader<QuestionView[]> = (body) =>
      questionListSchema.safeParse(body).data?.questions ?? null;
    return await this.#calls.call({ method: 'GET', path: '/api/v1/questions' }, read, options);
  }

  /** Decides once: nobody knows what a lost answer said. @throws DuragentError not_found, conflict */
  async decide(
    session: string,
    approval: string,
    decision: ApprovalDecision,
    options: CallOptions,
  ): Promise<void> {
    const path = `${pathOf(session)}/approvals/${encodeURIComponent(approval)}`;
    const request = { method: 'POST', path, body: { decision } } as const;
    await this.#calls.call(request, accept, { ...options, patienceMs: 0 });
  }

  /** @throws DuragentError not_found, conflict, invalid_request */
  async answer(
    session: string,
    question: string,
    answer: string,
    options: CallOptions,
  ): Promise<void> {
    const path = `${pathOf(session)}/questions/${encodeURIComponent(question)}`;
    const request = { method: 'POST', path, body: { answer } } as const;
    await this.#calls.call(request, accept, { ...options, patienceMs: 0 });
  }

  /** Ends the session; ending it again does nothing. */
  async end(session: string, reason: 'user' | 'reset', options: CallOptions): Promise<void> {
    await this.#calls.call(
      { method: 'DELETE', path: `${pathOf(session)}?reason=${reason}` },
      accept,
      options,
    );
  }

  /** Ends the session and deletes its data. */
  async delete(session: string, options: CallOptions): Promise<void> {
    await this.#calls.call(
      { method: 'DELETE', path: `${pathOf(session)}?purge=true` },
      accept,
      options,
    );
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
}

interface SessionPage {
  sessions: SessionView[];
  next: string | null;
}

const readView: Reader<SessionView> = (body) => sessionViewSchema.safeParse(body).data ?? null;

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
