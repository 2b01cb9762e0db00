import { createHash } from 'node:crypto';
import {
  type Answer,
  type ApprovalDecision,
  DuragentError,
  type EndReason,
  type Handling,
  type MessageAccepted,
  type MessageSource,
  type SessionView,
  type StoredEvent,
  type ChatAddress,
  type UserPart,
} from '@duragent/protocol';
import type { Agent } from '../core/agent.ts';
import { decide } from '../core/session/decide.ts';
import { boundChats } from '../core/session/deliveries.ts';
import { type Fold, foldOn } from '../core/session/fold.ts';
import { next } from '../core/session/next.ts';
import { chatOf, findMessage } from '../core/session/receive.ts';
import type { ChatBinding, Draft, SessionInput } from '../core/session/session-input.ts';
import type { Chat, DeadDelivery, OpenDelivery, SessionState } from '../core/session/state.ts';
import { hasTurn, hasWork, type SessionSummary, summarize } from '../core/session/summary.ts';
import type { AgentCatalog } from '../ports/agent-catalog.ts';
import type { Clock } from '../ports/clock.ts';
import type { SessionLog, StoredRecord } from '../ports/session-store.ts';
import type { ToolOutputs } from '../ports/tool-outputs.ts';
import { AnswerTracker } from './answer-tracker.ts';
import { Attendance } from './attendance.ts';
import type { EffectRunner, EffectScope } from './effects.ts';
import { Feed, type Frame } from './feed.ts';
import { followSession } from './follow-session.ts';
import { newId } from './ids.ts';
import {
  answerTooLarge,
  isTooLarge,
  quarantined,
  recordTooLarge,
  refuseMessage,
  sessionEnded,
  stopping,
} from './refusals.ts';
import { rulesFor, type SessionSettings } from './rules.ts';
import { viewOf } from './session-view.ts';
import { ShownChats } from './shown-chats.ts';
import { Snapshots } from './snapshots.ts';
import { WorkInFlight, type WorkScope } from './work-in-flight.ts';

/** What the model is told of the output of a tool that was cut, in bytes. */
const CUT_OUTPUT_BYTES = 16 * 1024;
/** What all sessions of a server share. */
export interface SessionDeps {
  clock: Clock;
  epoch: number;
  agents: AgentCatalog;
  runner: EffectRunner;
  settings: SessionSettings;
  outputs: ToolOutputs;
  /** Told once that a session's end is on disk. */
  onEnded?: (session: string) => void;
  log: Logger;
}

export interface Logger {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

/** A log that was opened and folded. */
export interface OpenedSession extends Fold {
  log: SessionLog;
  /** Seq of the snapshot on disk; 0: none. */
  snapshotSeq: number;
  torn: { bytes: number; savedAs: string } | null;
  /** Called once when the log can no longer be written: close this and open the session anew. */
  onFailure: (error: DuragentError) => void;
}

/**
 * One open session: the only writer of its log. It decides inputs one after another, shows what
 * has become durable, and keeps the work that the state owes in flight.
 */
export class SessionActor {
  readonly session: string;
  readonly #deps: SessionDeps;
  readonly #opened: OpenedSession;
  readonly #log: SessionLog;
  readonly #feed: Feed;
  readonly #work: WorkInFlight;
  readonly #attendance: Attendance;
  readonly #shown: ShownChats;
  readonly #snapshots: Snapshots;
  readonly #closing = new AbortController();
  /** All that is decided; the log may still be written. */
  #now: Fold;
  /** All that is on disk. */
  #durable: Fold;
  #appends: Promise<void> = Promise.resolve();
  /** The agent of the open turn, which keeps it to its end. */
  #agent: Agent | null = null;
  /** The agent as its files are, for the next turn. */
  #nextAgent: Agent | null = null;
  #started: Promise<void> | null = null;
  #isDraining = false;
  /** Those who follow it, attached or not. */
  #readers = 0;
  /** The model call in progress: what it saw, and who was asked. */
  #call: Parameters<EffectScope['calling']>[0] | null = null;
  #failure: DuragentError | null = null;
  /** Chats that can be reached, as the attendance knows them. */
  #chatsPresent = 0;
  #usedAt: number;

