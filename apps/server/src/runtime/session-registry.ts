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
import { SessionActor } from './session-actor.ts';
import type { OpenedSession } from './session-journal.ts';
import type { SessionDeps } from './session-deps.ts';
import { stopping } from './refusals.ts';
import { resumeParked } from './resume.ts';
import { KnownSessions } from './known-sessions.ts';

/** An open session that nothing has used for so long is closed, in ms. */
const IDLE_MS = 60_000;
const SWEEP_MS = 10_000;
/** Open sessions, each with a file; beyond it those that were not used for a second are closed, longest first. */
const MAX_OPEN = 512;
const MIN_IDLE_MS = 1_000;
/** How long after a failed write a session is tried again, in ms. */
const OPEN_AGAIN_MS = 5_000;
/** How long turns may go on when the server stops before they are parked, in ms. */
const DRAIN_MS = 5_000;
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
  /** Open sessions, and those being opened or closed. */
  readonly #open = new Map<string, Promise<SessionActor>>();
  readonly #actors = new Map<string, SessionActor>();
  readonly #closing = new Map<string, Promise<void>>();
  readonly #known: KnownSessions;
  /** Opening and making that is under way. */
  readonly #beginning = new Set<Promise<unknown>>();
  /** Sessions whose turns were interrupted, until `resume`. */
  readonly #parked: SessionActor[] = [];
  readonly #stop = new AbortController();
  #isDraining = false;
  /** Why nothing may be written any more; null: it may. */
  #abandoned: DuragentError | null = null;

  constructor(deps: SessionDeps & { store: SessionStore; defaultAgent: () => string | null }) {
    this.#deps = deps;
    this.#store = deps.store;
    this.#defaultAgent = deps.defaultAgent;
    this.#known = new KnownSessions(() => deps.clock.now());
  }

  /** Open sessions, clients attached to them, and turns that have work to do. */
  get load(): { open: number; clients: number; working: number } {
    let clients = 0;
    let working = 0;
    for (const actor of this.#actors.values()) {
      clients += actor.clients;
      working += actor.isBusy ? 1 : 0;
    }
    return { open: this.#actors.size, clients, working };
  }

  /** Whether an open session owes something to a chat; those that do are kept open. */
  get isOwing(): boolean {
    return [...this.#actors.values()].some((actor) => actor.outbox.owed.length > 0);
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
  async #settle(opened: Omit<OpenedSession, 'onFailure'>, report: StartReport): Promise<void> {
    report.sessions += 1;
    report.torn_bytes += opened.torn?.bytes ?? 0;
    if (opened.log.quarantine) report.quarantined += 1;
    const actor = this.#adopt(opened);
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
    await this.#close(actor);
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
    void resumeParked(turns, { clock, log, signal: this.#stop.signal });
    this.#sweepLater();
  }

  #startNow(actor: SessionActor): void {
    actor
      .start()
      .catch((error: unknown) =>
        this.#deps.log.error({ session: actor.session, err: error }, 'session not recovered'),
      );
  }

  async #readUnclean(session: string): Promise<Omit<OpenedSession, 'onFailure'> | null> {
    try {
      const opened = await this.#read(session);
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
    if (this.#isDraining) throw stopping();
    const hash = request.idempotencyKey ? hashKey(request.idempotencyKey) : undefined;
    const first = hash === undefined ? null : this.#known.madeBy(hash);
    if (first) return this.open(await first);
    const made = this.#begin(this.#make(request, hash));
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
      const agent = await this.#resolveAgent(request.agent);
      const log = await this.#store.create(session);
      const actor = this.#adopt({ log, ...foldLog(null, []), snapshotSeq: 0, torn: null });
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

  /** Lets `close` wait for it. */
  #begin<T>(beginning: Promise<T>): Promise<T> {
    this.#beginning.add(beginning);
    const done = (): void => void this.#beginning.delete(beginning);
    beginning.then(done, done);
    return beginning;
  }

  async #resolveAgent(name: string | undefined): Promise<string> {
    const wanted = name ?? this.#defaultAgent();
    if (wanted !== null && (await this.#deps.agents.get(wanted))) return wanted;
    const { agents, broken } = await this.#deps.agents.list();
    const [only, ...others] = agents;
    if (wanted === null && only && others.length === 0) return only.name;
    const known = agents.map((agent) => agent.name);
    const list =
      known.length > 0
        ? `There are: ${known.join(', ')}.`
        : 'There is no agent at all; duragent init makes one.';
    const fault = broken.find((agent) => agent.name === wanted)?.faults[0];
    if (fault) {
      throw new DuragentError(
        'agent_invalid',
        `The agent ${wanted} does not load: ${fault.file}:${fault.line}:${fault.column}: ${fault.message}. Mend it (duragent agent validate shows all faults).`,
      );
    }
    throw new DuragentError(
      'agent_not_found',
      wanted === null
        ? `Say which agent: there is no default_agent. ${list}`
        : `There is no agent named ${wanted}. ${list}`,
      { details: { known } },
    );
  }

  /** The open session, opened when it is cold. @throws DuragentError session_not_found, log_newer, draining. */
  async open(session: string): Promise<SessionActor> {
    for (let under = this.#closing.get(session); under; under = this.#closing.get(session)) {
      await under.catch(() => undefined); // whoever began it is told
    }
    let opening = this.#open.get(session);
    if (!opening) {
      this.#known.summary(session);
      // A cold session would go on with its turn in a server that stops.
      if (this.#isDraining) throw stopping();
      opening = this.#begin(this.#read(session).then((opened) => this.#adopt(opened)));
      this.#open.set(session, opening);
      opening.catch(() => this.#open.delete(session));
    }
    const actor = await opening;
    actor.touch();
    await actor.start();
    return actor;
  }

  /** What listings show; opens nothing. @throws DuragentError session_not_found, log_newer. */
  view(session: string): SessionView {
    const open = this.#actors.get(session);
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
    return this.#actors.get(session)?.summary() ?? this.#known.summary(session);
  }

  /** A session if it is open. */
  opened(session: string): SessionActor | undefined {
    return this.#actors.get(session);
  }

  /** Gateways have come or gone. */
  presenceChanged(): void {
    for (const actor of this.#actors.values()) actor.presenceChanged();
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
    const purging = this.#close(actor)
      .then(() => this.#store.delete(session))
      .then(() => this.#known.forget(session))
      .finally(() => this.#closing.delete(session));
    // Whoever asks meanwhile waits, and then finds nothing.
    this.#closing.set(session, purging);
    await purging;
  }

  /**
   * Stops: takes nothing new, gives turns up to 5 s to end, parks the others, and closes every log.
   */
  async close(): Promise<void> {
    this.#isDraining = true;
    this.#stop.abort();
    for (const actor of this.#actors.values()) actor.refuseMessages();
    await Promise.allSettled(this.#beginning);
    await this.#waitForTurns();
    const actors = [...this.#actors.values()];
    await Promise.allSettled(actors.map((actor) => actor.drain()));
    await Promise.allSettled(actors.map((actor) => this.#close(actor)));
    await Promise.allSettled(this.#closing.values());
    await this.#store.close();
  }

  /** Stops at once, because nothing may be written any more: no effect goes on, and no log is closed. */
  abandon(why: DuragentError): void {
    this.#isDraining = true;
    this.#abandoned ??= why;
    this.#stop.abort();
    for (const actor of this.#actors.values()) actor.abandon(why);
  }

  async #waitForTurns(): Promise<void> {
    const { clock } = this.#deps;
    const until = clock.monotonic() + DRAIN_MS;
    while (clock.monotonic() < until && this.load.working > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      clock.after(20, resolve);
      await promise;
    }
  }

  async #read(session: string): Promise<Omit<OpenedSession, 'onFailure'>> {
    const { log, snapshot, records, torn } = await this.#store.open(session);
    const events = records.map((record) => record.event);
    if (!snapshot) return { log, ...foldLog(null, events), snapshotSeq: 0, torn };
    const fold = foldLog(snapshot, events);
    if (fold) return { log, ...fold, snapshotSeq: snapshot.seq, torn };
    await log.close(null);
    const whole = await this.#store.open(session, { ignoreSnapshot: true });
    const all = whole.records.map((record) => record.event);
    return { log: whole.log, ...foldLog(null, all), snapshotSeq: 0, torn: torn ?? whole.torn };
  }

  #adopt(opened: Omit<OpenedSession, 'onFailure'>): SessionActor {
    const actor: SessionActor = new SessionActor(this.#deps, {
      ...opened,
      onFailure: (error) => {
        this.#deps.log.error(
          { session: actor.session, err: error },
          'session failed; it is opened anew',
        );
        void this.#close(actor).then(() => this.#openAgain(actor.session));
      },
    });
    if (this.#isDraining) actor.refuseMessages();
    // What was being opened or made meanwhile, too, may not be written.
    if (this.#abandoned) actor.abandon(this.#abandoned);
    this.#makeRoom();
    this.#actors.set(actor.session, actor);
    this.#open.set(actor.session, Promise.resolve(actor));
    this.#known.foundDamage(actor.session, opened.log.quarantine);
    if (opened.state.seq > 0 || opened.log.quarantine) this.#known.learn(actor.summary());
    return actor;
  }

  /** A session whose log could not be written goes on by itself when it can be, if it has something to do. */
  #openAgain(session: string): void {
    this.#deps.clock.after(OPEN_AGAIN_MS, () => {
      if (this.#isDraining || !this.#known.has(session)) return;
      if (!this.#known.summary(session).has_work) return;
      // What fails again is told by `onFailure` again; a log that cannot even be opened waits for its next user.
      this.open(session).catch((error: unknown) =>
        this.#deps.log.error({ session, err: error }, 'session cannot be opened'),
      );
    });
  }

  #close(actor: SessionActor): Promise<void> {
    const { session } = actor;
    const under = this.#closing.get(session);
    if (under) return under;
    const closing = actor
      .close()
      .catch((error: unknown) =>
        this.#deps.log.error({ session, err: error }, 'session not closed cleanly'),
      )
      .then(() => {
        this.#forget(actor);
        if (this.#closing.get(session) === closing) this.#closing.delete(session);
      });
    this.#closing.set(session, closing);
    return closing;
  }

  #forget(actor: SessionActor): void {
    const { session } = actor;
    // Only if nobody has taken its place.
    if (this.#actors.get(session) !== actor) return;
    if (actor.lastSeq > 0) this.#known.learn(actor.summary());
    this.#actors.delete(session);
    this.#open.delete(session);
  }

  #makeRoom(): void {
    if (this.#actors.size < MAX_OPEN) return;
    const idle = [...this.#actors.values()].filter(
      (actor) => actor.idleMs >= MIN_IDLE_MS && !actor.hasWork,
    );
    idle.sort((a, b) => b.idleMs - a.idleMs);
    for (const actor of idle.slice(0, MAX_OPEN / 4)) void this.#close(actor);
  }

  #sweepLater(): void {
    this.#deps.clock.after(SWEEP_MS, () => {
      if (this.#stop.signal.aborted) return;
      this.#known.prune();
      for (const actor of this.#actors.values()) {
        if (actor.idleMs >= IDLE_MS && !actor.hasWork) void this.#close(actor);
      }
      this.#sweepLater();
    });
  }
}
