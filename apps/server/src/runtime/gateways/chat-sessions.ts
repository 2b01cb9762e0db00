import { createHash } from 'node:crypto';
import { type ChatAddress, DuragentError, type EndReason } from '@duragent/protocol';
import { addressOf, isSameChat } from '../../core/session/chat-key.ts';
import type { SessionActor } from '../session-actor.ts';
import type { SessionRegistry } from '../session-registry.ts';
import type { SessionSummary } from '../../core/session/summary.ts';
import { type ChatBindings, type ChatPlace, keyOf } from './bindings.ts';

/** Who binds a chat, where no person asked for it. */
const BY_SERVER = 'server';
/** Sessions of one arrival that may have ended before it was said in them. */
const MAX_AGAIN = 3;

/** Finds and makes the sessions of chats. All for one chat come one after another. */
export class ChatSessions {
  readonly #sessions: SessionRegistry;
  readonly #bindings: ChatBindings;

  constructor(sessions: SessionRegistry, bindings: ChatBindings) {
    this.#sessions = sessions;
    this.#bindings = bindings;
  }

  /** The open session that a chat drives now; null: none that can be spoken to. */
  async current(place: ChatPlace): Promise<SessionActor | null> {
    const session = this.#bindings.get(place);
    if (session === null) return null;
    const actor = await this.#openIfAlive(session);
    const isBound = actor?.chats.some((chat) => isSameChat(chat, place)) ?? false;
    if (actor && isBound) return actor;
    this.#bindings.drop(place, session);
    return null;
  }

  /**
   * The session that an arrival with the inbox number `n` is for: the chat's own, or the one it was
   * attached to; made where there is none, or where the chat now has another agent.
   */
  async forArrival(place: ChatPlace, agent: string, n: number): Promise<SessionActor> {
    const current = await this.current(place);
    if (current && (current.agent === agent || this.isAttached(current, place))) return current;
    return this.fresh(place, agent, n);
  }

