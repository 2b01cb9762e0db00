import type { AccessBook } from '../../ports/access-store.ts';
import { accessStoreContract } from '../../ports/access-store.contract.ts';
import { memoryAccessStore } from './memory.ts';

accessStoreContract('the access book in memory', async () => {
  const kept: { book: AccessBook } = { book: { pairings: [], requests: [] } };
  return { open: () => memoryAccessStore(kept), dispose: async () => {} };
});
