import type { EventOf } from '@duragent/protocol';
import { addressOf, isSameChat } from './chat-key.ts';
import { withChats } from './evolve-deliveries.ts';
import type { Chat, SessionState } from './state.ts';

/** The state after a chat came to the session or left it. */
export function evolveChat(
  state: SessionState,
  event: EventOf<'chat_bound' | 'chat_unbound'>,
): SessionState {
  return event.type === 'chat_bound' ? bind(state, event) : unbind(state, event);
}

function bind(state: SessionState, event: EventOf<'chat_bound'>): SessionState {
  const known = state.chats.find((chat) => isSameChat(chat, event));
  const chat: Chat = {
    ...addressOf(event),
    since: known?.since ?? event.seq,
    chat_type: event.chat_type,
    ...(event.peer === undefined ? {} : { peer: event.peer }),
    inbox: Math.max(event.inbox, known?.inbox ?? 0),
    bound: true,
  };
  return {
    ...state,
    chats: known ? state.chats.map((one) => (one === known ? chat : one)) : [...state.chats, chat],
  };
}

function unbind(state: SessionState, event: EventOf<'chat_unbound'>): SessionState {
  const chats = state.chats.map((chat) =>
    isSameChat(chat, event) ? { ...chat, bound: false } : chat,
  );
  return withChats(state, chats);
}
