import { chatKey } from './chat-key.ts';
import { boundChats, deliveriesTo, withOthers } from './deliveries.ts';
import { outId } from './derived-id.ts';
import type { Facts } from './facts.ts';
import { findMessage } from './receive.ts';
import type { Rules } from './rules.ts';
import type { OpenTurn, SessionState } from './state.ts';

/** How long a tool may run on behind the limit, in ms. */
export const GRACE_MS = 30_000;

/** Whether everyone left this turn, and it is not to go on without them. */
export function isLeft(state: SessionState, turn: OpenTurn, rules: Rules): boolean {
  return (state.onDisconnect ?? rules.onDisconnect) === 'pause' && rules.leftTurn === turn.turn;
}

/** Whether nobody is there, and the turn has worked so for as long as it may, and `graceMs` more. */
export function isBeyondLimit(
  state: SessionState,
  turn: OpenTurn,
  rules: Rules,
  graceMs = 0,
): boolean {
  const { background, maxBackgroundMs } = rules;
  if (maxBackgroundMs === 0 || !background.isAlone || isLeft(state, turn, rules)) return false;
  const counted = background.turn === turn.turn ? background.ms : 0;
  const ms = Math.max(counted, turn.unattendedMs);
  return ms - turn.unattendedFrom >= maxBackgroundMs + graceMs;
}

/** Whether the turn is to begin nothing more: an operator holds the session, or it has worked alone for as long as it may. */
export function isHeld(state: SessionState, turn: OpenTurn, rules: Rules): boolean {
  return state.pausedBy !== null || isBeyondLimit(state, turn, rules);
}

/** The turn is paused until somebody comes or writes, and people are told so: once, also where the log is cut between. */
export function pauseAtLimit(state: SessionState, turn: OpenTurn, rules: Rules): Facts {
  const paused = {
    type: 'turn_paused' as const,
    turn: turn.turn,
    reason: 'background_limit' as const,
  };
  const work = `background/${turn.unattendedFrom}`;
  const idempotency = outId(turn.turn, work);
  if (findMessage(state, idempotency)) return [paused];
  const text = `⏸️ The turn worked for ${rules.maxBackgroundMs / 1000} s with nobody attached, its limit (session.max_background_runtime), and is paused. Send a message to let it go on.`;
  const chats = withOthers(boundChats(state), turn.deliverTo);
  const deliveries = deliveriesTo(chats, { text, format: 'text' }, rules, {
    out: (chat) => outId(turn.turn, `${work}/${chatKey(chat)}`),
    replyTo: turn.replyTo,
  });
  return [{ type: 'notice', text, idempotency, deliveries }, paused];
}

/** Ends the tools that still run a while after the limit, so that the turn can be paused. */
export function endBeyondLimit(state: SessionState, turn: OpenTurn, rules: Rules): Facts {
  if (turn.paused || !isBeyondLimit(state, turn, rules, GRACE_MS)) return [];
  return turn.calls
    .filter(({ status }) => status === 'started')
    .map(({ call }) => ({
      type: 'tool_finished',
      turn: turn.turn,
      call,
      outcome: 'cancelled',
      content: `This was ended while it ran: the turn had worked for ${rules.maxBackgroundMs / 1000} s with nobody attached, its limit. Check what came of it before you do it again.`,
      details: {},
    }));
}
