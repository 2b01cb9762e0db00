import { type Delivery, type EventOf, MAX_DELIVER_TO } from '@duragent/protocol';
import { isSameChat } from './chat-key.ts';
import { DROPPED_CODE, lastText } from './deliveries.ts';
import {
  type Chat,
  type DeadDelivery,
  MAX_CHATS,
  MAX_DEAD,
  type OpenDelivery,
  type SessionState,
} from './state.ts';

/** The state after an event that speaks to chats. */
export function oweDeliveries(
  state: SessionState,
  seq: number,
  deliveries: readonly Delivery[],
): SessionState {
  if (deliveries.length === 0) return state;
  let { chats, previews } = state;
  const owed: OpenDelivery[] = [];
  for (const delivery of deliveries) {
    let chat = chats.find((one) => isSameChat(one, delivery));
    if (!chat) {
      const { gateway, account, chat_id, thread_id } = delivery;
      chat = {
        gateway,
        account,
        chat_id,
        ...(thread_id === undefined ? {} : { thread_id }),
        // No seq, so that none of a later binding is the same.
        since: Math.min(0, ...chats.map((one) => one.since)) - 1,
        chat_type: 'dm',
        inbox: 0,
        bound: false,
      } satisfies Chat;
      chats = [...chats, chat];
    }
    const { edits, keyboard, parts } = delivery;
    const preview = edits?.message ?? previews.find((one) => one.out === delivery.out)?.message;
    previews = previews.filter((one) => one.out !== delivery.out);
    owed.push({
      out: delivery.out,
      seq,
      chat: chat.since,
      part: 1,
      parts: parts.length,
      attempt: 1,
      status: 'owed',
      at: seq,
      ...(preview === undefined ? {} : { preview }),
      ...(keyboard ? { card: lastText(parts) } : {}),
      ...(edits ? { edits: edits.out } : {}),
    });
  }
  return { ...state, chats, previews, deliveries: [...state.deliveries, ...owed] };
}

export function evolveDelivery(
  state: SessionState,
  event: EventOf<'preview_posted' | 'delivery_started' | 'delivery_finished'>,
): SessionState {
  const open = state.deliveries.find((one) => one.out === event.out);
  switch (event.type) {
    case 'preview_posted': {
      const message = event.platform_message_id;
      if (open) return replace(state, { ...open, preview: message });
      const previews = state.previews.filter((one) => one.out !== event.out);
      return {
        ...state,
        previews: [...previews, { out: event.out, message }].slice(-MAX_PREVIEWS),
      };
    }
    case 'delivery_started':
      return open
        ? replace(state, {
            ...open,
            part: event.part,
            attempt: event.attempt,
            status: 'started',
            at: event.seq,
          })
        : state;
    case 'delivery_finished':
      return open ? finish(state, open, event) : reopen(state, event);
  }
}

const MAX_PREVIEWS = 8;
/** As many chats as are ever asked. */
const MAX_CARDS = MAX_CHATS + MAX_DELIVER_TO;

function finish(
  state: SessionState,
  open: OpenDelivery,
  event: EventOf<'delivery_finished'>,
): SessionState {
  const { retry_at: _, preview, uncertain, ...rest } = open;
  switch (event.outcome) {
    case 'delivered': {
      const after = open.card === event.part ? showCard(state, open, event) : state;
      if (event.part >= open.parts) return without(after, open);
      return replace(after, {
        ...rest,
        part: event.part + 1,
        attempt: 1,
        status: 'owed',
        at: event.seq,
      });
    }
    case 'failed':
    case 'uncertain':
      return replace(state, {
        ...rest,
        ...(preview === undefined ? {} : { preview }),
        // A try that may have been posted stays so however the later ones end.
        ...uncertainTries((uncertain ?? 0) + (event.outcome === 'uncertain' ? 1 : 0)),
        attempt: event.attempt + 1,
        status: 'owed',
        at: event.seq,
        ...(event.retry_at === undefined ? {} : { retry_at: event.retry_at }),
      });
    case 'dead': {
      const after = without(withoutEdits(state, open), open);
      const code = event.error?.code ?? 'dead';
      // Of an edit nothing is missing in the chat but that its buttons go.
      if (code === DROPPED_CODE || open.edits !== undefined) return after;
      const dead = {
        out: open.out,
        seq: open.seq,
        chat: open.chat,
        part: open.part,
        parts: open.parts,
        attempt: open.attempt,
        uncertain: (uncertain ?? 0) > 0 || code === UNCERTAIN_CODE,
        died_at: event.at,
        code,
        ...(preview === undefined ? {} : { preview }),
        ...(open.card === undefined ? {} : { card: open.card }),
      };
      return withChats(keepDead(after, dead), state.chats);
    }
  }
}

