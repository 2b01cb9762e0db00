import type {
  Answer,
  ApprovalDecision,
  ChatAddress,
  DuragentError,
  EndReason,
  MessageAccepted,
  SessionView,
} from '@duragent/protocol';
import { boundChats, heardIn } from '../core/session/deliveries.ts';
import { chatOf } from '../core/session/receive.ts';
import type { ChatBinding, SessionInput } from '../core/session/session-input.ts';
import type { Chat, SessionState } from '../core/session/state.ts';
import { hasTurn, hasWork, type SessionSummary } from '../core/session/summary.ts';
import type { StoredRecord } from '../ports/session-store.ts';
import type { AnswerTracker } from './answer-tracker.ts';
import type { Frame } from './feed.ts';
import { sessionEnded, stopping } from './refusals.ts';
import type { FollowOptions, SessionAudience } from './session-audience.ts';
import type { SessionDeps } from './session-deps.ts';
import { type ChatMessage, type ClientMessage, SessionIntake } from './session-intake.ts';
import type { OpenedSession, SessionJournal } from './session-journal.ts';
import { SessionReconciler } from './session-reconciler.ts';
import { type Outbox, openRequests, outboxOf, viewOf } from './session-view.ts';
import type { WorkView } from './work-view.ts';

/**
 * One open session, as all others of the server see it: what may be asked of it and told to it.
 * The only writer of its log.
 */
export class SessionActor {
  readonly session: string;
  readonly #reconciler: SessionReconciler;
  readonly #journal: SessionJournal;
  readonly #audience: SessionAudience;
  readonly #work: WorkView;
  readonly #intake: SessionIntake;

  constructor(deps: SessionDeps, opened: OpenedSession) {
    const reconciler = new SessionReconciler(deps, opened);
    this.session = opened.log.session;
    this.#reconciler = reconciler;
    this.#journal = reconciler.journal;
    this.#audience = reconciler.audience;
    this.#work = reconciler.view;
    this.#intake = new SessionIntake(reconciler, deps.clock);
  }

  /** The agent it is with. */
  get agent(): string {
    return this.#state.agent;
  }

  /** The last durable seq. */
  get lastSeq(): number {
    return this.#reconciler.lastSeq;
  }

  /** Whether its turn goes on, or would once it is started. */
  get hasWork(): boolean {
    return !this.#journal.quarantine && hasWork(this.#state);
  }

  /** Whether a turn works, or a part is being sent: what a stopping server waits for. */
  get isBusy(): boolean {
    return !this.#journal.quarantine && (this.#reconciler.isBusy || hasTurn(this.#state));
  }

  /** Whether a turn would go on once it is started; deliveries do not count. */
  get hasTurn(): boolean {
    return !this.#journal.quarantine && hasTurn(this.#state);
  }

  /** Whether it takes nothing any more: it has ended, or its log is damaged. */
  get isOver(): boolean {
    return this.#journal.quarantine !== null || this.#journal.durable.state.ended !== null;
  }

