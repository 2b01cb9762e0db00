import type { OnDisconnect, OnUncertain, ToolCall, TurnLimits } from '@duragent/protocol';
import { defaultAccess } from '../core/agent-access.ts';
import type { Agent } from '../core/agent.ts';
import type { Rules } from '../core/session/rules.ts';
import type { ConversationWindow } from '../core/session/window.ts';
import type { TextLimits } from '../core/split.ts';
import type { Tool } from '../ports/tool.ts';

/** The server's settings that agents may override. */
export interface SessionSettings {
  onDisconnect: OnDisconnect;
  /** Frames that a session keeps for its readers. */
  outputBufferSize: number;
  modelRetries: number;
  delivery: DeliverySettings;
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
  tools: ReadonlyMap<string, Tool>;
  window: ConversationWindow;
  leftTurn: string | null;
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
    tools: facts.tools,
    calls: lastCalls(facts.window),
    leftTurn: facts.leftTurn,
  };
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
