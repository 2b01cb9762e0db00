import type { SettledCall } from '../../core/budget/settled-call.ts';
import type { UsageStore } from '../../ports/usage-store.ts';

/** Usage in memory. Another store over the same `kept` sees what this one left. */
export function memoryUsageStore(kept = new Map<string, SettledCall[]>()): UsageStore {
  return {
    add(day, call) {
      const calls = kept.get(day);
      if (calls) calls.push(call);
      else kept.set(day, [call]);
    },
    async *read(day) {
      yield* kept.get(day) ?? [];
    },
    close: async () => undefined,
  };
}
