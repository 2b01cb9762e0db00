import type { DuragentError, SessionEvent } from '@duragent/protocol';
import { type Effect, next } from '../core/session/next.ts';
import type { SessionInput } from '../core/session/session-input.ts';
import type { SessionState } from '../core/session/state.ts';
import type { SessionLog, StoredRecord } from '../ports/session-store.ts';
import { AgentInUse } from './agent-in-use.ts';
import { Feed } from './feed.ts';
import { cutOutputs, recovery } from './recovery.ts';
import { stopping } from './refusals.ts';
import { maxBackgroundMs, rulesFor } from './rules.ts';
import { SessionAudience } from './session-audience.ts';
import type { SessionDeps } from './session-deps.ts';
import { type OpenedSession, SessionJournal } from './session-journal.ts';
import { ShownChats } from './shown-chats.ts';
import { WorkInFlight } from './work-in-flight.ts';
import { WorkView } from './work-view.ts';

/**
 * Keeps one open session going: what is submitted moves its state at once; what has become durable
 * is shown, and the work that the state owes is kept in flight.
 */
export class SessionReconciler {
  readonly journal: SessionJournal;
  readonly agent: AgentInUse;
  readonly audience: SessionAudience;
  readonly view: WorkView;
  readonly #deps: SessionDeps;
  readonly #opened: OpenedSession;
  readonly #log: SessionLog;
  readonly #feed: Feed;
  readonly #shown: ShownChats;
  readonly #work: WorkInFlight;
  /** null: not begun or started yet, and nothing is done that is owed. */
  #started: Promise<void> | null = null;
  #usedAt: number;
  /** What the newest state owes: it is asked for again when that is on disk. */
  #owed: { state: SessionState | null; effects: Effect[] } = { state: null, effects: [] };

