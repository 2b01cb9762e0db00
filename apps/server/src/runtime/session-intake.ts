import type {
  ChatAddress,
  Handling,
  MessageAccepted,
  MessageSource,
  UserPart,
} from '@duragent/protocol';
import { chatOf, findMessage } from '../core/session/receive.ts';
import { waitsForSomebody } from '../core/session/turns.ts';
import type { Clock } from '../ports/clock.ts';
import { hashKey } from './hash-key.ts';
import { newId } from './ids.ts';
import { OlderKeys } from './older-keys.ts';
import { refuseMessage, stopping } from './refusals.ts';
import type { SessionReconciler } from './session-reconciler.ts';

/** What a client or the server itself says to a session. */
export interface ClientMessage {
  content: UserPart[];
  handling: Handling;
  source: MessageSource;
  idempotencyKey?: string | undefined;
  /** Chats that get the answer beside those of the session. */
  deliverTo?: ChatAddress[];
}

/** What is said in a chat that is bound to a session. */
export interface ChatMessage {
  content: UserPart[];
  handling: Handling;
  source: MessageSource & { chat: ChatAddress; inbox: { n: number } };
  edits?: string | undefined;
}

/** Where messages come into one session: each is refused, or is in the log once. */
export class SessionIntake {
  readonly #session: SessionReconciler;
  readonly #olderKeys: OlderKeys;
  #isShut = false;

  constructor(session: SessionReconciler, clock: Clock) {
    this.#session = session;
    this.#olderKeys = new OlderKeys(session, clock);
  }

  /** Whether it takes no more messages. */
  get isShut(): boolean {
    return this.#isShut;
  }

  /** Takes no more messages. */
  shut(): void {
    this.#isShut = true;
  }

  /**
   * Takes a message. Durable when it resolves; one whose key is known answers what the first did.
   * @throws DuragentError session_ended, queue_full, session_quarantined, draining,
   *   record_too_large, storage_full, storage_failed.
   */
  async receive(message: ClientMessage): Promise<MessageAccepted> {
    const session = this.#session;
    const { journal } = session;
    await session.start();
    await session.agent.read();
    const idempotency = message.idempotencyKey ? hashKey(message.idempotencyKey) : undefined;
    if (idempotency !== undefined) await this.#readOlderKeys();
    // From here on to what is submitted nothing else is decided.
    const known = findMessage(journal.now.state, idempotency);
    if (known) {
      await journal.written();
      const { seq, message_id, turn = null } = known;
      return { seq, message_id, turn };
    }
    const older = this.#olderKeys.find(idempotency);
    if (older) {
      await journal.written();
      const { seq, message_id } = older;
      return { seq, message_id, turn: await this.#olderKeys.turnOf(older) };
    }
    journal.assertWritable();
    const refusal = this.#isShut ? stopping() : refuseMessage(journal.now.state, message);
    if (refusal) throw refusal;
    const { content, handling } = message;
    if (handling === 'turn' && waitsForSomebody(journal.now.state)) session.audience.heard();
    const accepted = { seq: journal.now.state.seq + 1, message_id: newId('msg') };
    const { message_id } = accepted;
    const done = session.submit({
      type: 'receive',
      message_id,
      content,
      handling,
      source: { ...message.source, ...(idempotency === undefined ? {} : { idempotency }) },
      ...(message.deliverTo ? { deliver_to: message.deliverTo } : {}),
      ...session.view.draft(),
    });
    if (findMessage(journal.now.state, idempotency)) this.#olderKeys.add(idempotency, accepted);
    const turn = handling === 'turn' ? this.#turnOf(message_id) : null;
    await done;
    return { ...accepted, turn };
  }

  /**
   * Takes a message of a chat: in the log once, by its number in the inbox. Durable when it
   * resolves. @returns false where the chat is not bound here (any more): it has another session.
   * @throws as `receive`, but never queue_full.
   */
  async receiveFromChat(message: ChatMessage): Promise<boolean> {
    const session = this.#session;
    const { journal } = session;
    await session.start();
    await session.agent.read();
    journal.assertWritable();
    if (this.#isShut) throw stopping();
    const chat = chatOf(journal.now.state, message.source.chat);
    if (!chat || journal.now.state.ended) return false;
    const { edits, ...fields } = message;
    const message_id = newId('msg');
    const refusal = refuseMessage(journal.now.state, { ...message, handling: 'silent' });
    if (refusal) throw refusal;
    if (message.handling === 'turn') session.audience.heard();
    await session.submit({
      type: 'receive',
      message_id,
      ...fields,
      ...(edits === undefined ? {} : { edits }),
      ...session.view.draft(),
    });
    return true;
  }

  /** Lets `#olderKeys` find what the state may have forgotten; not where nothing is taken any more. */
  async #readOlderKeys(): Promise<void> {
    const { journal } = this.#session;
    if (journal.quarantine || this.#isShut) return;
    await this.#olderKeys.readFor(journal.now.state, () => journal.written());
  }

  /** The turn that will answer a message, where that is known already. */
  #turnOf(messageId: string): string | null {
    const { turn, pending } = this.#session.journal.now.state;
    if (!turn) return null;
    if (turn.trigger.includes(messageId)) return turn.turn;
    const isWaiting = pending.some((message) => message.message_id === messageId);
    return (isWaiting && turn.queue === 'steer') || this.#isAnswer(messageId) ? turn.turn : null;
  }

  /** Whether a message that has just come answered a question. */
  #isAnswer(messageId: string): boolean {
    const { events } = this.#session.journal.now.window;
    const last = events.findLast((event) => event.type !== 'tool_finished');
    return last?.type === 'question_answered' && last.message_id === messageId;
  }
}
