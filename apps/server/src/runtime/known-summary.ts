import { isKnownEvent } from '@duragent/protocol';
import { summaryIn } from '../core/context/build-context.ts';
import type { EffectScope } from './effects.ts';

/**
 * Fetches the summary of a session's earlier conversation. @returns what gives its text as it is
 * then, so that one that is made meanwhile counts; null: there is none.
 */
export async function knownSummary(
  scope: Pick<EffectScope, 'current' | 'event'>,
): Promise<() => string | null> {
  const inWindow = (): string | null => {
    const { state, window } = scope.current();
    return summaryIn(window, state.summary);
  };
  const { seq } = scope.current().state.summary;
  if (seq === 0 || inWindow() !== null) return inWindow;
  // Much has been said since it was made.
  const event = await scope.event(seq);
  const isIt = event && isKnownEvent(event) && event.type === 'history_summarized';
  const text = isIt ? event.summary : null;
  return () => inWindow() ?? (scope.current().state.summary.seq === seq ? text : null);
}
