import {
  type EventOf,
  isKnownEvent,
  queueModeSchema,
  type SessionEvent,
  type StoredEvent,
} from '@duragent/protocol';
import { evolveChat } from './evolve-chats.ts';
import { evolveDelivery } from './evolve-deliveries.ts';
import { evolveMessage } from './evolve-messages.ts';
import { endSummary } from './evolve-summary.ts';
import { evolveTurn } from './evolve-turns.ts';
import type { SessionState } from './state.ts';
import { charge } from './usage.ts';

/**
 * The state after one more event. Pure and total: any event on any state gives a state, an event
 * that does not fit changes nothing but `seq`, `epoch` and `updatedAt`.
 */
export function evolve(state: SessionState, event: StoredEvent): SessionState {
  const next = isKnownEvent(event) ? apply(state, event) : state;
  return { ...next, seq: event.seq, epoch: event.epoch, updatedAt: event.at };
}

function apply(state: SessionState, event: SessionEvent): SessionState {
  switch (event.type) {
    case 'session_started':
      return {
        ...state,
        session: event.session,
        agent: event.agent,
        ...(event.key === undefined ? {} : { key: event.key }),
        labels: event.labels,
        origin: event.origin,
        ...(event.on_disconnect === undefined ? {} : { onDisconnect: event.on_disconnect }),
        createdAt: event.at,
      };
    case 'chat_bound':
    case 'chat_unbound':
      return evolveChat(state, event);
    case 'user_message':
    case 'message_dropped':
    case 'notice':
      return evolveMessage(state, event);
    case 'preview_posted':
    case 'delivery_started':
    case 'delivery_finished':
      return evolveDelivery(state, event);
    case 'setting_changed':
      return set(state, event);
    case 'session_paused':
      return { ...state, pausedBy: event.by };
    case 'session_resumed':
      return { ...state, pausedBy: null };
    case 'session_ended':
      return {
        ...state,
        pausedBy: null,
        ended: { reason: event.reason, at: event.at },
        turn: null,
        pending: [],
        previews: [],
        // Kept with their inbox numbers: what they have sent is not taken again by another session.
        chats: state.chats.map((chat) => ({ ...chat, bound: false })),
      };
    case 'history_summarized':
    case 'summary_failed':
      return endSummary(charge(state, event.usage), event);
    case 'recovered':
      return state;
    default:
      return evolveTurn(state, event);
  }
}

function set(state: SessionState, { name, value }: EventOf<'setting_changed'>): SessionState {
  const { settings } = state;
  if (name === 'activation') {
    if (value !== null && value !== 'mention' && value !== 'always') return state;
    return { ...state, settings: { ...settings, activation: value } };
  }
  const mode = value === null ? null : queueModeSchema.safeParse(value);
  if (mode !== null && !mode.success) return state;
  return { ...state, settings: { ...settings, queue: mode?.data ?? null } };
}