  constructor(deps: SessionDeps, opened: OpenedSession) {
    this.#deps = deps;
    this.#opened = opened;
    this.#log = opened.log;
    this.session = opened.log.session;
    this.#now = { state: opened.state, window: opened.window };
    this.#durable = this.#now;
    this.#snapshots = new Snapshots(opened.log, opened.snapshotSeq, deps);
    this.#usedAt = deps.clock.monotonic();
    const { seq } = opened.state;
    this.#feed = new Feed({ capacity: deps.settings.outputBufferSize, lastSeq: seq });
    this.#attendance = new Attendance(deps.clock, () => this.#inBackground({ type: 'detach' }));
    this.#shown = new ShownChats(this.session, deps.runner.chats);
    this.#work = new WorkInFlight(deps.runner, {
      before: () => this.#readAgent(this.#now.state.agent),
      input: (input) => (input ? this.#inBackground(input) : this.#reconcile()),
      error: (effect, error) =>
        deps.log.error({ session: this.session, effect: effect.key, err: error }, 'effect failed'),
    });
  }

  /** The agent it is with. */
  get agent(): string {
    return this.#now.state.agent;
  }

  /** The last durable seq. */
  get lastSeq(): number {
    return this.#feed.lastSeq;
  }

  /** Whether its turn goes on, or would once it is started. */
  get hasWork(): boolean {
    return !this.#log.quarantine && hasWork(this.#now.state);
  }

  /** Whether a turn works, or a part is being sent: what a stopping server waits for. */
  get isBusy(): boolean {
    return !this.#log.quarantine && (this.#work.isBusy || hasTurn(this.#now.state));
  }

  /** Whether a turn would go on once it is started; deliveries do not count. */
  get hasTurn(): boolean {
    return !this.#log.quarantine && hasTurn(this.#now.state);
  }

  /** Whether it takes nothing any more: it has ended, or its log is damaged. */
  get isOver(): boolean {
    return this.#log.quarantine !== null || this.#durable.state.ended !== null;
  }

