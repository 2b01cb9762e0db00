import {
  DuragentError,
  type EndReason,
  type OnDisconnect,
  type Origin,
  type SessionView,
} from '@duragent/protocol';
import { foldLog } from '../core/session/fold.ts';
import type { ChatBinding } from '../core/session/session-input.ts';
import type { SessionSummary } from '../core/session/summary.ts';
import type { SessionStore } from '../ports/session-store.ts';
import { newId } from './ids.ts';
import { hashKey } from './hash-key.ts';
import { OpenSessions } from './open-sessions.ts';
import { type ReadSession, readSession } from './read-session.ts';
import { resolveAgent } from './resolve-agent.ts';
import type { SessionActor } from './session-actor.ts';
import type { SessionDeps } from './session-deps.ts';
import { stopping } from './refusals.ts';
import { resumeParked } from './resume.ts';
import { KnownSessions } from './known-sessions.ts';

/** Sessions read at once when the server starts. */
const START_CONCURRENCY = 16;

export interface CreateRequest {
  /** Without it the default agent, else the only one. */
  agent?: string | undefined;
  key?: string | undefined;
  labels?: Record<string, string> | undefined;
  onDisconnect?: OnDisconnect | undefined;
  origin: Origin;
  idempotencyKey?: string | undefined;
  /** The chat that it is made for. */
  chat?: ChatBinding | undefined;
}

/** What a start found; logged as one line. */
export interface StartReport {
  sessions: number;
  resumed: number;
  parked: number;
  torn_bytes: number;
  quarantined: number;
}

/** All sessions of this server: opens cold ones, closes idle ones, and knows every one for listings. */
export class SessionRegistry {
  readonly #deps: SessionDeps;
  readonly #store: SessionStore;
  readonly #defaultAgent: () => string | null;
  readonly #known: KnownSessions;
  readonly #open: OpenSessions;
  /** Sessions whose turns were interrupted, until `resume`. */
  readonly #parked: SessionActor[] = [];

  constructor(deps: SessionDeps & { store: SessionStore; defaultAgent: () => string | null }) {
    this.#deps = deps;
    this.#store = deps.store;
    this.#defaultAgent = deps.defaultAgent;
    this.#known = new KnownSessions(() => deps.clock.now());
    this.#open = new OpenSessions(deps, deps.store, this.#known);
  }

  /** Open sessions, clients attached to them, and turns that have work to do. */
  get load(): { open: number; clients: number; working: number } {
    return this.#open.load;
  }

  /** Whether an open session owes something to a chat; those that do are kept open. */
  get isOwing(): boolean {
    return this.#open.isOwing;
  }

  /** Reads what was not closed cleanly. Listings are complete when it resolves; `resume` comes next. */
  async start(): Promise<StartReport> {
    const unclean = await this.#store.unclean();
    for (const summary of await this.#store.summaries()) {
      this.#known.learn(summary);
      if (summary.has_work) unclean.push(summary.session);
    }
    const report = { sessions: 0, resumed: 0, parked: 0, torn_bytes: 0, quarantined: 0 };
    const readNext = async (): Promise<void> => {
      for (let session = unclean.pop(); session; session = unclean.pop()) {
        const opened = await this.#readUnclean(session);
        if (opened) await this.#settle(opened, report);
      }
    };
    await Promise.all(Array.from({ length: START_CONCURRENCY }, readNext));
    report.resumed = this.#parked.length;
    return report;
  }

