import type { DuragentError } from '@duragent/protocol';
import type { SessionStore } from '../ports/session-store.ts';
import type { KnownSessions } from './known-sessions.ts';
import { type ReadSession, readSession } from './read-session.ts';
import { stopping } from './refusals.ts';
import { SessionActor } from './session-actor.ts';
import type { SessionDeps } from './session-deps.ts';

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

/** The sessions that are open: each is opened once, closed when nothing uses it, and all are at the end. */
export class OpenSessions {
  readonly #deps: SessionDeps;
  readonly #store: SessionStore;
  readonly #known: KnownSessions;
  /** Open sessions, and those being opened or closed. */
  readonly #open = new Map<string, Promise<SessionActor>>();
  readonly #actors = new Map<string, SessionActor>();
  readonly #closing = new Map<string, Promise<void>>();
  /** Opening and making that is under way. */
  readonly #beginning = new Set<Promise<unknown>>();
  readonly #stop = new AbortController();
  #isDraining = false;
  /** Why nothing may be written any more; null: it may. */
  #abandoned: DuragentError | null = null;

  constructor(deps: SessionDeps, store: SessionStore, known: KnownSessions) {
    this.#deps = deps;
    this.#store = store;
    this.#known = known;
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

  /** Whether the server stops: no session is made or opened any more. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Aborts when the server stops. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** A session if it is open. */
  get(session: string): SessionActor | undefined {
    return this.#actors.get(session);
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
      opening = this.begin(readSession(this.#store, session).then((opened) => this.adopt(opened)));
      this.#open.set(session, opening);
      opening.catch(() => this.#open.delete(session));
    }
    const actor = await opening;
    actor.touch();
    await actor.start();
    return actor;
  }

  /** Takes a session that was read, or is new, and not started yet. */
  adopt(opened: ReadSession): SessionActor {
    const actor: SessionActor = new SessionActor(this.#deps, {
      ...opened,
      onFailure: (error) => {
        this.#deps.log.error(
          { session: actor.session, err: error },
          'session failed; it is opened anew',
        );
        void this.close(actor).then(() => this.#openAgain(actor.session));
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

  /** Lets `closeAll` wait for what opens or makes a session. */
  begin<T>(beginning: Promise<T>): Promise<T> {
    this.#beginning.add(beginning);
    const done = (): void => void this.#beginning.delete(beginning);
    beginning.then(done, done);
    return beginning;
  }

  /** Gateways have come or gone. */
  presenceChanged(): void {
    for (const actor of this.#actors.values()) actor.presenceChanged();
  }

  /** Closes one session, once; never rejects. */
  close(actor: SessionActor): Promise<void> {
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

  /** Closes a session and deletes its data. */
  async delete(actor: SessionActor): Promise<void> {
    const { session } = actor;
    const purging = this.close(actor)
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
  async closeAll(): Promise<void> {
    this.#isDraining = true;
    this.#stop.abort();
    for (const actor of this.#actors.values()) actor.refuseMessages();
    await Promise.allSettled(this.#beginning);
    await this.#waitForTurns();
    const actors = [...this.#actors.values()];
    await Promise.allSettled(actors.map((actor) => actor.drain()));
    await Promise.allSettled(actors.map((actor) => this.close(actor)));
    await Promise.allSettled(this.#closing.values());
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
    for (const actor of idle.slice(0, MAX_OPEN / 4)) void this.close(actor);
  }

  /** Closes those that nothing uses, from now on. */
  watchIdle(): void {
    this.#deps.clock.after(SWEEP_MS, () => {
      if (this.#stop.signal.aborted) return;
      this.#known.prune();
      for (const actor of this.#actors.values()) {
        if (actor.idleMs >= IDLE_MS && !actor.hasWork) void this.close(actor);
      }
      this.watchIdle();
    });
  }
}