  /** The chats that are bound to it. */
  get chats(): readonly Chat[] {
    return boundChats(this.#now.state);
  }

  /** What people set in it. */
  get settings(): SessionState['settings'] {
    return this.#now.state.settings;
  }

  /** What it owes to chats, and what died and may be tried again. */
  get outbox(): {
    owed: readonly OpenDelivery[];
    dead: readonly DeadDelivery[];
    /** What died before that, as far as it is in the log only; null: nothing. */
    older: SessionState['olderDead'];
    chats: readonly Chat[];
  } {
    const { deliveries, dead, olderDead: older, chats } = this.#durable.state;
    return { owed: deliveries, dead, older, chats };
  }

  /** Clients attached now. */
  get clients(): number {
    return this.#attendance.clients;
  }

  /** For how many ms nothing has used it; 0 while something does. */
  get idleMs(): number {
    const isWritten = this.#now.state.seq === this.#durable.state.seq;
    if (this.#readers > 0 || this.#work.size > 0 || !isWritten) return 0;
    return this.#deps.clock.monotonic() - this.#usedAt;
  }

  /** Keeps it open for a while. */
  touch(): void {
    this.#usedAt = this.#deps.clock.monotonic();
  }

  /** The session as the API shows it. */
  view(): SessionView {
    return viewOf(this.summary(), {
      clients: this.clients,
      isWorking: this.#durable.state.turn !== null,
      isQueued: this.#work.isQueued,
      quarantine: this.#log.quarantine,
    });
  }

  summary(): SessionSummary {
    // Of a log that is damaged from its first byte on, only the name is known.
    return { ...summarize(this.#durable.state), session: this.session };
  }

  /** Records the first event of a new session. */
  async begin(input: Extract<SessionInput, { type: 'start' }>): Promise<void> {
    this.#started = Promise.resolve();
    await this.#readAgent(input.agent);
    await this.#submit(input);
  }

  /** Recovers what an earlier server had in flight, then begins the work that is owed. Once. */
  start(): Promise<void> {
    this.#started ??= this.#recover();
    return this.#started;
  }

  async #recover(): Promise<void> {
    if (this.#log.quarantine || this.#now.state.seq === 0) return;
    const openedSeq = this.#now.state.seq;
    await this.#readAgent(this.#now.state.agent);
    const { torn } = this.#opened;
    const outputs = await this.#cutOutputs();
    const cut = this.#nextAgent && (await this.#deps.runner.chargeCut(this.#now, this.#nextAgent));
    await this.#submit({
      type: 'recover',
      openedSeq,
      outputs,
      ...(torn ? { torn } : {}),
      ...(cut ? { cut } : {}),
    });
  }

  /** What the tools that ran when the log was last left had said. */
  async #cutOutputs(): Promise<Record<string, string>> {
    const outputs: Record<string, string> = {};
    for (const { call, status } of this.#now.state.turn?.calls ?? []) {
      if (status !== 'started') continue;
      outputs[call] = await this.#deps.outputs.tail(this.session, call, CUT_OUTPUT_BYTES);
    }
    return outputs;
  }

  /**
   * Takes a message. Durable when it resolves; one whose key is known answers what the first did.
   * @throws DuragentError session_ended, queue_full, session_quarantined, draining,
   *   record_too_large, storage_full, storage_failed.
   */
  async receive(message: {
    content: UserPart[];
    handling: Handling;
    source: MessageSource;
    idempotencyKey?: string | undefined;
    /** Chats that get the answer beside those of the session. */
    deliverTo?: ChatAddress[];
  }): Promise<MessageAccepted> {
    await this.start();
    await this.#readAgent(this.#now.state.agent);
    const key = message.idempotencyKey ? { idempotency: hashKey(message.idempotencyKey) } : {};
    const known = findMessage(this.#now.state, key.idempotency);
    if (known) {
      await this.#appends;
      const { seq, message_id, turn = null } = known;
      return { seq, message_id, turn };
    }
    this.#assertWritable();
    const refusal = this.#isDraining ? stopping() : refuseMessage(this.#now.state, message);
    if (refusal) throw refusal;
    const { content, handling } = message;
    const isLeft = this.#now.state.turn?.paused === 'disconnected';
    if (handling === 'turn' && isLeft) this.#attendance.heard();
    const accepted = { seq: this.#now.state.seq + 1, message_id: newId('msg') };
    const source = { ...message.source, ...key };
    const { message_id } = accepted;
    const input = {
      type: 'receive' as const,
      message_id,
      content,
      handling,
      source,
      ...(message.deliverTo ? { deliver_to: message.deliverTo } : {}),
    };
    const done = this.#submit({ ...input, ...this.#draft() });
    const turn = handling === 'turn' ? this.#turnOf(message_id) : null;
    await done;
    return { ...accepted, turn };
  }

  /**
   * Takes a message of a chat: in the log once, by its number in the inbox. Durable when it
   * resolves. @returns false where the chat is not bound here (any more): it has another session.
   * @throws as `receive`, but never queue_full.
   */
  async receiveFromChat(message: {
    content: UserPart[];
    handling: Handling;
    source: MessageSource & { chat: ChatAddress; inbox: { n: number } };
    edits?: string | undefined;
  }): Promise<boolean> {
    await this.start();
    await this.#readAgent(this.#now.state.agent);
    this.#assertWritable();
    if (this.#isDraining) throw stopping();
    const chat = chatOf(this.#now.state, message.source.chat);
    if (!chat || this.#now.state.ended) return false;
    const { edits, ...fields } = message;
    const message_id = newId('msg');
    const refusal = refuseMessage(this.#now.state, { ...message, handling: 'silent' });
    if (refusal) throw refusal;
    if (message.handling === 'turn') this.#attendance.heard();
    await this.#submit({
      type: 'receive',
      message_id,
      ...fields,
      ...(edits === undefined ? {} : { edits }),
      ...this.#draft(),
    });
    return true;
  }

  /** Binds a chat, or remembers its newest inbox number. @returns false where too many are bound already. */
  async bind(chat: ChatBinding): Promise<boolean> {
    await this.start();
    this.#assertWritable();
    await this.#submit({ type: 'bind', chat });
    return chatOf(this.#now.state, chat) !== undefined;
  }

  /** Tells people something, in these chats or those of the session. Once for each `idempotency`. */
  async notify(what: {
    text: string;
    idempotency: string;
    chats: ChatAddress[] | null;
  }): Promise<void> {
    await this.start();
    this.#assertWritable();
    const { ended } = this.#now.state;
    if (ended) throw sessionEnded(ended.reason);
    await this.#submit({ type: 'notify', ...what });
  }

  /** Lets go of a chat. What is owed to it stays owed. */
  async unbind(chat: ChatAddress, by: string): Promise<void> {
    await this.start();
    await this.#submit({ type: 'unbind', chat, by });
  }

  /** Changes a setting of this session; null: as the agent says again. */
  async set(name: 'queue' | 'activation', value: string | null, by: string): Promise<void> {
    await this.start();
    this.#assertWritable();
    await this.#submit({ type: 'set', name, value, by });
  }

  /** A preview of one of its answers is on a platform. */
  previewPosted(out: string, message: string): Promise<void> {
    return this.#submit({ type: 'preview_posted', out, message });
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
    const calls = this.#now.state.turn?.calls ?? [];
    return calls.flatMap(({ status, approval, question, seq }) => {
      const id = approval?.approval ?? question?.question;
      return status === 'asked' && id !== undefined ? [{ id, seq }] : [];
    });
  }

  /** What people say to an approval. @returns whether it counts: it was open, and offered so. */
  async decideApproval(approval: string, decision: ApprovalDecision, by: string): Promise<boolean> {
    // What it allows would be ended before it is done.
    if (this.#isDraining) throw stopping();
    return this.#decide({ type: 'decide_approval', approval, decision, by });
  }

  /** What people answer to a question. @returns whether it counts: it was open. */
  async answerQuestion(question: string, answer: string, by: string): Promise<boolean> {
    return this.#decide({ type: 'answer_question', question, answer, by });
  }

  async #decide(input: SessionInput): Promise<boolean> {
    await this.start();
    this.#assertWritable();
    const { seq } = this.#now.state;
    const done = this.#submit(input);
    // At once: while it is written, others decide too.
    const isDecided = this.#now.state.seq > seq;
    await done;
    return isDecided;
  }

  /** The chats' gateways have come or gone. */
  presenceChanged(): void {
    const { turn } = this.#now.state;
    const present = this.#shown.present(this.#now.state);
    if (present === this.#chatsPresent) return;
    const came = present > this.#chatsPresent;
    this.#chatsPresent = present;
    this.#attendance.setChats(present, turn?.turn ?? null);
    this.#feed.clients = this.clients;
    if (came && turn?.paused === 'disconnected') this.#inBackground({ type: 'attach' });
  }

  /** Stops the open turn; what was shown of its answer is kept. `turn` null: there was none. */
  async cancel(): Promise<{ turn: string | null }> {
    await this.start();
    this.#assertWritable();
    const turn = this.#now.state.turn?.turn ?? null;
    if (turn) await this.#submit({ type: 'cancel', ...this.#draft() });
    return { turn };
  }

  /** Ends the session for good. Twice changes nothing. */
  async end(reason: EndReason): Promise<void> {
    await this.start();
    this.#assertWritable();
    await this.#submit({ type: 'end', reason, ...this.#draft() });
  }

  /** Takes no more messages. */
  refuseMessages(): void {
    this.#isDraining = true;
  }

  /** Parks an open turn so that the next start goes on with it. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    if (this.#started && !this.#failure) await this.#submit({ type: 'drain' });
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
    throw this.#failure ?? stopping();
  }

  /** Follows the turn that answers a message, for readers of `subscribe`. */
  track(message: MessageAccepted): AnswerTracker {
    const { turn, settings } = this.#now.state;
    const mode = turn?.queue ?? settings.queue ?? this.#nextAgent?.access.queue.mode;
    return new AnswerTracker(message, mode ?? 'steer');
  }

  /** Durable records after `after`, oldest first. @throws DuragentError `log_corrupt`. */
  read(after: number, limit: number): Promise<StoredRecord[]> {
    this.touch();
    return this.#log.read(after, limit);
  }

  /**
   * Events after `after`, once each and in order, then live ones with the deltas between them,
   * until the signal aborts or the session is closed. A client that reads counts as attached
   * unless `presence` is false. @throws DuragentError when the session can no longer be written.
   */
  async *subscribe(options: {
    after: number;
    signal: AbortSignal;
    presence?: boolean;
  }): AsyncGenerator<Frame> {
    const isPresent = options.presence !== false;
    this.#readers += 1;
    if (isPresent) this.#enter();
    try {
      await this.start();
      const signals = [options.signal, this.#closing.signal];
      yield* followSession(this.#feed, this.#log, { after: options.after, signals });
      if (this.#failure && !options.signal.aborted) throw this.#failure;
    } finally {
      this.#readers -= 1;
      if (isPresent) this.#leave();
    }
  }

  /** Ends everything at once, because nothing may be written any more. */
  abandon(why: DuragentError): void {
    this.#failure ??= why;
    this.#work.abortAll();
    this.#attendance.close();
    this.#shown.close();
    this.#closing.abort();
  }

  /** Writes the snapshot, lets go of the log, and ends every reader. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#attendance.close();
    this.#shown.close();
    this.#work.abortAll();
    await Promise.allSettled([this.#appends, this.#snapshots.settled()]);
    if (!this.#failure && !this.#log.quarantine) await this.#snapshots.finish(this.#durable);
    await this.#log.close(this.summary());
  }

  #enter(): void {
    this.#attendance.enter();
    this.#feed.clients = this.clients;
    if (this.#now.state.turn?.paused === 'disconnected') this.#inBackground({ type: 'attach' });
  }

  #leave(): void {
    this.touch();
    if (this.#closing.signal.aborted) return;
    this.#attendance.leave(this.#now.state.turn?.turn ?? null);
    this.#feed.clients = this.clients;
  }

  #assertWritable(): void {
    if (this.#failure) throw this.#failure;
    if (this.#log.quarantine) throw quarantined(this.#log.quarantine);
  }

  /** The turn that will answer a message, where that is known already. */
  #turnOf(messageId: string): string | null {
    const { turn, pending } = this.#now.state;
    if (!turn) return null;
    if (turn.trigger.includes(messageId)) return turn.turn;
    const isWaiting = pending.some((message) => message.message_id === messageId);
    return (isWaiting && turn.queue === 'steer') || this.#isAnswer(messageId) ? turn.turn : null;
  }

  /** Whether a message that has just come answered a question. */
  #isAnswer(messageId: string): boolean {
    const last = this.#now.window.events.findLast((event) => event.type !== 'tool_finished');
    return last?.type === 'question_answered' && last.message_id === messageId;
  }

  /** Submits an input that nobody waits for; `onFailure` is told when it cannot be written. */
  #inBackground(input: SessionInput): void {
    if (!this.#failure && this.#started) this.#submit(input).catch(() => undefined);
  }

  /**
   * Decides one input. The state moves at once; what it caused is shown, and further work begun,
   * when it is on disk: it resolves then. Rejects with `#failure`.
   */
  #submit(input: SessionInput): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#closing.signal.aborted) return Promise.reject(stopping());
    this.touch();
    const { state } = this.#now;
    const rules = this.#rules();
    let events = decide(state, input, rules);
    if (events.some(isTooLarge)) {
      if (input.type !== 'model_finished') return Promise.reject(recordTooLarge());
      events = decide(state, answerTooLarge(input), rules);
    }
    if (events.length > 0) {
      if (events.some((event) => event.type === 'turn_started')) this.#agent = this.#nextAgent;
      const after = foldOn(this.#now, events);
      this.#now = after;
      this.#appends = this.#log.append(events, state.seq).then(
        (records) => this.#becomeDurable(records, after),
        (error: unknown) => this.#fail(error),
      );
      this.#appends.catch(() => undefined); // a rejection that every caller gets a copy of
    }
    this.#reconcile();
    return this.#appends;
  }

  #becomeDurable(records: StoredRecord[], after: Fold): void {
    const hasEnded = after.state.ended !== null && this.#durable.state.ended === null;
    this.#durable = after;
    this.#feed.publish(records);
    this.#snapshots.durable(after.state, () => this.#durable);
    if (hasEnded) this.#deps.onEnded?.(this.session);
    this.#reconcile();
  }

  #fail(error: unknown): never {
    if (this.#failure) throw this.#failure;
    this.#failure =
      error instanceof DuragentError
        ? error
        : new DuragentError('storage_failed', 'The session cannot be written.', { cause: error });
    this.#work.abortAll();
    this.#closing.abort();
    this.#opened.onFailure(this.#failure);
    throw this.#failure;
  }

  #reconcile(): void {
    if (this.#failure || this.#closing.signal.aborted || !this.#started) return;
    const isDurable = (key: string): boolean =>
      next(this.#durable.state).some((effect) => effect.key === key);
    this.#work.reconcile(next(this.#now.state), isDurable, () => this.#scope());
    this.#shown.turn(this.#durable.state);
    this.presenceChanged();
  }

  /** What an effect that begins now may see and show. */
  #scope(): WorkScope {
    return {
      agent: this.#agent,
      agentName: this.#now.state.agent,
      current: () => this.#now,
      durable: () => this.#appends,
      calling: (call) => {
        this.#call = call;
      },
      show: (delta) => {
        this.#feed.addDelta(delta);
        if (delta.type !== 'token') return;
        this.#shown.reply(this.#now.state, (...of) => this.#feed.text(...of));
      },
      event: (seq) => this.#event(seq),
      submit: (input) => this.#submit(input),
    };
  }

  async #event(seq: number): Promise<StoredEvent | undefined> {
    // What speaks may be read before it is durable: nothing is sent before it is.
    const decided = this.#now.window.events.findLast((event) => event.seq <= seq);
    if (decided?.seq === seq) return decided;
    await this.#appends;
    const recent = this.#feed.recordAt(seq);
    if (recent) return recent.event;
    const [record] = await this.#log.read(seq - 1, 1);
    return record?.event;
  }

  /** What readers have seen of the answer in progress. */
  #draft(): { draft?: Draft } {
    const { turn } = this.#now.state;
    if (turn?.phase !== 'model') return {};
    const { step, attempt } = turn;
    const text = this.#feed.text(turn.turn, step, attempt);
    if (!this.#call || text === '') return {};
    return {
      draft: {
        turn: turn.turn,
        step,
        attempt,
        message_id: newId('msg'),
        input_seq: this.#call.inputSeq,
        text,
        model: this.#call.model,
        ...(this.#call.reserved ? { usage: this.#call.reserved } : {}),
      },
    };
  }

  /** Takes the agent as its files are now; one that is gone stays as it was last seen. */
  async #readAgent(name: string): Promise<void> {
    this.#nextAgent = (await this.#deps.agents.get(name)) ?? this.#nextAgent;
    if (!this.#now.state.turn || !this.#agent) this.#agent = this.#nextAgent;
  }

  #rules() {
    const { clock, epoch, settings, runner } = this.#deps;
    return rulesFor({
      now: clock.now(),
      epoch,
      agent: this.#nextAgent,
      settings,
      window: this.#now.window,
      trigger: this.#now.state.turn?.trigger ?? [],
      leftTurn: this.#attendance.leftTurn,
      limits: (gateway) => runner.chats.limits(gateway),
    });
  }
}

/** The first 16 hex digits of a key's SHA-256: enough to know it again, and not the key. */
export function hashKey(key: string): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 16);
}
