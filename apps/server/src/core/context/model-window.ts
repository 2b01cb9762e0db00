import type { ModelRef } from '../agent.ts';
import type { WindowEvent } from '../session/window.ts';

/** Part of the model's window that is left free for what the estimate missed. */
const MARGIN = 0.1;
/** The fewest estimated tokens of a request that the provider's own count is compared with. */
const MIN_COMPARED = 1_000;
/** The largest factor that is believed: beyond it, something else was counted as well. */
const MAX_FACTOR = 2;

/**
 * Estimated tokens of history that a call has room for, beside what else it carries.
 * @param beside estimated tokens of the system text, the tools and the summary.
 * @param factor how many tokens an estimated one is.
 */
export function historyBudget(
  model: ModelRef,
  maxHistoryTokens: number,
  { beside, factor }: { beside: number; factor: number },
): number {
  const free = windowOf(model) * (1 - MARGIN) - beside * factor - model.maxOutputTokens;
  return Math.max(0, Math.floor(Math.min(maxHistoryTokens, free) / factor));
}

/**
 * How many tokens one of bytes / 4 was, by the provider's count of the last call; at least 1, so
 * that a count that leaves things out lets nothing grow. In steps, so that it seldom changes.
 */
export function tokenFactor(events: readonly WindowEvent[]): number {
  for (let i = events.length - 1; i >= 0; i -= 1) {
    const event = events[i];
    if (event?.type !== 'assistant_message' || !event.given || !event.usage) continue;
    if (event.given.tokens < MIN_COMPARED) return 1;
    const factor = Math.ceil((event.usage.input_tokens / event.given.tokens) * 10) / 10;
    return Math.min(Math.max(factor, 1), MAX_FACTOR);
  }
  return 1;
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
