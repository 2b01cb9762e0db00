import type { OnInterrupt, ToolEffect } from '@duragent/protocol';
import type { ToolSpec } from './language-model.ts';

/** How a tool's run ended; `content` is for the model, `details` for people. */
export interface ToolResult {
  outcome: 'ok' | 'error' | 'timed_out' | 'cancelled';
  content: string;
  details?: Record<string, unknown>;
}

/** Something an agent can do. */
export interface Tool extends ToolSpec {
  effect: ToolEffect;
  onInterrupt: OnInterrupt;
  /** Runs one call, already durable. Ends soon after the signal aborts; `onOutput` shows output as it comes. */
  run(
    args: Record<string, unknown>,
    options: { signal: AbortSignal; onOutput: (text: string) => void },
  ): Promise<ToolResult>;
}