  /** The chats that are bound to it. */
  get chats(): readonly Chat[] {
    return boundChats(this.#state);
  }

  /** The chats that hear what its open turn says. */
  get heardIn(): readonly Chat[] {
    return heardIn(this.#state);
  }

  /** What people set in it. */
  get settings(): SessionState['settings'] {
    return this.#state.settings;
  }

  /** What it owes to chats, and what died and may be tried again. */
  get outbox(): Outbox {
    return outboxOf(this.#journal.durable.state);
  }

  /** Clients attached now. */
  get clients(): number {
    return this.#audience.clients;
  }

  /** For how many ms nothing has used it; 0 while something does. */
  get idleMs(): number {
    return this.#reconciler.idleMs;
  }

  /** Keeps it open for a while. */
  touch(): void {
    this.#reconciler.touch();
  }

  /** The session as the API shows it. */
  view(): SessionView {
    return viewOf(this.summary(), {
      clients: this.clients,
      isWorking: this.#journal.durable.state.turn !== null,
      isQueued: this.#reconciler.isQueued,
      quarantine: this.#journal.quarantine,
    });
  }

  summary(): SessionSummary {
    return this.#journal.summary();
  }

  /** Records the first event of a new session. */
  begin(input: Extract<SessionInput, { type: 'start' }>): Promise<void> {
    return this.#reconciler.begin(input);
  }

  /** Recovers what an earlier server had in flight, then begins the work that is owed. Once. */
  start(): Promise<void> {
    return this.#reconciler.start();
  }

  /**
   * Takes a message. Durable when it resolves; one whose key is known answers what the first did.
   * @throws DuragentError session_ended, queue_full, session_quarantined, draining,
   *   record_too_large, storage_full, storage_failed.
   */
  receive(message: ClientMessage): Promise<MessageAccepted> {
    return this.#intake.receive(message);
  }

  /**
   * Takes a message of a chat: in the log once, by its number in the inbox. Durable when it
   * resolves. @returns false where the chat is not bound here (any more): it has another session.
   * @throws as `receive`, but never queue_full.
   */
  receiveFromChat(message: ChatMessage): Promise<boolean> {
    return this.#intake.receiveFromChat(message);
  }

  /** Binds a chat, or remembers its newest inbox number. @returns false where too many are bound already. */
  async bind(chat: ChatBinding): Promise<boolean> {
    await this.start();
    this.#journal.assertWritable();
    await this.#reconciler.submit({ type: 'bind', chat });
    return chatOf(this.#state, chat) !== undefined;
  }

  /** Tells people something, in these chats or those of the session. Once for each `idempotency`. */
  async notify(what: {
    text: string;
    idempotency: string;
    chats: ChatAddress[] | null;
  }): Promise<void> {
    await this.start();
    this.#journal.assertWritable();
    const { ended } = this.#state;
    if (ended) throw sessionEnded(ended.reason);
    await this.#reconciler.submit({ type: 'notify', ...what });
  }

  /** Tells people something by a call that is under way, in these chats or those of the session. Once. */
  async tell(what: {
    turn: string;
    call: string;
    text: string;
    chats: ChatAddress[] | null;
  }): Promise<void> {
    await this.start();
    this.#journal.assertWritable();
    await this.#reconciler.submit({ type: 'tell', ...what });
  }

  /** Lets go of a chat. What is owed to it stays owed. */
  async unbind(chat: ChatAddress, by: string): Promise<void> {
    await this.start();
    await this.#reconciler.submit({ type: 'unbind', chat, by });
  }

  /** A bound chat goes on under another id of its platform. */
  async move(from: ChatAddress, chat: ChatBinding): Promise<void> {
    await this.start();
    this.#journal.assertWritable();
    await this.#reconciler.submit({ type: 'move', from, chat });
  }

  /** Changes a setting of this session; null: as the agent says again. */
  async set(name: 'queue' | 'activation', value: string | null, by: string): Promise<void> {
    await this.start();
    this.#journal.assertWritable();
    await this.#reconciler.submit({ type: 'set', name, value, by });
  }

  /** A preview of one of its answers is on a platform. */
  previewPosted(out: string, message: string): Promise<void> {
    return this.#reconciler.submit({ type: 'preview_posted', out, message });
  }

  /** Tries a dead delivery again, or gives one up. @returns whether there is such a one. */
  async decideDelivery(what: 'deliver_again' | 'deliver_never', out: string): Promise<boolean> {
    return this.#decide({ type: what, out });
  }

  /** Gives up a dead delivery that is in the log only. @returns whether it counts. */
  async forgetDelivery(out: string, older: { part: number; attempt: number }): Promise<boolean> {
    return this.#decide({ type: 'deliver_never', out, older });
  }

  /** The approvals and questions that are open, with the seq of the record that asks. */
  get asked(): readonly { id: string; seq: number }[] {
    return openRequests(this.#state);
  }

  /** What people say to an approval. @returns whether it counts: it was open, and offered so. */
  async decideApproval(approval: string, decision: ApprovalDecision, by: string): Promise<boolean> {
    // What it allows would be ended before it is done.
    if (this.#intake.isShut) throw stopping();
    return this.#decide({ type: 'decide_approval', approval, decision, by });
  }

  /** What people answer to a question. @returns whether it counts: it was open. */
  async answerQuestion(question: string, answer: string, by: string): Promise<boolean> {
    return this.#decide({ type: 'answer_question', question, answer, by });
  }

  async #decide(input: SessionInput): Promise<boolean> {
    await this.start();
    this.#journal.assertWritable();
    const { seq } = this.#state;
    const done = this.#reconciler.submit(input);
    // At once: while it is written, others decide too.
    const isDecided = this.#state.seq > seq;
    await done;
    return isDecided;
  }

  /** The chats' gateways have come or gone. */
  presenceChanged(): void {
    this.#audience.presenceChanged();
  }

  /** Stops the open turn; what was shown of its answer is kept. `turn` null: there was none. */
  async cancel(): Promise<{ turn: string | null }> {
    await this.start();
    this.#journal.assertWritable();
    const turn = this.#state.turn?.turn ?? null;
    if (turn) await this.#reconciler.submit({ type: 'cancel', ...this.#work.draft() });
    return { turn };
  }

  /**
   * Holds the session: its turn stops at the next safe point, and no other begins until it is
   * resumed. What is said meanwhile waits in the log. Twice changes nothing.
   */
  async pause(by: string): Promise<void> {
    await this.start();
    await this.#control({ type: 'pause', by });
  }

  /**
   * Lets a session go on that was paused, and its turn where that waits for somebody.
   * @throws DuragentError draining, session_ended, session_quarantined.
   */
  async resume(by: string): Promise<void> {
    // What goes on would be ended at once.
    if (this.#intake.isShut) throw stopping();
    await this.start();
    // Whoever left it before: it goes on for whoever resumes it.
    this.#audience.heard();
    await this.#control({ type: 'resume', by });
  }

  async #control(input: SessionInput): Promise<void> {
    this.#journal.assertWritable();
    const { ended } = this.#state;
    if (ended) throw sessionEnded(ended.reason);
    await this.#reconciler.submit(input);
  }

  /** Ends the session for good. Twice changes nothing. */
  async end(reason: EndReason): Promise<void> {
    await this.start();
    this.#journal.assertWritable();
    await this.#reconciler.submit({ type: 'end', reason, ...this.#work.draft() });
  }

  /** Takes no more messages. */
  refuseMessages(): void {
    this.#intake.shut();
    this.#audience.shut();
  }

  /** Parks an open turn so that the next start goes on with it. */
  async drain(): Promise<void> {
    this.refuseMessages();
    await this.#reconciler.drain();
  }

  /**
   * Waits until the turn that answers a message has ended; counts as attached meanwhile. Rejects
   * with the signal's reason, and with `draining` when the server stops first.
   */
  answer(message: MessageAccepted, options: { signal: AbortSignal }): Promise<Answer> {
    return this.#audience.answer(message, options);
  }

  /** Follows the turn that answers a message, for readers of `subscribe`. */
  track(message: MessageAccepted): AnswerTracker {
    return this.#audience.track(message);
  }

  /** Durable records after `after`, oldest first. @throws DuragentError `log_corrupt`. */
  read(after: number, limit: number): Promise<StoredRecord[]> {
    return this.#reconciler.read(after, limit);
  }

  /**
   * Events after `after`, once each and in order, then live ones with the deltas between them,
   * until the signal aborts or the session is closed. A client that reads counts as attached
   * unless `presence` is false. @throws DuragentError when the session can no longer be written.
   */
  subscribe(options: FollowOptions): AsyncGenerator<Frame> {
    return this.#audience.subscribe(options);
  }

  /** Ends everything at once, because nothing may be written any more. */
  abandon(why: DuragentError): void {
    this.#reconciler.abandon(why);
  }

  /** Writes the snapshot, lets go of the log, and ends every reader. */
  close(): Promise<void> {
    return this.#reconciler.close();
  }

  /** All that is decided; the log may still be written. */
  get #state(): SessionState {
    return this.#journal.now.state;
  }
}
