import type { OnDisconnect, OnUncertain, ToolCall, TurnLimits } from '@duragent/protocol';
import { defaultAccess } from '../core/agent-access.ts';
import type { Agent } from '../core/agent.ts';
import { givenAnswer } from '../core/session/receive.ts';
import type { GivenAnswer, Rules } from '../core/session/rules.ts';
import type { ConversationWindow, WindowEvent } from '../core/session/window.ts';
import type { TextLimits } from '../core/split.ts';

/** The server's settings that agents may override. */
export interface SessionSettings {
  onDisconnect: OnDisconnect;
  /** How long a turn may work with nobody attached, in ms; 0: for ever. */
  maxBackgroundMs: number;
  /** Frames that a session keeps for its readers. */
  outputBufferSize: number;
  modelRetries: number;
  delivery: DeliverySettings;
  /** How long an approval waits, in ms; 0: for ever. */
  approvalTimeoutMs: number;
}

/** How sessions speak to chats. */
export interface DeliverySettings {
  onUncertain: OnUncertain;
  mirror: boolean;
  ttlMs: number;
}

/** The rules of one decision; `agent` is null where its files are gone. */
export function rulesFor(facts: {
  now: number;
  epoch: number;
  agent: Agent | null;
  settings: SessionSettings;
  window: ConversationWindow;
  /** The messages that the open turn answers. */
  trigger: readonly string[];
  leftTurn: string | null;
  background: Rules['background'];
  limits: (gateway: string) => TextLimits;
}): Rules {
  const { agent, settings } = facts;
  const queue = agent?.access.queue ?? defaultAccess.queue;
  return {
    now: facts.now,
    epoch: facts.epoch,
    agentHash: agent?.hash ?? 'missing',
    limits: limitsOf(agent, settings),
    greeting: agent?.greeting ?? null,
    queue: queue.mode,
    waiting: {
      maxPending: queue.maxPending,
      overflow: queue.overflow,
      rejectMessage: queue.rejectMessage,
      debounceMs: queue.debounce.enabled ? queue.debounce.windowMs : 0,
    },
    delivery: { ...settings.delivery, limits: facts.limits },
    onDisconnect: agent?.session.onDisconnect ?? settings.onDisconnect,
    approvalTimeoutMs: settings.approvalTimeoutMs,
    calls: lastCalls(facts.window),
    ...sinceCalls(facts.window),
    requester: requesterOf(facts.window, facts.trigger),
    leftTurn: facts.leftTurn,
    background: facts.background,
    maxBackgroundMs: maxBackgroundMs(agent, settings),
  };
}

/** How long a turn of an agent may work with nobody attached, in ms; 0: for ever. */
export function maxBackgroundMs(
  agent: Agent | null,
  settings: Pick<SessionSettings, 'maxBackgroundMs'>,
): number {
  return agent?.session.maxBackgroundMs ?? settings.maxBackgroundMs;
}

function limitsOf(agent: Agent | null, settings: SessionSettings): TurnLimits {
  return {
    max_tool_iterations: agent?.session.maxToolIterations ?? 100,
    turn_timeout_ms: agent?.session.turnTimeoutMs ?? null,
    model_retries: settings.modelRetries,
    fallbacks: (agent?.models.length ?? 1) - 1,
    max_history_tokens: agent?.session.maxHistoryTokens ?? 20_000,
  };
}

function lastCalls(window: ConversationWindow): readonly ToolCall[] {
  for (let i = window.events.length - 1; i >= 0; i -= 1) {
    const event = window.events[i];
    if (event?.type === 'assistant_message') return event.tool_calls;
  }
  return [];
}

const NOTHING: ReturnType<typeof sinceCalls> = {
  finished: new Set(),
  answers: new Map(),
  defaults: new Map(),
  given: new Map(),
  interrupted: new Map(),
};

function isOfCalls(event: WindowEvent): boolean {
  switch (event.type) {
    case 'tool_finished':
    case 'question_asked':
    case 'question_answered':
      return true;
    default:
      return event.type === 'user_message' && event.answers !== undefined;
  }
}

/** What became of the last calls: their results, what questions were answered, and what holds where they are not. */
function sinceCalls(
  window: ConversationWindow,
): Pick<Rules, 'finished' | 'answers' | 'defaults' | 'given' | 'interrupted'> {
  const last = window.events.findLastIndex((event) => event.type === 'assistant_message');
  // Mostly nothing became of them: there were none.
  if (!window.events.slice(last + 1).some(isOfCalls)) return NOTHING;
  const finished = new Set<string>();
  const answers = new Map<string, { answer: string | null; by: string }>();
  const defaults = new Map<string, string>();
  const interrupted = new Map<string, string>();
  const given = new Map<string, GivenAnswer>();
  for (const event of window.events.slice(last + 1).reverse()) {
    if (event.type === 'tool_finished') finished.add(event.call);
    if (event.type === 'user_message' && event.answers !== undefined) {
      given.set(event.answers, givenAnswer(event));
    }
    if (event.type === 'question_answered') answers.set(event.call, event);
    if (event.type === 'question_asked' && event.default !== undefined) {
      defaults.set(event.call, event.default);
    }
    if (event.type === 'question_asked' && event.interrupted) {
      interrupted.set(event.call, event.interrupted.output);
    }
  }
  return { finished, answers, defaults, given, interrupted };
}

/** The person of a chat whose message the open turn answers; of several the last. */
export function requesterOf(window: ConversationWindow, trigger: readonly string[]): string | null {
  if (trigger.length === 0) return null;
  for (let i = window.events.length - 1; i >= 0; i -= 1) {
    const event = window.events[i];
    if (event?.type !== 'user_message' || !trigger.includes(event.message_id)) continue;
    const { chat, sender } = event.source;
    return chat && sender?.id !== undefined ? `${chat.gateway}:${sender.id}` : null;
  }
  return null;
}
