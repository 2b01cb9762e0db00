import type { ChatAddress, Delivery, DeliveryPart, ErrorInfo } from '@duragent/protocol';
import { splitMessage } from '../split.ts';
import { addressOf, chatKey, isSameChat } from './chat-key.ts';
import type { Facts } from './facts.ts';
import { outId } from './derived-id.ts';
import type { Rules } from './rules.ts';
import type { SessionInput } from './session-input.ts';
import {
  type Chat,
  MAX_DELIVERIES,
  type OpenDelivery,
  type OpenTurn,
  type SessionState,
} from './state.ts';

/** Longest wait between two tries of a part, in ms. */
const MAX_RETRY_MS = 60_000;
/** Parts that a text is shown in. */
const MAX_PARTS = 200;

/** The chats that are shown what the session says. */
export function boundChats(state: SessionState): Chat[] {
  return state.chats.filter((chat) => chat.bound);
}

/** The chats that hear what the open turn says: those that are shown the session, and those the turn was begun for. */
export function heardIn(state: SessionState): Chat[] {
  return withOthers(boundChats(state), state.turn?.deliverTo ?? []);
}

/** These chats, and others that may be of no session. */
export function withOthers(chats: readonly Chat[], others: readonly ChatAddress[]): Chat[] {
  const fresh = others.filter((other) => !chats.some((chat) => isSameChat(chat, other)));
  return [
    ...chats,
    ...fresh.map((other) => ({
      ...addressOf(other),
      since: 0,
      chat_type: 'channel' as const,
      inbox: 0,
      bound: false,
    })),
  ];
}

/** The delivery's id of what one step of a turn says to one chat. */
export function stepOut(turn: string, step: number, chat: ChatAddress): string {
  return outId(turn, `${step}/${chatKey(chat)}`);
}

/** The deliveries that a text and files cause: one for each chat, none where there is nothing to show. */
export function deliveriesTo(
  chats: readonly Chat[],
  what: { text: string; files?: readonly string[]; format: 'markdown' | 'text' },
  rules: Rules,
  options: {
    out: (chat: Chat) => string;
    replyTo?: OpenTurn['replyTo'];
  },
): Delivery[] {
  const files = (what.files ?? []).map((file) => ({ file }));
  return chats.flatMap((chat) => {
    const parts = [...textParts(what.text, rules, chat), ...files];
    if (parts.length === 0) return [];
    const { out, replyTo } = options;
    return [deliveryTo(chat, parts, rules, { out: out(chat), format: what.format, replyTo })];
  });
}

/** The delivery of parts to a chat. */
export function deliveryTo(
  chat: Chat,
  parts: DeliveryPart[],
  rules: Rules,
  options: {
    out: string;
    format: 'markdown' | 'text';
    /** What to answer to in the chat that asked. */
    replyTo?: OpenTurn['replyTo'] | undefined;
  },
): Delivery {
  const { out, format, replyTo } = options;
  const answers = chat.chat_type !== 'dm' && replyTo?.chat === chat.since;
  return {
    out,
    ...addressOf(chat),
    ...(answers && replyTo ? { reply_to: replyTo.message } : {}),
    format,
    on_uncertain: rules.delivery.onUncertain,
    expires_at: new Date(rules.now + rules.delivery.ttlMs).toISOString(),
    parts,
  };
}

/** The number of the last part that is text: the one with the buttons. */
export function lastText(parts: readonly DeliveryPart[]): number {
  return parts.findLastIndex((part) => !('file' in part)) + 1;
}

/** A text in parts that a chat's platform takes. */
export function textParts(text: string, rules: Rules, { gateway }: Chat): DeliveryPart[] {
  if (text.trim() === '') return [];
  const parts = splitMessage(text, rules.delivery.limits(gateway));
  const last = parts[MAX_PARTS - 1];
  if (!last || parts.length <= MAX_PARTS) return parts;
  // Nobody reads so many messages, and their places would not fit into the record.
  const suffix = `[The rest, ${text.length - last.from} characters, does not fit into a chat; duragent attach shows it.]`;
  return [...parts.slice(0, MAX_PARTS - 1), { prefix: '', from: last.from, to: last.from, suffix }];
}

/** Inputs about what is owed to chats. */
type DeliveryInput = Extract<
  SessionInput,
  { type: 'deliver_start' | 'deliver_end' | 'deliver_again' | 'deliver_never' | 'preview_posted' }
>;

export function isAboutDelivery(input: SessionInput): input is DeliveryInput {
  return input.type.startsWith('deliver_') || input.type === 'preview_posted';
}

