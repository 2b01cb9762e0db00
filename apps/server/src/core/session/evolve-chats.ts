import type { ChatAddress, EventOf } from '@duragent/protocol';
import { addressOf, isSameChat } from './chat-key.ts';
import { withChats } from './evolve-deliveries.ts';
import type { Chat, SessionState } from './state.ts';

/** The state after a chat came to the session or left it. */
export function evolveChat(
  state: SessionState,
  event: EventOf<'chat_bound' | 'chat_unbound'>,
): SessionState {
  if (event.type === 'chat_unbound') return unbind(state, event);
  const { moved_from: before } = event;
  const bound = bind(state, event);
  return before === undefined ? bound : moveFrom(bound, { ...event, chat_id: before });
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

/** A chat under its old id, where nothing ends that it saw begin: it would stand twice in the new one. */
function moveFrom(state: SessionState, old: ChatAddress): SessionState {
  const chats = state.chats.map((chat) =>
    isSameChat(chat, old) ? { ...chat, bound: false, moved: true as const } : chat,
  );
  return withChats(state, chats);
}
