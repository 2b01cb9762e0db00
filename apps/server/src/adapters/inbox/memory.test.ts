import { inboxContract } from '../../ports/inbox.contract.ts';
import { memoryInboxStore, type MemoryInbox } from './memory.ts';

inboxContract('the memory inboxes', async () => {
  const kept = new Map<string, MemoryInbox>();
  return {
    open: async () => memoryInboxStore(kept),
    tear: async () => {},
    dispose: async () => kept.clear(),
  };
});
