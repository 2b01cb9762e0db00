import type { Said } from './crowd.ts';
import type { Evidence } from './evidence.ts';

/** What a campaign saw, in numbers. */
export function countsOf(seen: {
  kills: readonly { isLate: boolean }[];
  said: readonly Said[];
  modelCalls: number;
  evidence: Evidence | null;
  /** In bytes. */
  memory: { peak: number; atRest: number };
}): Record<string, number> {
  const { kills, said, modelCalls, evidence, memory } = seen;
  const events = evidence?.logs.flatMap((log) => log.events) ?? [];
  const count = (type: string, outcome?: string): number =>
    events.filter(
      (event) =>
        event.type === type &&
        (outcome === undefined || ('outcome' in event && event.outcome === outcome)),
    ).length;
  const shown = evidence?.messages.filter(({ is_from_bot }) => is_from_bot) ?? [];
  return {
    kills: kills.length,
    late: kills.filter(({ isLate }) => isLate).length,
    said: said.length,
    files: said.filter(({ sha256 }) => sha256 !== null).length,
    shown: shown.length,
    'sent again': shown.filter(({ text }) => text.startsWith('[sent again]')).length,
    uncertain: count('delivery_finished', 'uncertain'),
    ...deathsIn(evidence?.outbox ?? []),
    'needs attention': count('turn_finished', 'needs_attention'),
    'model calls': modelCalls,
    'memory in MB, at most': Math.round(memory.peak / 1024 / 1024),
    'and at rest': Math.round(memory.atRest / 1024 / 1024),
  };
}

/** How many deliveries died, by why. */
function deathsIn(outbox: Evidence['outbox']): Record<string, number> {
  const dead = outbox.filter(({ state }) => state === 'dead');
  const reasons = Map.groupBy(dead, ({ code, message }) => `dead (${code}: ${message})`);
  return Object.fromEntries([...reasons].map(([reason, { length }]) => [reason, length]));
}
