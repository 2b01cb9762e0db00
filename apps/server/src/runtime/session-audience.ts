import type { Answer, MessageAccepted } from '@duragent/protocol';
import type { Rules } from '../core/session/rules.ts';
import type { SessionInput } from '../core/session/session-input.ts';
import type { SessionState } from '../core/session/state.ts';
import { waitsForSomebody } from '../core/session/turns.ts';
import type { Clock } from '../ports/clock.ts';
import type { SessionLog } from '../ports/session-store.ts';
import type { AgentInUse } from './agent-in-use.ts';
import { AnswerTracker } from './answer-tracker.ts';
import { Attendance } from './attendance.ts';
import { BackgroundTime } from './background-time.ts';
import type { Feed, Frame } from './feed.ts';
import { followSession } from './follow-session.ts';
import { stopping } from './refusals.ts';
import type { SessionJournal } from './session-journal.ts';
import type { ShownChats } from './shown-chats.ts';

/** The session that is followed. */
interface Followed {
  clock: Clock;
  journal: Pick<SessionJournal, 'now' | 'over' | 'failure'>;
  log: SessionLog;
  feed: Feed;
  shown: ShownChats;
  agent: Pick<AgentInUse, 'latest'>;
  /** What its log said when it was opened. */
  opened: SessionState;
  /** How long its turn may work with nobody attached, in ms; 0: for ever. */
  maxBackgroundMs: () => number;
  start: () => Promise<void>;
  isStarted: () => boolean;
  /** Submits that somebody has come, that everyone has left, or that its turn worked alone for long. */
  submit: (input: SessionInput) => void;
  /** Somebody used it until now. */
  touch: () => void;
}

/** How a session is followed. */
export interface FollowOptions {
  /** The seq that the first event comes after. */
  after: number;
  /**
   * The first record whose words are given though what holds them is recorded already, as far as they
   * are kept; without it none are.
   */
  wordsFrom?: number;
  signal: AbortSignal;
  /** Whether the reader counts as attached; without it, it does. */
  presence?: boolean;
}

/** Those who follow one session: clients that read it, and chats that show it. */
export class SessionAudience {
  readonly #session: Followed;
  readonly #attendance: Attendance;
  readonly #background: BackgroundTime;
  /** Those who read it, attached or not. */
  #readers = 0;
  /** Chats that can be reached, as the attendance knows them. */
  #chatsPresent = 0;
  #isShut = false;

  constructor(session: Followed) {
    this.#session = session;
    this.#attendance = new Attendance(session.clock, () => session.submit({ type: 'detach' }));
    this.#background = new BackgroundTime(session.clock, session.opened, (turn) =>
      session.submit({ type: 'background_limit', turn }),
    );
  }

  /** Clients attached now, and chats that can be reached. */
  get clients(): number {
    return this.#attendance.clients;
  }

  /** Whether anybody reads it, attached or not. */
  get isRead(): boolean {
    return this.#readers > 0;
  }

  /** The turn that everyone left a while ago; null: somebody is there, or it began later. */
  get leftTurn(): string | null {
    return this.#attendance.leftTurn;
  }

  /** How long the open turn has worked with nobody attached, and whether nobody is now. */
  get background(): Rules['background'] {
    return { ...this.#background.counted, isAlone: this.clients === 0 };
  }

  /** The turn, those who are there or the limit may have changed. */
  watchBackground(): void {
    const { isStarted, journal, maxBackgroundMs } = this.#session;
    // Before that it does not work, whatever its log says.
    if (!isStarted() || journal.over.aborted) return;
    this.#background.look(journal.now.state.turn, this.clients === 0, maxBackgroundMs());
  }

  /** Somebody speaks to the turn that was left. */
  heard(): void {
    this.#attendance.heard();
  }

  /** The chats' gateways have come or gone, or other chats show it. */
  presenceChanged(): void {
    const { journal, shown, feed } = this.#session;
    const { turn } = journal.now.state;
    const present = shown.present(journal.now.state);
    if (present === this.#chatsPresent) return;
    const came = present > this.#chatsPresent;
    this.#chatsPresent = present;
    this.#attendance.setChats(present, turn?.turn ?? null);
    this.watchBackground();
    feed.clients = this.clients;
    if (came) this.#letGoOn();
  }

  /**
   * Waits until the turn that answers a message has ended; counts as attached meanwhile. Rejects
   * with the signal's reason, and with `draining` when the server stops first.
   */
  async answer(message: MessageAccepted, options: { signal: AbortSignal }): Promise<Answer> {
    const tracker = this.track(message);
    for await (const frame of this.subscribe({ after: message.seq - 1, signal: options.signal })) {
      const answer = frame.kind === 'event' ? tracker.see(frame.record.event) : null;
      if (answer) return answer;
    }
    options.signal.throwIfAborted();
    throw this.#session.journal.failure ?? stopping();
  }

  /** Follows the turn that answers a message, for readers of `subscribe`. */
  track(message: MessageAccepted): AnswerTracker {
    const { journal, agent } = this.#session;
    const { turn, settings } = journal.now.state;
    const mode = turn?.queue ?? settings.queue ?? agent.latest?.access.queue.mode;
    return new AnswerTracker(message, mode ?? 'steer');
  }

  /**
   * Events after `after`, once each and in order, then live ones with the deltas between them,
   * until the signal aborts or the session is closed. A client that reads counts as attached
   * unless `presence` is false. @throws DuragentError when the session can no longer be written.
   */
  async *subscribe(options: FollowOptions): AsyncGenerator<Frame> {
    const { journal, feed, log, start } = this.#session;
    const isPresent = options.presence !== false;
    this.#readers += 1;
    if (isPresent) this.#enter();
    try {
      await start();
      const signals = [options.signal, journal.over];
      const { after, wordsFrom } = options;
      const from = wordsFrom === undefined ? { after } : { after, wordsFrom };
      yield* followSession(feed, log, { ...from, signals });
      if (journal.failure && !options.signal.aborted) throw journal.failure;
    } finally {
      this.#readers -= 1;
      if (isPresent) this.#leave();
    }
  }

  /** Whoever comes lets no turn go on any more. */
  shut(): void {
    this.#isShut = true;
  }

  /** Nobody's leaving counts any more. */
  close(): void {
    this.#attendance.close();
    this.#background.close();
  }

  #enter(): void {
    this.#attendance.enter();
    this.watchBackground();
    this.#session.feed.clients = this.clients;
    this.#letGoOn();
  }

  /** Somebody has come: a turn that waits for that goes on, but not in a server that stops. */
  #letGoOn(): void {
    const { journal, submit } = this.#session;
    if (!this.#isShut && waitsForSomebody(journal.now.state)) submit({ type: 'attach' });
  }

  #leave(): void {
    const { journal, feed, touch } = this.#session;
    touch();
    if (journal.over.aborted) return;
    this.#attendance.leave(journal.now.state.turn?.turn ?? null);
    this.watchBackground();
    feed.clients = this.clients;
  }
}
