import type { EventOf, QueueMode } from '@duragent/protocol';
import type { AgentAccess } from '../agent-access.ts';
import { eventTokens } from '../session/event-tokens.ts';
import type { PendingMessage } from '../session/state.ts';
import type { ConversationWindow, WindowEvent } from '../session/window.ts';
import type { ContextMessage } from './message.ts';

type ContextBuffer = AgentAccess['groups']['contextBuffer'];
type UserMessage = EventOf<'user_message'>;

/** What stands or falls together in a context: what people said, or an answer with the results of its calls. */
export type Unit = {
  /** Seq of the event that gave it its place; never falls from one unit to the next. */
  at: number;
  /** The lowest seq of what it is made of. */
  first: number;
  /** Estimated tokens, but for the results. */
  tokens: number;
} & (
  | { kind: 'said'; message: Extract<ContextMessage, { role: 'user' }>; messageId: string }
  | {
      kind: 'answer';
      answer: EventOf<'assistant_message'>;
      /** In the order in which they came: one for each call at most. */
      results: { event: EventOf<'tool_finished'>; call: number }[];
    }
);

/**
 * The conversation in the order in which the model sees it: a message stands before the first
 * step that saw it, so after the tool results of the step that had not (`seq > input_seq`). Later
 * events only add units at the end.
 * @param pending messages that no model call has seen.
 */
export function arrange(
  { events, sizes }: Pick<ConversationWindow, 'events' | 'sizes'>,
  pending: readonly Pick<PendingMessage, 'message_id'>[],
  buffer: ContextBuffer,
): Unit[] {
  const units: Unit[] = [];
  let waiting: UserMessage[] = [];
  /** null: its turn began before the window. */
  let queue: QueueMode | null = null;
  const place = (isSeen: (message: UserMessage) => boolean, at: number, now: string): void => {
    if (waiting.length === 0) return;
    const seen = waiting.filter(isSeen);
    waiting = waiting.filter((message) => !isSeen(message));
    const overheard = seen.filter(isOverheard);
    units.push(...showOverheard(overheard, buffer, at, now));
    for (const message of seen) if (!isOverheard(message)) units.push(fromPerson(message, at));
  };
  const isSteered = (message: UserMessage): boolean => {
    if (queue === 'steer' || message.handling === 'passive') return true;
    if (queue !== null) return false;
    const { message_id } = message;
    return !startsTurn(events, message_id) && pending.every((one) => one.message_id !== message_id);
  };
  for (const [i, event] of events.entries()) {
    switch (event.type) {
      case 'user_message':
        if (event.replaces !== undefined) {
          waiting = waiting.filter((message) => message.message_id !== event.replaces);
        }
        if (event.handling !== 'silent') waiting.push(event);
        break;
      case 'message_dropped':
        waiting = waiting.filter((message) => !event.message_ids.includes(message.message_id));
        break;
      case 'turn_started':
        queue = event.queue;
        place(
          (message) => event.trigger.includes(message.message_id) || message.handling === 'passive',
          event.seq,
          event.at,
        );
        break;
      case 'assistant_message':
        place(
          (message) => message.seq <= event.input_seq && isSteered(message),
          event.seq,
          seenUntil(events, i, event.input_seq),
        );
        if (event.content.length > 0 || event.tool_calls.length > 0) {
          units.push(fromModel(event, sizes[i] ?? 0));
        }
        break;
      case 'tool_finished':
        addResult(units.at(-1), event);
        break;
      case 'question_asked':
      case 'question_answered':
      case 'history_summarized':
        break;
    }
  }
  const last = events.at(-1);
  // Wherever the answer to them will be recorded, it is behind all that is here.
  if (last) place(isSteered, last.seq + 1, last.at);
  return units;
}

/** Whether a message waited for a turn of its own. */
function startsTurn(events: readonly WindowEvent[], messageId: string): boolean {
  return events.some((one) => one.type === 'turn_started' && one.trigger.includes(messageId));
}

/** When the last event happened that the call of `events[i]` saw: then its messages were chosen. */
function seenUntil(events: readonly WindowEvent[], i: number, inputSeq: number): string {
  let j = i - 1;
  while (j > 0 && (events[j]?.seq ?? 0) > inputSeq) j -= 1;
  return (events[j] ?? events[i])?.at ?? '';
}

/** Something said in a group that was not for the agent. */
function isOverheard(message: UserMessage): boolean {
  return message.handling === 'passive' && message.source.chat !== undefined;
}

/** What was overheard, as the agent's `context_buffer` says: not older than its age before `now`, and not more than its number. */
function showOverheard(
  messages: readonly UserMessage[],
  buffer: ContextBuffer,
  at: number,
  now: string,
): Unit[] {
  if (buffer.form === 'off' || messages.length === 0) return [];
  const oldest = Date.parse(now) - buffer.maxAgeMs;
  const kept = messages
    .filter((message) => !(Date.parse(message.at) < oldest))
    .slice(-buffer.maxMessages)
    .map((message) => fromPerson(message, at));
  const [first] = kept;
  if (!first || buffer.form === 'history') return kept;
  const lines = kept.map(({ message }) => message.text);
  const message = { role: 'user' as const, text: [OVERHEARD_NOTE, ...lines].join('\n') };
  const tokens = kept.reduce((sum, unit) => sum + unit.tokens, NOTE_TOKENS);
  return [{ ...first, message, tokens }];
}

/** Heads what was said in a group between two answers. */
const OVERHEARD_NOTE = '[Said in this chat meanwhile, not to you:]';
const NOTE_TOKENS = 12;

/** Each message is rendered once: a call shows those of the calls before it. */
const rendered = new WeakMap<UserMessage, Said>();

type Said = Extract<Unit, { kind: 'said' }>;

/** A message as the model gets it: in groups with its sender's name, its files as what they are. */
function fromPerson(event: UserMessage, at: number): Said {
  const known = rendered.get(event);
  if (known?.at === at) return known;
  const said = render(event, at);
  rendered.set(event, said);
  return said;
}

function render(event: UserMessage, at: number): Said {
  const { source, content } = event;
  const files = content.filter((part) => part.type === 'file');
  const texts = content.map((part) =>
    part.type === 'text'
      ? part.text
      : `[file ${part.artifact}: ${part.name}, ${part.mime}, ${part.size} bytes]`,
  );
  const isGroup = source.chat !== undefined && source.chat.chat_type !== 'dm';
  const name = isGroup ? `${source.sender?.name ?? 'somebody'}: ` : '';
  const text = name + texts.join('\n\n');
  return {
    kind: 'said',
    at,
    first: event.seq,
    // Beside the text: the name, and what frames a file.
    tokens: eventTokens(event) + name.length + files.length * FILE_TOKENS,
    message: { role: 'user', text, ...(files.length > 0 ? { files } : {}) },
    messageId: event.message_id,
  };
}

const FILE_TOKENS = 24;

function fromModel(answer: EventOf<'assistant_message'>, tokens: number): Unit {
  const { seq } = answer;
  return { kind: 'answer', at: seq, first: seq, tokens, answer, results: [] };
}

function addResult(unit: Unit | undefined, event: EventOf<'tool_finished'>): void {
  if (unit?.kind !== 'answer') return;
  const call = unit.answer.tool_calls.findIndex((one) => one.call === event.call);
  if (call < 0 || unit.results.some((result) => result.call === call)) return;
  unit.results.push({ event, call });
}
