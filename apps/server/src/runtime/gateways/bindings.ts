import type { ChatAddress, ChatType } from '@duragent/protocol';
import { addressOf, chatKey } from '../../core/session/chat-key.ts';
import type { SessionSummary } from '../../core/session/summary.ts';

/** A chat as somebody speaks in it: in direct chats with who that is, as no two people share a session. */
export interface ChatPlace extends ChatAddress {
  chat_type: ChatType;
  /** The person of a direct chat. */
  peer?: string;
}

/** Which session each chat shows and drives, and which others it has to do with. */
export class ChatBindings {
  readonly #sessions = new Map<string, string>();
  /** Sessions that a chat is bound to, or may be where binding was cut short. */
  readonly #holders = new Map<string, Set<string>>();
  /** Sessions that were made for a chat or thread, whoever its person is. */
  readonly #made = new Map<string, Set<string>>();
  readonly #types = new Map<string, ChatType>();
  readonly #heard = new Map<string, number>();

  /**
   * Takes what the sessions say of themselves. Of two that have one chat, the one that heard it last
   * counts. @returns the others, which a crash left bound.
   */
  learn(summaries: Iterable<SessionSummary>): { session: string; chat: ChatPlace }[] {
    const losers: { session: string; chat: ChatPlace }[] = [];
    const best = new Map<string, { session: string; chat: SessionSummary['chats'][number] }>();
    for (const { session, chats, origin } of summaries) {
      if (origin.chat) this.made(origin.chat, session);
      for (const chat of chats) {
        this.heard(chat, chat.inbox);
        if (!chat.bound) continue;
        this.hold(chat, session);
        const before = best.get(keyOf(chat));
        const isNewer =
          !before ||
          chat.inbox > before.chat.inbox ||
          (chat.inbox === before.chat.inbox && session > before.session);
        if (before) losers.push(isNewer ? before : { session, chat });
        if (isNewer) best.set(keyOf(chat), { session, chat });
      }
    }
    for (const { session, chat } of best.values()) this.set(chat, session);
    return losers;
  }

  /** Remembers that a chat was heard up to this number of its inbox. */
  heard(place: ChatPlace, n: number): void {
    const key = keyOf(place);
    this.#heard.set(key, Math.max(n, this.#heard.get(key) ?? 0));
  }

  /** The highest number that a chat was heard with; 0: none that is known. */
  heardOf(place: ChatPlace): number {
    return this.#heard.get(keyOf(place)) ?? 0;
  }

  get(place: ChatPlace): string | null {
    return this.#sessions.get(keyOf(place)) ?? null;
  }

  /** The session of a chat or thread, whoever its person is. */
  find(address: ChatAddress): string | null {
    const key = chatKey(address);
    for (const [placeKey, session] of this.#sessions) {
      if (placeKey.startsWith(`${key}|`)) return session;
    }
    return null;
  }

  set(place: ChatPlace, session: string): void {
    this.#sessions.set(keyOf(place), session);
    this.#types.set(chatKey({ ...place, thread_id: undefined }), place.chat_type);
  }

  /** Forgets a chat, if it is still this session's. */
  drop(place: ChatPlace, session: string): void {
    if (this.get(place) === session) this.#sessions.delete(keyOf(place));
  }

  /** A session is about to be bound to a chat. */
  hold(place: ChatPlace, session: string): void {
    add(this.#holders, keyOf(place), session);
  }

  /** Sessions that may have a chat; one that was let go of is no longer among them. */
  holders(place: ChatPlace): string[] {
    return [...(this.#holders.get(keyOf(place)) ?? [])];
  }

  /** A session no longer has a chat. */
  release(place: ChatPlace, session: string): void {
    remove(this.#holders, keyOf(place), session);
  }

  /** A session was made for a chat. */
  made(address: ChatAddress, session: string): void {
    add(this.#made, chatKey(addressOf(address)), session);
  }

  /** Sessions that were made for a chat or thread, also those that have ended or were deleted; newest first. */
  madeFor(address: ChatAddress): string[] {
    return [...(this.#made.get(chatKey(addressOf(address))) ?? [])].sort().reverse();
  }

  /** What kind of chat it is, where anybody has spoken in it; for presses that do not say. */
  typeOf(address: ChatAddress): ChatType | null {
    return this.#types.get(chatKey({ ...address, thread_id: undefined })) ?? null;
  }
}

function add(index: Map<string, Set<string>>, key: string, session: string): void {
  const sessions = index.get(key) ?? new Set();
  index.set(key, sessions.add(session));
}

function remove(index: Map<string, Set<string>>, key: string, session: string): void {
  const sessions = index.get(key);
  sessions?.delete(session);
  if (sessions?.size === 0) index.delete(key);
}

/** One word for a chat and who speaks in it. */
export function keyOf(place: ChatPlace): string {
  const peer = place.chat_type === 'dm' ? (place.peer ?? '') : '';
  return `${chatKey(addressOf(place))}|${peer}`;
}