  /**
   * A new session for a chat, from the arrival `n` on; asked for again, the one that was made then.
   * The one before is let go of, or ended where `end` says why.
   */
  async fresh(
    place: ChatPlace,
    agent: string,
    n: number,
    end: EndReason | null = null,
  ): Promise<SessionActor> {
    const chat = { ...place, inbox: n - 1, by: BY_SERVER };
    const peer = place.peer === undefined ? {} : { peer: place.peer };
    const hadOne = this.#bindings.get(place) !== null || this.ownOf(place, agent, '') !== null;
    for (let again = 0; ; again += 1) {
      const actor = await this.#sessions.create({
        agent,
        origin: {
          kind: 'gateway',
          chat: { ...addressOf(place), ...peer },
          ...(hadOne ? {} : { first: true }),
        },
        idempotencyKey: `chat ${keyOf(place)} ${n}${again > 0 ? ` ${again}` : ''}`,
        chat,
      });
      this.#bindings.made(place, actor.session);
      this.#bindings.hold(place, actor.session);
      // The same request may have made it before a crash, and not bound it; or it has ended since.
      if (!(await actor.bind(chat)) && again < MAX_AGAIN) continue;
      await this.#leaveOthers(place, actor, end);
      return actor;
    }
  }

  /** Lets a chat show and drive a session. @throws DuragentError session_not_found, session_ended, conflict. */
  async attach(place: ChatPlace, session: string, n: number, by: string): Promise<SessionActor> {
    const actor = await this.#sessions.open(session);
    this.#bindings.hold(place, session);
    if (!(await actor.bind({ ...place, inbox: n, by }))) {
      throw new DuragentError(
        'conflict',
        'That session has ended, or is shown in as many chats as one may be; /detach one of them.',
      );
    }
    await this.#leaveOthers(place, actor, null);
    return actor;
  }

  /** The newest session with an agent that was made for a chat and has not ended, other than `except`. */
  ownOf(place: ChatPlace, agent: string, except: string): string | null {
    const own = this.#bindings.madeFor(place).find((session) => {
      if (session === except) return false;
      const summary = this.#summaryOf(session);
      const isAlive = summary !== null && summary.ended_at === undefined;
      return isAlive && summary.agent === agent && isMadeFor(summary, place);
    });
    return own ?? null;
  }

  /** Whether a person attached a chat to a session that was not made for it. */
  isAttached(actor: SessionActor, place: ChatPlace): boolean {
    return !isMadeFor(actor.summary(), place);
  }

  /** Lets go of chats that a crash left bound to two sessions. */
  async unbindAll(bound: readonly { session: string; chat: ChatPlace }[]): Promise<void> {
    for (const { session, chat } of bound) {
      if (this.#bindings.get(chat) === session) continue;
      const actor = await this.#openIfAlive(session);
      await actor?.unbind(chat, BY_SERVER);
    }
  }

  /** A chat goes on under another id. */
  async migrate(from: ChatAddress, chatId: string): Promise<void> {
    // Whoever tells of a thousand chats that nobody knows keeps nobody waiting.
    if (this.#bindings.typeOf(from) === null) return;
    for (const summary of this.#sessions.summaries()) {
      for (const chat of summary.chats) {
        if (!chat.bound) continue;
        if (!isSameChat({ ...chat, thread_id: undefined }, from)) continue;
        const actor = await this.#openIfAlive(summary.session);
        if (!actor) continue;
        const place = { ...placeOfChat(chat), chat_id: chatId };
        // What comes under the new id has numbers of its own that are higher than any before.
        this.#bindings.hold(place, summary.session);
        await actor.move(chat, { ...place, inbox: chat.inbox, by: BY_SERVER });
        this.#bindings.set(place, summary.session);
        this.#bindings.drop(placeOfChat(chat), summary.session);
        this.#bindings.release(placeOfChat(chat), summary.session);
      }
    }
  }

  /** Every other session that has the chat lets go of it, or ends; only then the chat has moved. */
  async #leaveOthers(place: ChatPlace, to: SessionActor, end: EndReason | null): Promise<void> {
    const key = keyOf(place);
    for (const session of this.#bindings.holders(place)) {
      if (session === to.session) continue;
      const actor = await this.#openIfAlive(session);
      if (actor?.chats.some((chat) => keyOf(chat) === key)) {
        if (end) await actor.end(end);
        else await actor.unbind(place, BY_SERVER);
      }
      this.#bindings.release(place, session);
    }
    this.#bindings.set(place, to.session);
  }

  #summaryOf(session: string): SessionSummary | null {
    try {
      return this.#sessions.summary(session);
    } catch (error) {
      if (error instanceof DuragentError && isGone(error)) return null;
      throw error;
    }
  }

  async #openIfAlive(session: string): Promise<SessionActor | null> {
    try {
      const actor = await this.#sessions.open(session);
      return actor.isOver ? null : actor;
    } catch (error) {
      if (error instanceof DuragentError && isGone(error)) return null;
      throw error;
    }
  }
}

/** Whether a session was made for this chat and its person. */
function isMadeFor({ origin }: SessionSummary, place: ChatPlace): boolean {
  const { chat } = origin;
  return chat !== undefined && keyOf({ ...chat, chat_type: place.chat_type }) === keyOf(place);
}

function isGone({ code }: DuragentError): boolean {
  return code === 'session_not_found' || code === 'log_newer' || code === 'log_corrupt';
}

function placeOfChat(chat: ChatPlace): ChatPlace {
  return {
    ...addressOf(chat),
    chat_type: chat.chat_type,
    ...(chat.peer === undefined ? {} : { peer: chat.peer }),
  };
}

/** The id of a file that an arrival brought: the same however often it is handed over. */
export function artifactIdOf(account: string, n: number, index: number): string {
  const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
  const hash = createHash('sha256').update(`${account}\n${n}\n${index}`).digest();
  const letters = Array.from(hash.subarray(0, 26), (byte) => alphabet[byte & 31]);
  return `art_${letters.join('')}`;
}
