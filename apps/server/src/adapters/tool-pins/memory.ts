import type { ToolPins } from '../../ports/tool-pins.ts';
import { mergePins } from './merge-pins.ts';

/** Pins in memory. Another store over the same `kept` sees what this one left. */
export function memoryToolPins(kept = new Map<string, ReadonlyMap<string, string>>()): ToolPins {
  return {
    read: async (agent) => new Map(kept.get(agent)),
    async pin(agent, fingerprints) {
      kept.set(agent, mergePins(kept.get(agent) ?? new Map(), fingerprints, agent));
    },
  };
}
