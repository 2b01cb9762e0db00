import type { EventOf } from '@duragent/protocol';
import { isSameChat } from './chat-key.ts';
import { oweDeliveries } from './evolve-deliveries.ts';
import { senderKey } from './receive.ts';
import { textOf } from './spoken-text.ts';
import {
  type Chat,
  type KnownKey,
  KEY_TTL_MS,
  MAX_BURSTS,
  MAX_KEYS,
  type OpenTurn,
  type PendingMessage,
  type SessionState,
} from './state.ts';
import { ageMs } from './working-time.ts';

const PREVIEW_CHARS = 80;

/** The state after a message came, one that waited was given up, or people were told something. */
export function evolveMessage(
  state: SessionState,
  event: EventOf<'user_message' | 'message_dropped' | 'notice'>,
): SessionState {
  switch (event.type) {
    case 'user_message':
      return oweDeliveries(receive(state, event), event.seq, event.deliveries ?? []);
    case 'message_dropped':
      return {
        ...state,
        pending: state.pending.filter((one) => !event.message_ids.includes(one.message_id)),
      };
    case 'notice':
      return oweDeliveries(tell(state, event), event.seq, event.deliveries);
  }
}

function receive(state: SessionState, event: EventOf<'user_message'>): SessionState {
  const key = event.source.idempotency;
  const text = textOf(event.content);
  const isSteered = event.handling === 'turn' && state.turn?.queue === 'steer';
  const steered = isSteered ? state.turn?.turn : undefined;
  const from = event.source.chat;
  const chat = from && state.chats.find((one) => one.bound && isSameChat(one, from));
  return {
    ...state,
    pending: event.handling === 'turn' ? wait(state, event, chat) : state.pending,
    chats: chat
      ? state.chats.map((one) =>
          one === chat ? { ...one, inbox: Math.max(one.inbox, event.source.inbox?.n ?? 0) } : one,
        )
      : state.chats,
    bursts: chat && event.handling === 'turn' ? burst(state, event) : state.bursts,
    botRun:
      event.handling !== 'turn' ? state.botRun : event.source.sender?.is_bot ? state.botRun + 1 : 0,
    keys:
      key === undefined
        ? state.keys
        : addKey(state, {
            key,
            seq: event.seq,
            message_id: event.message_id,
            ...(steered === undefined ? {} : { turn: steered }),
            at: event.at,
          }),
    preview: Array.from(text.slice(0, 2 * PREVIEW_CHARS))
      .slice(0, PREVIEW_CHARS)
      .join(''),
  };
}

function tell(state: SessionState, event: EventOf<'notice'>): SessionState {
  const { idempotency: key, call } = event;
  if (call !== undefined) return { ...state, turn: state.turn && markTold(state.turn, call) };
  if (key === undefined) return { ...state, greeted: true };
  return { ...state, keys: addKey(state, { key, seq: event.seq, message_id: '', at: event.at }) };
}

function markTold(turn: OpenTurn, call: string): OpenTurn {
  const calls = turn.calls.map((one) =>
    one.call === call ? { ...one, told: true as const } : one,
  );
  return { ...turn, calls };
}

function addKey({ keys }: SessionState, known: KnownKey): KnownKey[] {
  const fresh = keys.filter((one) => ageMs(one.at, known.at) < KEY_TTL_MS);
  return [...fresh, known].slice(-MAX_KEYS);
}

/** The messages that wait, with one more: a new text takes the place of the old, a burst is held together. */
function wait(
  state: SessionState,
  event: EventOf<'user_message'>,
  chat: Chat | undefined,
): PendingMessage[] {
  const sender = senderKey(event.source);
  const held = event.held_until;
  const message: PendingMessage = {
    seq: event.seq,
    message_id: event.message_id,
    ...(chat && event.source.chat
      ? { chat: chat.since, platform_id: event.source.chat.message_id }
      : {}),
    ...(event.deliver_to ? { deliverTo: event.deliver_to } : {}),
    ...(held === undefined ? {} : { held_until: held, sender }),
  };
  const waiting = state.pending.map((one) =>
    held !== undefined && one.held_until !== undefined && one.sender === sender
      ? { ...one, held_until: held }
      : one,
  );
  // It keeps the seq of its own record: a model call in progress has not seen it.
  const at = waiting.findIndex((one) => one.message_id === event.replaces);
  return at < 0 ? [...waiting, message] : waiting.with(at, message);
}

function burst(state: SessionState, event: EventOf<'user_message'>): SessionState['bursts'] {
  const sender = senderKey(event.source);
  const before = state.bursts.find((one) => one.sender === sender);
  const heldSince = event.held_until === undefined ? null : (before?.heldSince ?? event.at);
  const others = state.bursts.filter((one) => one !== before);
  return [...others, { sender, at: event.at, heldSince }].slice(-MAX_BURSTS);
}