  constructor(deps: SessionDeps, opened: OpenedSession) {
    const { clock, runner, settings } = deps;
    const { log, state } = opened;
    this.#deps = deps;
    this.#opened = opened;
    this.#log = log;
    this.#usedAt = clock.monotonic();
    const journal = new SessionJournal(opened, deps, {
      decided: (events) => this.#decided(events),
      durable: (records, hasEnded) => this.#becameDurable(records, hasEnded),
      failed: (why) => this.#failed(why),
    });
    const feed = new Feed({ capacity: settings.outputBufferSize, lastSeq: state.seq });
    const shown = new ShownChats(log.session, runner.chats, opened.state.turn?.turn);
    const agent = new AgentInUse(deps.agents, journal);
    const parts = { journal, log, feed, shown, agent };
    this.journal = journal;
    this.agent = agent;
    this.#feed = feed;
    this.#shown = shown;
    this.audience = new SessionAudience({
      ...parts,
      clock,
      opened: state,
      maxBackgroundMs: () => maxBackgroundMs(agent.latest, settings),
      isStarted: () => this.#started !== null,
      start: () => this.start(),
      submit: (input) => this.#inBackground(input),
      touch: () => this.touch(),
    });
    this.view = new WorkView({ ...parts, submit: (input) => this.submit(input) });
    this.#work = new WorkInFlight(runner, {
      before: () => agent.read(),
      input: (input) => (input ? this.#inBackground(input) : this.#reconcile()),
      error: (effect, error) =>
        deps.log.error({ session: log.session, effect: effect.key, err: error }, 'effect failed'),
    });
  }

  /** The last durable seq. */
  get lastSeq(): number {
    return this.#feed.lastSeq;
  }

  /** Whether something is being done, waits and summaries apart. */
  get isBusy(): boolean {
    return this.#work.isBusy;
  }

  /** Whether something that is owed waits for a place. */
  get isQueued(): boolean {
    return this.#work.isQueued;
  }

  /** For how many ms nothing has used it; 0 while something does. */
  get idleMs(): number {
    if (this.audience.isRead || this.#work.size > 0 || !this.journal.isWritten) return 0;
    return this.#deps.clock.monotonic() - this.#usedAt;
  }

  /** Keeps it open for a while. */
  touch(): void {
    this.#usedAt = this.#deps.clock.monotonic();
  }

  /** Records the first event of a new session. */
  async begin(input: Extract<SessionInput, { type: 'start' }>): Promise<void> {
    this.#started = Promise.resolve();
    await this.agent.read(input.agent);
    await this.submit(input);
  }

  /** Recovers what an earlier server had in flight, then begins the work that is owed. Once. */
  start(): Promise<void> {
    this.#started ??= this.#recover();
    return this.#started;
  }

  async #recover(): Promise<void> {
    const { journal, agent } = this;
    if (journal.quarantine || journal.now.state.seq === 0) return;
    const { outputs, runner } = this.#deps;
    const { torn } = this.#opened;
    const { session } = this.#log;
    await this.submit(await recovery({ session, torn, journal, agent, outputs, runner }));
  }

  /**
   * Decides one input. The state moves at once; what it caused is shown, and further work begun,
   * when it is on disk: it resolves then. Rejects with why the log failed.
   */
  submit(input: SessionInput): Promise<void> {
    this.touch();
    return this.journal.submit(input, () => this.#rules());
  }

  /**
   * Durable records after `after`, oldest first. @throws DuragentError `log_corrupt`; why the log failed
   * or `draining`, once it is closed.
   */
  async read(after: number, limit: number): Promise<StoredRecord[]> {
    this.touch();
    try {
      return await this.#log.read(after, limit);
    } catch (error) {
      const { failure, over } = this.journal;
      if (over.aborted) throw failure ?? stopping();
      throw error;
    }
  }

  /** Parks an open turn: what its tools have said by then is kept. */
  async drain(): Promise<void> {
    if (!this.#started || this.journal.failure) return;
    const { turn } = this.journal.now.state;
    const outputs = await cutOutputs(this.#log.session, turn, this.#deps.outputs);
    await this.submit({ type: 'drain', outputs });
  }

  /** Ends everything at once, because nothing may be written any more. */
  abandon(why: DuragentError): void {
    this.journal.abandon(why);
    this.#letGo();
  }

  /** Writes the snapshot, lets go of the log, and ends every reader. */
  async close(): Promise<void> {
    const closed = this.journal.close();
    this.#letGo();
    await closed;
  }

  #letGo(): void {
    this.#work.abortAll();
    this.audience.close();
    this.#shown.close();
  }

  /** Submits an input that nobody waits for; `onFailure` is told when it cannot be written. */
  #inBackground(input: SessionInput): void {
    if (!this.journal.failure && this.#started) this.submit(input).catch(() => undefined);
  }

  #decided(events: readonly SessionEvent[]): void {
    if (events.some((event) => event.type === 'turn_started')) this.agent.turnStarted();
    this.#reconcile();
  }

  #becameDurable(records: StoredRecord[], hasEnded: boolean): void {
    this.#feed.publish(records);
    if (hasEnded) this.#deps.onEnded?.(this.#log.session);
    this.#reconcile();
  }

  #failed(why: DuragentError): void {
    this.#work.abortAll();
    this.#opened.onFailure(why);
  }

  #reconcile(): void {
    if (this.journal.over.aborted || !this.#started) return;
    const { now, durable } = this.journal;
    const isDurable = (key: string): boolean =>
      next(durable.state).some((effect) => effect.key === key);
    if (this.#owed.state !== now.state) {
      this.#owed = { state: now.state, effects: next(now.state) };
    }
    this.#work.reconcile(this.#owed.effects, isDurable, () => this.view.scope());
    this.#shown.turn(durable.state);
    this.audience.presenceChanged();
    this.audience.watchBackground();
  }

  #rules() {
    const { clock, epoch, settings, runner } = this.#deps;
    const { state, window } = this.journal.now;
    return rulesFor({
      now: clock.now(),
      epoch,
      agent: this.agent.latest,
      settings,
      window,
      trigger: state.turn?.trigger ?? [],
      leftTurn: this.audience.leftTurn,
      background: this.audience.background,
      limits: (gateway) => runner.chats.limits(gateway),
    });
  }
}
