import { sessionStoreContract } from '../../ports/session-store.contract.ts';
import { memorySessionStore, type MemorySession } from './memory.ts';

sessionStoreContract('the memory session store', async () => {
  const kept = new Map<string, MemorySession>();
  return {
    open: async () => memorySessionStore(kept),
    readSnapshot: async (session) => kept.get(session)?.snapshot ?? null,
    putSnapshot: async (session, text) => {
      const found = kept.get(session);
      if (found) found.snapshot = text;
    },
    dispose: async () => kept.clear(),
  };
});
