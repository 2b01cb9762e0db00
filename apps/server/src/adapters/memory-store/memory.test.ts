import { memoryStoreContract } from '../../ports/memory-store.contract.ts';
import { memoryMemoryStore } from './memory.ts';

memoryStoreContract('the memory that ends with the process', async () => {
  const texts = new Map<string, string>();
  return {
    open: () => memoryMemoryStore(texts),
    edit: async (file, text) => memoryMemoryStore(texts).edit(file, text),
    dispose: async () => texts.clear(),
  };
});
