import type { AssistantPart, ErrorInfo, ToolCall, Usage } from '@duragent/protocol';
import type { ModelRef } from '../core/agent.ts';
import type { ContextMessage } from '../core/context/message.ts';

/** A tool as the model is told of it; `parameters` is a JSON Schema of an object. */
export interface ToolSpec {
  name: string;
  description: string;
  parameters: Record<string, unknown>;
}

/** One message of the conversation. */
export type ModelMessage = ContextMessage;

export interface ModelRequest {
  model: ModelRef;
  /** The asking agent: its own key (`DURAGENT_AGENT_<NAME>_API_KEY`) goes before the provider's. */
  agent: string;
  system: string;
  messages: ModelMessage[];
  tools: ToolSpec[];
  /** Estimated tokens of all that: what is charged where nobody counts them. */
  inputTokens: number;
}

/** A tool call without the server's id, as a provider names it. */
export type ModelToolCall = Omit<ToolCall, 'call'>;

export interface ModelFailure extends ErrorInfo {
  /** Whether the same call may succeed later (429, 5xx, a cut or unreachable connection). */
  retryable: boolean;
  /** What the provider asked us to wait, in ms. */
  retryAfterMs?: number;
}

/** What a call yields: any number of deltas, then exactly one `done` or `failed`. */
export type ModelChunk =
  | { type: 'text'; text: string }
  | { type: 'reasoning'; text: string }
  | {
      type: 'done';
      content: AssistantPart[];
      toolCalls: ModelToolCall[];
      /** `stop` `length` `tool_calls` `content_filter` `other`. */
      finishReason: string;
      usage?: Usage;
      /** `<provider>/<name>` of what answered. */
      model: string;
    }
  | { type: 'failed'; error: ModelFailure; usage?: Usage; model: string };

/** A language model, or all of them behind one face. */
export interface LanguageModel {
  /**
   * One call. Never throws once called, never retries, and ends in exactly one `done` or
   * `failed`; after the signal aborted it ends soon, in `failed` with code `aborted`.
   */
  stream(request: ModelRequest, options: { signal: AbortSignal }): AsyncIterable<ModelChunk>;
  /** What a call with this model would go to now: `auto` resolved, anything else as it is. */
  resolve(model: ModelRef): Promise<ModelRef>;
}
