import type { Handling } from '@duragent/protocol';
import { chatKey, isSameChat } from './chat-key.ts';
import { freeQuestion } from './consent.ts';
import { boundChats, deliveriesTo } from './deliveries.ts';
import type { Facts } from './facts.ts';
import { outId } from './derived-id.ts';
import type { GivenAnswer, Rules } from './rules.ts';
import type { SessionInput } from './session-input.ts';
import { type Spoken, spokenText, textOf } from './spoken-text.ts';
import {
  type Chat,
  type KnownKey,
  MAX_BOT_RUN,
  MAX_PENDING,
  type PendingMessage,
  type SessionState,
} from './state.ts';

/** After so long a silence of its sender a message starts at once, in ms. */
const SILENCE_MS = 5_000;
/** Windows that a burst may be held for. */
export const MAX_WINDOWS = 5;

type Receive = Extract<SessionInput, { type: 'receive' }>;

/**
 * A message that somebody sent: in the log whatever becomes of it, and once, by its idempotency
 * key or its number in the inbox. A chat that is not bound to this session is not listened to.
 */
export function receive(state: SessionState, input: Receive, rules: Rules): Facts {
  if (findMessage(state, input.source.idempotency)) return [];
  const chat = input.source.chat ? chatOf(state, input.source.chat) : undefined;
  if (input.source.chat && !chat) return [];
  if (chat && input.source.inbox && input.source.inbox.n <= chat.inbox) return [];
  const question = answeredBy(state, input);
  // What answers a question is seen as the result of its call, and not a second time as a message.
  const handling = question ? 'silent' : handlingOf(state, input);
  const isFull = state.pending.length >= MAX_PENDING;
  if (handling === 'turn' && isFull && !chat) return [];
  const replaced = chat && handling === 'turn' ? findEdited(state, input, chat) : undefined;
  const heldUntil = chat && handling === 'turn' ? holdOf(state, input, rules) : null;
  const { message_id, source, content } = input;
  const message = {
    type: 'user_message' as const,
    message_id,
    ...(replaced ? { replaces: replaced.message_id } : {}),
    source,
    content,
    handling,
    ...(question ? { answers: question.question } : {}),
    ...(input.deliver_to ? { deliver_to: input.deliver_to } : {}),
    ...(heldUntil === null ? {} : { held_until: heldUntil }),
  };
  const deliveries =
    rules.delivery.mirror && input.handling === 'turn' ? mirror(state, message, chat, rules) : [];
  const facts: Facts = [{ ...message, ...(deliveries.length > 0 ? { deliveries } : {}) }];
  if (question) facts.push({ type: 'question_answered', ...question, ...givenAnswer(input) });
  if (handling === 'turn') facts.push(...makeRoom(state, message_id, chat, replaced, rules));
  return facts;
}

/** Where people speak; what a schedule or a program says answers no question. */
const people: ReadonlySet<string> = new Set<Receive['source']['kind']>(['cli', 'http', 'gateway']);

/** Whether a person said it, as far as can be told. */
export function isOfPerson({ kind, sender }: Receive['source']): boolean {
  return people.has(kind) && sender?.is_bot !== true;
}

type Question = { turn: string; call: string; question: string };

/** The open question that a message answers: the first one without choices, for a person who writes to the agent. */
function answeredBy(state: SessionState, input: Receive): Question | null {
  const { turn } = state;
  if (!turn || input.handling !== 'turn' || !isOfPerson(input.source)) return null;
  if (input.edits !== undefined || textOf(input.content).trim() === '') return null;
  const call = freeQuestion(state);
  if (!call?.question) return null;
  return { turn: turn.turn, call: call.call, question: call.question.question };
}

/** What a message says to a question. */
export function givenAnswer({
  source,
  content,
  message_id,
}: Pick<Receive, 'source' | 'content' | 'message_id'>): GivenAnswer {
  const files = content.flatMap((part) =>
    part.type === 'file' ? [`[file ${part.artifact}: ${part.name}]`] : [],
  );
  const answer = [textOf(content).trim(), ...files].join('\n');
  return { answer, by: saidBy(source), message_id };
}