/** What becomes of the deliveries that a session owes. */
export function decideDelivery(state: SessionState, input: DeliveryInput, rules: Rules): Facts {
  switch (input.type) {
    case 'preview_posted':
      return postPreview(state, input);
    case 'deliver_start': {
      const open = findOpen(state, input);
      if (open?.status !== 'owed') return [];
      const { out, part, attempt } = input;
      return [{ type: 'delivery_started', out, part, attempt }];
    }
    case 'deliver_end': {
      const open = findOpen(state, input);
      return open ? [endOf(open, input, rules)] : [];
    }
    case 'deliver_again': {
      const dead = state.dead.find((one) => one.out === input.out);
      if (!dead) return [];
      return [
        {
          type: 'delivery_finished',
          out: dead.out,
          part: dead.part,
          attempt: dead.attempt,
          outcome: dead.uncertain ? 'uncertain' : 'failed',
          retry_at: new Date(rules.now).toISOString(),
          expires_at: new Date(rules.now + rules.delivery.ttlMs).toISOString(),
        },
      ];
    }
    case 'deliver_never': {
      const one =
        state.deliveries.find((open) => open.out === input.out && open.status !== 'started') ??
        state.dead.find((dead) => dead.out === input.out);
      if (one) return [deadFact(one, DROPPED)];
      const { out, older } = input;
      return older && state.olderDead ? [deadFact({ out, ...older }, DROPPED)] : [];
    }
  }
}

/** The code of a delivery that a person gave up: it is not kept for another try. */
export const DROPPED_CODE = 'dropped';
const DROPPED: ErrorInfo = { code: DROPPED_CODE, message: 'It was given up by hand.' };

function postPreview(
  state: SessionState,
  { out, message }: { out: string; message: string },
): Facts {
  const open = state.deliveries.find((one) => one.out === out);
  const known = open ? open.preview : state.previews.find((one) => one.out === out)?.message;
  // Of a step that came to nothing, it stays as it is.
  if (known !== undefined || (!open && state.turn === null)) return [];
  if (open && open.part > 1) return [];
  return [{ type: 'preview_posted', out, part: 1, platform_message_id: message }];
}

function findOpen(
  state: SessionState,
  { out, part, attempt }: { out: string; part: number; attempt: number },
): OpenDelivery | undefined {
  return state.deliveries.find(
    (open) => open.out === out && open.part === part && open.attempt === attempt,
  );
}

function endOf(
  open: OpenDelivery,
  end: Extract<SessionInput, { type: 'deliver_end' }>,
  rules: Rules,
): Facts[number] {
  const { out, part, attempt } = open;
  const fact = { type: 'delivery_finished' as const, out, part, attempt };
  switch (end.outcome) {
    case 'delivered':
      return {
        ...fact,
        outcome: 'delivered',
        ...(end.message === undefined ? {} : { platform_message_id: end.message }),
      };
    case 'failed':
    case 'uncertain': {
      const wait = end.retryAfterMs ?? Math.min(MAX_RETRY_MS, 1000 * 2 ** Math.min(attempt - 1, 6));
      const retry_at = new Date(rules.now + Math.max(0, wait)).toISOString();
      return { ...fact, outcome: end.outcome, retry_at, error: end.error };
    }
    case 'dead':
      return deadFact(open, end.error);
  }
}

function deadFact(
  { out, part, attempt }: { out: string; part: number; attempt: number },
  error: ErrorInfo,
): Facts[number] {
  return { type: 'delivery_finished', out, part, attempt, outcome: 'dead', error };
}

/** Sends that were under way when the log was last left: they may have been done. */
export function closeCutDeliveries(state: SessionState, openedSeq: number): Facts {
  return state.deliveries
    .filter((open) => open.status === 'started' && open.at <= openedSeq)
    .map(({ out, part, attempt }) => ({
      type: 'delivery_finished',
      out,
      part,
      attempt,
      outcome: 'uncertain',
      error: { code: 'interrupted', message: 'The server stopped while this was being sent.' },
    }));
}

/**
 * The oldest deliveries beyond what a session may owe are dead, what only closes cards before what
 * says something; one that is being sent is not.
 */
export function dropExcess(state: SessionState): Facts {
  const excess = state.deliveries.length - MAX_DELIVERIES;
  if (excess <= 0) return [];
  const idle = state.deliveries.filter((open) => open.status !== 'started');
  const edits = idle.filter((open) => open.edits !== undefined);
  const said = idle.filter((open) => open.edits === undefined);
  return [...edits, ...said].slice(0, excess).map((open) =>
    deadFact(open, {
      code: 'outbox_full',
      message: `More than ${MAX_DELIVERIES} deliveries of this session wait; the oldest was given up.`,
    }),
  );
}
