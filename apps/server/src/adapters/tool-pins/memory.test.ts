import { toolPinsContract } from '../../ports/tool-pins.contract.ts';
import { memoryToolPins } from './memory.ts';

toolPinsContract('pins in memory', async () => {
  const kept = new Map<string, ReadonlyMap<string, string>>();
  return { open: () => memoryToolPins(kept), dispose: async () => {} };
});
