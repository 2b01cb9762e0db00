import type { AssistantPart, EventOf, FilePart, QueueMode, ToolCall } from '@duragent/protocol';
import type { AgentAccess } from './agent-access.ts';
import type { Agent, ModelRef } from './agent.ts';
import type { ConversationWindow, WindowEvent } from './session/window.ts';
import { fillTemplate } from './templates.ts';
import { estimateTokens } from './utf8.ts';

/** One message as a model gets it. Every tool call is followed by exactly one result. */
export type ContextMessage =
  | { role: 'user'; text: string; files?: FilePart[] }
  | { role: 'assistant'; content: AssistantPart[]; toolCalls: ToolCall[] }
  | { role: 'tool'; results: { providerCallId: string; name: string; content: string }[] };

export interface Context {
  system: string;
  messages: ContextMessage[];
}

/** Tells the model that it does not see everything. */
export const CUT_NOTE = '[The earlier part of this conversation is left out here.]';

/** Part of the model's window that is left free for what the estimate missed. */
const MARGIN = 0.1;

/**
 * What a model call is given: the agent's texts, and as much of the newest conversation as fits
 * `max_history_tokens` and the model's window. An unchanged beginning stays byte-identical.
 * @param startedAt when the turn began, ISO; dates in the texts are of this moment.
 */
export function buildContext(input: {
  agent: Agent;
  model: ModelRef;
  window: ConversationWindow;
  startedAt: string;
  /** IANA; null: the system's. */
  timezone: string | null;
}): Context {
  const { agent, model } = input;
  const system = systemText(agent, input.startedAt, input.timezone);
  const free = windowOf(model) * (1 - MARGIN) - estimateTokens(system) - model.maxOutputTokens;
  const budget = Math.max(0, Math.min(agent.session.maxHistoryTokens, Math.floor(free)));
  const units = arrange(input.window.events, agent.access.groups.contextBuffer).map((unit) =>
    shortenResults(unit, agent.session.maxToolResultTokens),
  );
  return { system, messages: newest(units, budget, input.window.start > 1) };
}

function systemText(agent: Agent, startedAt: string, timezone: string | null): string {
  const values = {
    agentName: agent.name,
    agentHome: agent.home,
    // A date costs more than all the rest of a context: only where a text asks for it.
    get date() {
      return localTime(startedAt, timezone).date;
    },
    get time() {
      return localTime(startedAt, timezone).time;
    },
  };
  return [agent.soul, agent.systemPrompt, agent.instructions]
    .map((text) => fillTemplate(text, values).trim())
    .filter((text) => text !== '')
    .join('\n\n');
}

