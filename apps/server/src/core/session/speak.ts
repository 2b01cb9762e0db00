import { chatKey } from './chat-key.ts';
import { boundChats, deliveriesTo, heardIn, stepOut, withOthers } from './deliveries.ts';
import { outId } from './derived-id.ts';
import type { Facts } from './facts.ts';
import { findMessage } from './receive.ts';
import type { Rules } from './rules.ts';
import type { SessionInput } from './session-input.ts';
import { spokenText } from './spoken-text.ts';
import type { Chat, OpenTurn, SessionState } from './state.ts';

/** What the model said, with where it is to be shown. */
export function speak(
  state: SessionState,
  turn: OpenTurn,
  said: Omit<Extract<Facts[number], { type: 'assistant_message' }>, 'type' | 'deliveries'>,
  rules: Rules,
): Facts[number] {
  const message = { type: 'assistant_message' as const, ...said, deliveries: [] };
  const files = said.content.flatMap((part) => (part.type === 'file' ? [part.artifact] : []));
  const what = { text: spokenText(message), files, format: 'markdown' as const };
  // A chat that went to another session meanwhile still gets the end of what it saw begin.
  const began = (chat: Chat): boolean =>
    !chat.moved && state.previews.some(({ out }) => out === stepOut(turn.turn, said.step, chat));
  const chats = withOthers(
    state.chats.filter((chat) => chat.bound || began(chat)),
    turn.deliverTo,
  );
  const deliveries = deliveriesTo(chats, what, rules, {
    out: (chat) => stepOut(turn.turn, said.step, chat),
    replyTo: turn.replyTo,
  });
  return { ...message, deliveries };
}

/** People are told something once; a chat that nobody bound gets it all the same. */
export function notify(
  state: SessionState,
  { text, idempotency, chats }: Extract<SessionInput, { type: 'notify' }>,
  rules: Rules,
): Facts {
  if (findMessage(state, idempotency)) return [];
  const to = chats ? withOthers([], chats) : boundChats(state);
  const deliveries = deliveriesTo(to, { text, format: 'markdown' }, rules, {
    out: (chat) => outId(state.session, `notify/${idempotency}/${chatKey(chat)}`),
  });
  return [{ type: 'notice', text, idempotency, deliveries }];
}

/** People are told something by a call that is under way, once. */
export function tellByCall(
  state: SessionState,
  { turn, call, text, chats }: Extract<SessionInput, { type: 'tell' }>,
  rules: Rules,
): Facts {
  const open = state.turn?.turn === turn && state.turn.calls.find((one) => one.call === call);
  if (!open || open.status !== 'started' || open.told) return [];
  const to = chats ? withOthers([], chats) : heardIn(state);
  const deliveries = deliveriesTo(to, { text, format: 'markdown' }, rules, {
    out: (chat) => outId(call, `tell/${chatKey(chat)}`),
  });
  return [{ type: 'notice', text, call, deliveries }];
}

/** What a chat is told before its first answer, where it never had a session before. */
export function greet(state: SessionState, rules: Rules): Facts {
  const chats = boundChats(state);
  const text = rules.greeting ?? '';
  const isFirst = state.origin.first === true && state.turns === 0 && !state.greeted;
  if (!isFirst || chats.length === 0 || text.trim() === '') return [];
  const deliveries = deliveriesTo(chats, { text, format: 'markdown' }, rules, {
    out: (chat) => outId(state.session, `greeting/${chatKey(chat)}`),
  });
  return [{ type: 'notice', text, deliveries }];
}
