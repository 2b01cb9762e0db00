import type { Agent, AgentTool, ModelRef } from '../core/agent.ts';
import type { AgentAccess } from '../core/agent-access.ts';

const HOUR_MS = 3_600_000;

/**
 * An agent as an `agent.yaml` that needs no file beside it but programs, scripts and skills: the
 * texts in place, every default filled in, all paths relative to the agent's folder.
 */
export function documentOf(agent: Agent): object {
  const [model, ...fallback] = agent.models.map((one) => modelOf(one, agent.home));
  const { session } = agent;
  return {
    apiVersion: 'duragent/v1alpha1',
    kind: 'Agent',
    metadata: {
      name: agent.name,
      description: agent.description,
      version: agent.version,
      labels: agent.labels,
    },
    spec: {
      model: { ...model, fallback },
      soul: agent.soul,
      system_prompt: agent.systemPrompt,
      instructions: agent.instructions,
      greeting: agent.greeting,
      session: {
        on_disconnect: session.onDisconnect,
        max_background_runtime:
          session.maxBackgroundMs === null ? null : `${session.maxBackgroundMs / 1000}s`,
        max_tool_iterations: session.maxToolIterations,
        turn_timeout: session.turnTimeoutMs === null ? null : `${session.turnTimeoutMs / 1000}s`,
        context: {
          max_history_tokens: session.maxHistoryTokens,
          max_tool_result_tokens: session.maxToolResultTokens,
          tool_result_truncation: session.toolResultTruncation,
          tool_result_keep_first: session.toolResultKeepFirst,
          tool_result_keep_last: session.toolResultKeepLast,
          summarize: session.summarize,
        },
      },
      budget: {
        session_usd: agent.budget.sessionUsd,
        day_usd: agent.budget.dayUsd,
        sender_day_usd: agent.budget.senderDayUsd,
      },
      access: accessDocument(agent.access),
      tools: agent.tools.map(toolDocument),
    },
  };
}

function modelOf(model: ModelRef, home: string): object {
  const isInside = model.provider === 'script' && model.name.startsWith(`${home}/`);
  return {
    provider: model.provider,
    name: isInside ? `./${model.name.slice(home.length + 1)}` : model.name,
    base_url: model.baseUrl,
    temperature: model.temperature,
    max_input_tokens: model.maxInputTokens,
    max_output_tokens: model.maxOutputTokens,
  };
}

function toolDocument({ onInterrupt, ...tool }: AgentTool): object {
  const interrupt = onInterrupt === undefined ? {} : { on_interrupt: onInterrupt };
  switch (tool.type) {
    case 'builtin':
      return { ...tool, ...interrupt };
    case 'cli': {
      const { readme, ...others } = tool;
      return { ...others, ...(readme === null ? {} : { readme }), ...interrupt };
    }
    case 'mcp': {
      const { server, ...others } = tool;
      return { ...others, ...server, ...interrupt };
    }
  }
}

function accessDocument({ owners, approvers, dm, groups, queue }: AgentAccess): object {
  const { form, maxMessages, maxAgeMs } = groups.contextBuffer;
  return {
    owners,
    approvers,
    dm,
    groups: {
      policy: groups.policy,
      allowlist: groups.allowlist,
      sender_default: groups.senderDefault,
      sender_overrides: groups.senderOverrides,
      activation: groups.activation,
      context_buffer: { form, max_messages: maxMessages, max_age_hours: maxAgeMs / HOUR_MS },
    },
    queue: {
      mode: queue.mode,
      max_pending: queue.maxPending,
      overflow: queue.overflow,
      reject_message: queue.rejectMessage,
      debounce: { enabled: queue.debounce.enabled, window_ms: queue.debounce.windowMs },
    },
  };
}
