import type { ChatAddress, ChatType } from '@duragent/protocol';
import { addressOf, chatKey } from '../../core/session/chat-key.ts';
import type { SessionSummary } from '../../core/session/summary.ts';

/** A chat as somebody speaks in it: in direct chats with who that is, as no two people share a session. */
export interface ChatPlace extends ChatAddress {
  chat_type: ChatType;
  /** The person of a direct chat. */
  peer?: string;
}

/** Which session each chat shows and drives. */
export class ChatBindings {
  readonly #sessions = new Map<string, string>();
  readonly #types = new Map<string, ChatType>();

  /** Takes what the sessions say of themselves; of two that have one chat, the newer binding counts. */
  learn(summaries: Iterable<SessionSummary>): void {
    const oldestFirst = [...summaries].sort((a, b) => (a.updated_at < b.updated_at ? -1 : 1));
    for (const { session, chats } of oldestFirst) {
      for (const chat of chats) this.set(chat, session);
    }
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

  /** What kind of chat it is, where anybody has spoken in it; for presses that do not say. */
  typeOf(address: ChatAddress): ChatType | null {
    return this.#types.get(chatKey({ ...address, thread_id: undefined })) ?? null;
  }
}

function keyOf(place: ChatPlace): string {
  const peer = place.chat_type === 'dm' ? (place.peer ?? '') : '';
  return `${chatKey(addressOf(place))}|${peer}`;
}
