import type { Usage } from '@duragent/protocol';
import type { SessionState } from './state.ts';

/** The state with a usage added to what its session has used; as it was where there is none. */
export function charge(state: SessionState, usage: Usage | undefined): SessionState {
  return usage === undefined ? state : { ...state, usage: addUsage(state.usage, usage) };
}

/** Two usages added; a count that only one of them has is kept. */
export function addUsage(sum: Usage, more: Usage | undefined): Usage {
  if (more === undefined) return sum;
  const total: Usage = {
    input_tokens: plus(sum.input_tokens, more.input_tokens),
    output_tokens: plus(sum.output_tokens, more.output_tokens),
  };
  for (const name of ['cache_read_tokens', 'cache_write_tokens', 'reasoning_tokens'] as const) {
    const value = plus(sum[name] ?? 0, more[name] ?? 0);
    if (value > 0) total[name] = value;
  }
  // Whole billionths, so that sums of many do not drift.
  const usd = Math.round(((sum.usd ?? 0) + (more.usd ?? 0)) * 1e9) / 1e9;
  return usd > 0 ? { ...total, usd } : total;
}

/** A sum that a record may hold: counts come from servers that may say anything. */
function plus(a: number, b: number): number {
  return Math.min(a + b, Number.MAX_SAFE_INTEGER);
}