/** A card is there: it is edited when people are no longer asked, or at once if that was meanwhile. */
function showCard(
  state: SessionState,
  { out, seq, chat }: OpenDelivery,
  { platform_message_id: message }: EventOf<'delivery_finished'>,
): SessionState {
  if (message === undefined) return withoutEdits(state, { out });
  const { turn } = state;
  const calls = turn?.calls.map((call) =>
    call.status === 'asked' && call.seq === seq
      ? { ...call, cards: [...(call.cards ?? []), { out, chat, message }].slice(-MAX_CARDS) }
      : call,
  );
  const deliveries = state.deliveries.map((one) =>
    one.edits === out ? { ...one, preview: message } : one,
  );
  return { ...state, turn: turn && calls ? { ...turn, calls } : turn, deliveries };
}

/** Without the edits of a card whose message nobody will know. */
function withoutEdits(state: SessionState, { out }: { out: string }): SessionState {
  const deliveries = state.deliveries.filter(
    (one) => one.edits !== out || one.preview !== undefined,
  );
  return { ...state, deliveries };
}

/** The state with one more dead delivery; the oldest beyond `MAX_DEAD` is in the log only. */
function keepDead(state: SessionState, one: DeadDelivery): SessionState {
  const all = [...state.dead, one];
  const oldest = all[0];
  if (all.length <= MAX_DEAD || !oldest) return { ...state, dead: all };
  const { count, from } = state.olderDead ?? { count: 0, from: oldest.seq };
  const olderDead = { count: count + 1, from: Math.min(from, oldest.seq) };
  return { ...state, dead: all.slice(1), olderDead };
}

function uncertainTries(count: number): { uncertain?: number } {
  return count === 0 ? {} : { uncertain: count };
}

/** The code of a delivery that nobody can say was posted, and that may not be repeated. */
export const UNCERTAIN_CODE = 'uncertain';

/** A dead delivery is tried again, or given up for good. */
function reopen(state: SessionState, event: EventOf<'delivery_finished'>): SessionState {
  const dead = state.dead.find((one) => one.out === event.out);
  if (!dead) return forget(state, event);
  const rest = state.dead.filter((one) => one !== dead);
  if (event.outcome === 'dead') return withChats({ ...state, dead: rest }, state.chats);
  const { uncertain, died_at: _, code: __, ...kept } = dead;
  const open: OpenDelivery = {
    ...kept,
    attempt: dead.attempt + 1,
    ...uncertainTries(uncertain ? 1 : 0),
    status: 'owed',
    at: event.seq,
    ...(event.expires_at === undefined ? {} : { expires_at: event.expires_at }),
  };
  return { ...state, dead: rest, deliveries: [...state.deliveries, open] };
}

/** One that is in the log only was given up. */
function forget(state: SessionState, event: EventOf<'delivery_finished'>): SessionState {
  const { olderDead } = state;
  if (event.error?.code !== DROPPED_CODE || !olderDead) return state;
  const count = olderDead.count - 1;
  return { ...state, olderDead: count > 0 ? { ...olderDead, count } : null };
}

function replace(state: SessionState, open: OpenDelivery): SessionState {
  const deliveries = state.deliveries.map((one) => (one.out === open.out ? open : one));
  return { ...state, deliveries };
}

function without(state: SessionState, open: OpenDelivery): SessionState {
  const deliveries = state.deliveries.filter((one) => one.out !== open.out);
  return withChats({ ...state, deliveries }, state.chats);
}

/** Keeps of the chats those that are bound, and those that something is or was owed to. */
export function withChats(state: SessionState, chats: readonly Chat[]): SessionState {
  const cards = state.turn?.calls.flatMap((call) => call.cards ?? []) ?? [];
  const used = new Set([...state.deliveries, ...state.dead, ...cards].map((one) => one.chat));
  const isKept = (chat: Chat): boolean =>
    chat.bound || state.ended !== null || state.previews.length > 0 || used.has(chat.since);
  return { ...state, chats: chats.filter(isKept) };
}