/** Who somebody is, as approvals and answers record it: `<gateway>:<id>`, or the kind of another client. */
function saidBy({ chat, sender, kind }: Receive['source']): string {
  return chat && sender?.id !== undefined ? `${chat.gateway}:${sender.id}` : kind;
}

/** The message that was received under this idempotency key, if it is remembered. */
export function findMessage(state: SessionState, key: string | undefined): KnownKey | undefined {
  return key === undefined ? undefined : state.keys.find((known) => known.key === key);
}

/** Whether a chat is bound to this session. */
export function chatOf(
  state: SessionState,
  chat: Parameters<typeof isSameChat>[0],
): Chat | undefined {
  return state.chats.find((one) => one.bound && isSameChat(one, chat));
}

/** Bots that talk with each other stop after a while: what they say is seen, and starts nothing. */
function handlingOf(state: SessionState, input: Receive): Handling {
  const isBot = input.source.sender?.is_bot === true;
  return isBot && input.handling === 'turn' && state.botRun >= MAX_BOT_RUN
    ? 'passive'
    : input.handling;
}

function findEdited(state: SessionState, input: Receive, chat: Chat): PendingMessage | undefined {
  if (input.edits === undefined) return undefined;
  return state.pending.find(
    (message) => message.chat === chat.since && message.platform_id === input.edits,
  );
}

/** How the sender of a message is known in its session. */
export function senderKey(source: Receive['source']): string {
  return `${source.chat?.gateway ?? ''}:${source.sender?.id ?? ''}`;
}

/** The instant up to which a message is held, ISO; null: it is not. */
function holdOf(state: SessionState, input: Receive, rules: Rules): string | null {
  const window = rules.waiting.debounceMs;
  const last = state.bursts.find((burst) => burst.sender === senderKey(input.source));
  if (window === 0 || !last) return null;
  const silence = rules.now - Date.parse(last.at);
  if (silence < 0 || silence >= SILENCE_MS || silence > window) return null;
  const since = last.heldSince === null ? rules.now : Date.parse(last.heldSince);
  const until = Math.min(rules.now + window, since + MAX_WINDOWS * window);
  return until > rules.now ? new Date(until).toISOString() : null;
}

function mirror(
  state: SessionState,
  message: Extract<Spoken, { type: 'user_message' }>,
  from: Chat | undefined,
  rules: Rules,
) {
  const others = boundChats(state).filter((chat) => chat !== from);
  return deliveriesTo(others, { text: spokenText(message), format: 'text' }, rules, {
    out: (chat) => outId(message.message_id, chatKey(chat)),
  });
}

/** What the queue makes of a message that has come, and of those that wait. */
function makeRoom(
  state: SessionState,
  messageId: string,
  chat: Chat | undefined,
  replaced: PendingMessage | undefined,
  rules: Rules,
): Facts {
  const { turn } = state;
  if (replaced) return [];
  if (turn?.queue === 'drop') {
    return [{ type: 'message_dropped', message_ids: [messageId], reason: 'busy' }];
  }
  if (!chat) return [];
  const { maxPending, overflow, rejectMessage } = rules.waiting;
  const excess = state.pending.length + 1 - Math.min(maxPending, MAX_PENDING);
  if (excess <= 0) return [];
  const dropped =
    overflow === 'drop_old'
      ? state.pending.slice(0, excess).map((message) => message.message_id)
      : [messageId];
  const facts: Facts = [{ type: 'message_dropped', message_ids: dropped, reason: 'overflow' }];
  if (overflow === 'reject') {
    const text = rejectMessage || 'Too many messages wait already; please send this again later.';
    const deliveries = deliveriesTo([chat], { text, format: 'text' }, rules, {
      out: (one) => outId(messageId, `reject/${chatKey(one)}`),
    });
    facts.push({ type: 'notice', text, deliveries });
  }
  return facts;
}