function localTime(at: string, timezone: string | null): { date: string; time: string } {
  const parts = new Intl.DateTimeFormat('en-GB', {
    timeZone: timezone ?? undefined,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).formatToParts(new Date(at));
  const of = (type: string): string => parts.find((part) => part.type === type)?.value ?? '';
  return {
    date: `${of('year')}-${of('month')}-${of('day')}`,
    time: `${of('hour')}:${of('minute')}`,
  };
}

/** A model's window in tokens: the agent's word for it, else its family's. */
function windowOf(model: ModelRef): number {
  if (model.maxInputTokens !== null) return model.maxInputTokens;
  const name = model.name.toLowerCase();
  if (/claude/.test(name)) return 200_000;
  if (/gpt-5/.test(name)) return 272_000;
  if (/gemini/.test(name)) return 1_000_000;
  return model.provider === 'ollama' ? 32_000 : 128_000;
}

type ContextBuffer = AgentAccess['groups']['contextBuffer'];

/** Messages that only make sense together: a person's message, or an answer with its tool results. */
type Unit = ContextMessage[];

/**
 * The conversation in the order in which the model sees it: a message stands before the first
 * step that saw it, so after the tool results of the step that had not (`seq > input_seq`).
 */
function arrange(events: readonly WindowEvent[], buffer: ContextBuffer): Unit[] {
  const units: Unit[] = [];
  let waiting: EventOf<'user_message'>[] = [];
  let queue: QueueMode = 'steer';
  const place = (
    isSeen: (message: EventOf<'user_message'>) => boolean,
    at: string | undefined,
  ): void => {
    if (waiting.length === 0) return;
    const seen = waiting.filter(isSeen);
    waiting = waiting.filter((message) => !isSeen(message));
    const overheard = seen.filter(isOverheard);
    units.push(...showOverheard(overheard, buffer, at));
    for (const message of seen) {
      if (!overheard.includes(message)) units.push([fromPerson(message)]);
    }
  };
  for (const event of events) {
    switch (event.type) {
      case 'user_message':
        waiting = waiting.filter((message) => message.message_id !== event.replaces);
        if (event.handling !== 'silent') waiting.push(event);
        break;
      case 'message_dropped':
        waiting = waiting.filter((message) => !event.message_ids.includes(message.message_id));
        break;
      case 'turn_started':
        queue = event.queue;
        place(
          (message) => event.trigger.includes(message.message_id) || message.handling === 'passive',
          event.at,
        );
        break;
      case 'assistant_message':
        place(
          (message) =>
            message.seq <= event.input_seq && (queue === 'steer' || message.handling === 'passive'),
          event.at,
        );
        if (event.content.length > 0 || event.tool_calls.length > 0) {
          units.push([{ role: 'assistant', content: event.content, toolCalls: event.tool_calls }]);
        }
        break;
      case 'tool_finished':
        addResult(units.at(-1), event);
        break;
    }
  }
  place((message) => queue === 'steer' || message.handling === 'passive', events.at(-1)?.at);
  return units;
}

/** Something said in a group that was not for the agent. */
function isOverheard(message: EventOf<'user_message'>): boolean {
  return message.handling === 'passive' && message.source.chat !== undefined;
}

/** What was overheard, as the agent's `context_buffer` says: not older than its age before `at`, and not more than its number. */
function showOverheard(
  messages: readonly EventOf<'user_message'>[],
  buffer: ContextBuffer,
  at: string | undefined,
): Unit[] {
  if (buffer.form === 'off' || messages.length === 0) return [];
  const oldest = at === undefined ? -Infinity : Date.parse(at) - buffer.maxAgeMs;
  const kept = messages
    .filter((message) => Date.parse(message.at) >= oldest)
    .slice(-buffer.maxMessages);
  if (kept.length === 0) return [];
  if (buffer.form === 'history') return kept.map((message) => [fromPerson(message)]);
  const lines = kept.map((message) => fromPerson(message).text);
  return [[{ role: 'user', text: [OVERHEARD_NOTE, ...lines].join('\n') }]];
}

/** Heads what was said in a group between two answers. */
const OVERHEARD_NOTE = '[Said in this chat meanwhile, not to you:]';

/** A message as the model gets it: in groups with its sender's name, its files as what they are. */
function fromPerson({
  source,
  content,
}: EventOf<'user_message'>): Extract<ContextMessage, { role: 'user' }> {
  const files = content.filter((part) => part.type === 'file');
  const texts = content.map((part) =>
    part.type === 'text'
      ? part.text
      : `[file ${part.artifact}: ${part.name}, ${part.mime}, ${part.size} bytes]`,
  );
  const isGroup = source.chat !== undefined && source.chat.chat_type !== 'dm';
  const name = isGroup ? `${source.sender?.name ?? 'somebody'}: ` : '';
  const text = name + texts.join('\n\n');
  return { role: 'user', text, ...(files.length > 0 ? { files } : {}) };
}

function addResult(unit: Unit | undefined, event: EventOf<'tool_finished'>): void {
  const answer = unit?.[0];
  if (!unit || answer?.role !== 'assistant') return;
  const call = answer.toolCalls.find((one) => one.call === event.call);
  if (!call) return;
  const result = {
    providerCallId: call.provider_call_id,
    name: call.name,
    content: event.content,
  };
  const results = unit[1];
  if (results?.role === 'tool') results.results.push(result);
  else unit.push({ role: 'tool', results: [result] });
}

/** Cuts tool results to the agent's limit, keeping their beginning. */
function shortenResults(unit: Unit, maxTokens: number): Unit {
  return unit.map((message) =>
    message.role === 'tool'
      ? {
          role: 'tool',
          results: message.results.map((result) => ({
            ...result,
            content: shorten(result.content, maxTokens),
          })),
        }
      : message,
  );
}

function shorten(text: string, maxTokens: number): string {
  if (estimateTokens(text) <= maxTokens) return text;
  let kept = text.slice(0, maxTokens * 4);
  while (estimateTokens(kept) > maxTokens) kept = kept.slice(0, Math.floor(kept.length * 0.9));
  return `${kept.toWellFormed()}\n[The rest of this result, ${text.length - kept.length} characters, is left out.]`;
}

/** The newest units that fit the budget, at least the last one, beginning with a person's message. */
function newest(units: Unit[], budget: number, isCut: boolean): ContextMessage[] {
  let first = units.length;
  let tokens = 0;
  while (first > 0) {
    tokens += unitTokens(units[first - 1] ?? []);
    if (tokens > budget && first < units.length) break;
    first -= 1;
  }
  const kept = units.slice(first);
  if (first === 0 && !isCut) return kept.flat();
  return [{ role: 'user', text: CUT_NOTE }, ...kept.flat()];
}

function unitTokens(unit: Unit): number {
  let tokens = 0;
  for (const message of unit) {
    if (message.role === 'user') tokens += estimateTokens(message.text);
    else if (message.role === 'tool') {
      for (const result of message.results) tokens += estimateTokens(result.content);
    } else {
      for (const part of message.content) {
        if (part.type !== 'file') tokens += estimateTokens(part.text);
      }
      if (message.toolCalls.length > 0) tokens += estimateTokens(JSON.stringify(message.toolCalls));
    }
  }
  return tokens;
}
