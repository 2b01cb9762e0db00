import type { OpenTurn } from './state.ts';

/** Waits before the first, second and third repetition of a failed model call, in ms. */
const DELAYS_MS = [1_000, 4_000, 16_000];
/** The longest wait that a provider's `retry-after` may ask for, in ms. */
const MAX_RETRY_AFTER_MS = 60_000;

/**
 * Whether and when a failed model call is tried again: the agent's model after 1, 4 and 16 s
 * (± 20 %) or what the provider asked for, then each fallback once, at once.
 */
export function retryAfterFailure(
  turn: OpenTurn,
  failure: { retryable: boolean; retryAfterMs?: number },
  now: number,
): { at: string; candidate: number } | undefined {
  const first = turn.candidate === 0;
  if (first && failure.retryable && turn.failures < turn.limits.model_retries) {
    const planned = DELAYS_MS[Math.min(turn.failures, DELAYS_MS.length - 1)] ?? 0;
    const asked = Math.min(failure.retryAfterMs ?? 0, MAX_RETRY_AFTER_MS);
    const spread = 0.8 + 0.4 * fraction(`${turn.turn}/${turn.step}/${turn.attempt}`);
    const delay = Math.max(asked, Math.round(planned * spread));
    return { at: new Date(now + delay).toISOString(), candidate: 0 };
  }
  if (turn.candidate >= turn.limits.fallbacks) return undefined;
  return { at: new Date(now).toISOString(), candidate: turn.candidate + 1 };
}

/** A number in [0, 1) that a text always gives: jitter for a core without randomness (FNV-1a). */
function fraction(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return (hash >>> 0) / 2 ** 32;
}