  /** Keeps a session open that has work to do, and closes any other as it should have been. */
  async #settle(opened: ReadSession, report: StartReport): Promise<void> {
    report.sessions += 1;
    report.torn_bytes += opened.torn?.bytes ?? 0;
    if (opened.log.quarantine) report.quarantined += 1;
    const actor = this.#open.adopt(opened);
    if (actor.hasWork) {
      this.#parked.push(actor);
      return;
    }
    try {
      await actor.start();
      // Its recovery found what it waited for, as an answer that the log was cut behind.
      if (actor.hasWork) return;
    } catch (error) {
      this.#deps.log.error({ session: actor.session, err: error }, 'session not recovered');
    }
    if (opened.state.turn) report.parked += 1;
    await this.#open.close(actor);
  }

  /** Lets interrupted turns go on in the background, a few at a time, and begins to close idle sessions. */
  resume(): void {
    const { clock, log } = this.#deps;
    const parked = this.#parked.splice(0);
    // Only turns are let go on a few at a time; what is owed to chats waits for nobody.
    for (const actor of parked) {
      if (!actor.hasTurn) this.#startNow(actor);
    }
    const turns = parked.filter((actor) => actor.hasTurn);
    void resumeParked(turns, { clock, log, signal: this.#open.signal });
    this.#open.watchIdle();
  }

  #startNow(actor: SessionActor): void {
    actor
      .start()
      .catch((error: unknown) =>
        this.#deps.log.error({ session: actor.session, err: error }, 'session not recovered'),
      );
  }

  async #readUnclean(session: string): Promise<ReadSession | null> {
    try {
      const opened = await readSession(this.#store, session);
      if (opened.state.seq > 0 || opened.log.quarantine) return opened;
      // A crash between making the log and its first record: nobody was told of this session.
      await opened.log.close(null);
      await this.#store.delete(session);
    } catch (error) {
      this.#deps.log.error({ session, err: error }, 'session cannot be opened');
      if (error instanceof DuragentError) this.#known.foundUnreadable(session, error);
    }
    return null;
  }

  /**
   * Makes a session. A repeated Idempotency-Key gives the session that the first made.
   * @throws DuragentError agent_not_found, conflict (`details.session` holds the key), draining.
   */
  async create(request: CreateRequest): Promise<SessionActor> {
    if (this.#open.isDraining) throw stopping();
    const hash = request.idempotencyKey ? hashKey(request.idempotencyKey) : undefined;
    const first = hash === undefined ? null : this.#known.madeBy(hash);
    if (first) return this.open(await first);
    const made = this.#open.begin(this.#make(request, hash));
    if (hash !== undefined)
      this.#known.making(
        hash,
        made.then((actor) => actor.session),
      );
    return made;
  }

  async #make(request: CreateRequest, hash: string | undefined): Promise<SessionActor> {
    const session = newId('session');
    const { key } = request;
    if (key !== undefined) this.#known.reserveKey(key, session);
    try {
      const agent = await resolveAgent(request.agent ?? this.#defaultAgent(), this.#deps.agents);
      const log = await this.#store.create(session);
      const actor = this.#open.adopt({ log, ...foldLog(null, []), snapshotSeq: 0, torn: null });
      await actor.begin({
        type: 'start',
        session,
        agent,
        ...(key === undefined ? {} : { key }),
        origin: { ...request.origin, ...(hash === undefined ? {} : { idempotency: hash }) },
        ...(request.onDisconnect ? { on_disconnect: request.onDisconnect } : {}),
        labels: request.labels ?? {},
        ...(request.chat ? { chat: request.chat } : {}),
      });
      this.#known.learn(actor.summary());
      return actor;
    } catch (error) {
      if (key !== undefined) this.#known.releaseKey(key, session);
      throw error;
    }
  }

  /** The open session, opened when it is cold. @throws DuragentError session_not_found, log_newer, draining. */
  open(session: string): Promise<SessionActor> {
    return this.#open.open(session);
  }

  /** What listings show; opens nothing. @throws DuragentError session_not_found, log_newer. */
  view(session: string): SessionView {
    const open = this.#open.get(session);
    return open?.view() ?? this.#known.view(session, (summary) => this.#presentChats(summary));
  }

  /** A session's chats that can be reached: they count as attached, whether it is open or not. */
  #presentChats({ chats }: SessionSummary): number {
    const outlet = this.#deps.runner.chats;
    return chats.filter(({ gateway }) => outlet.isPresent(gateway)).length;
  }

  /** What is known of every session without opening one. */
  summaries(): SessionSummary[] {
    return this.#known.ids.map((session) => this.summary(session));
  }

  /** @throws DuragentError session_not_found, log_newer. */
  summary(session: string): SessionSummary {
    return this.#open.get(session)?.summary() ?? this.#known.summary(session);
  }

  /** A session if it is open. */
  opened(session: string): SessionActor | undefined {
    return this.#open.get(session);
  }

  /** Gateways have come or gone. */
  presenceChanged(): void {
    this.#open.presenceChanged();
  }

  /** All sessions, newest first. */
  list(): SessionView[] {
    return this.#known.ids.map((session) => this.view(session));
  }

  /** Ends a session; twice changes nothing. @throws DuragentError session_not_found, session_quarantined. */
  async end(session: string, reason: EndReason): Promise<void> {
    const actor = await this.open(session);
    await actor.end(reason);
    this.#known.learn(actor.summary());
  }

  /** Ends a session, if it can be written, and deletes its data. @throws DuragentError session_not_found. */
  async purge(session: string): Promise<void> {
    const actor = await this.open(session);
    if (actor.view().quarantine === undefined) await actor.end('user');
    await this.#open.delete(actor);
  }

  /**
   * Stops: takes nothing new, gives turns up to 5 s to end, parks the others, and closes every log.
   */
  async close(): Promise<void> {
    await this.#open.closeAll();
    await this.#store.close();
  }

  /** Stops at once, because nothing may be written any more: no effect goes on, and no log is closed. */
  abandon(why: DuragentError): void {
    this.#open.abandon(why);
  }
}
