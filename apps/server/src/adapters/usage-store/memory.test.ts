import { usageStoreContract } from '../../ports/usage-store.contract.ts';
import type { SettledCall } from '../../core/budget/settled-call.ts';
import { memoryUsageStore } from './memory.ts';

usageStoreContract('usage in memory', async () => {
  const kept = new Map<string, SettledCall[]>();
  return { open: () => memoryUsageStore(kept), dispose: async () => kept.clear() };
});
