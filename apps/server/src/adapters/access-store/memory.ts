import type { AccessBook, AccessStore } from '../../ports/access-store.ts';
import { checkChanged, frozen } from './access-book.ts';

/** The access book in memory. Another store over the same `kept` sees what this one left. */
export function memoryAccessStore(
  kept: { book: AccessBook } = { book: { pairings: [], requests: [] } },
): AccessStore {
  return {
    read: async () => frozen(structuredClone(kept.book)),
    async update(change) {
      kept.book = checkChanged(change(structuredClone(kept.book)));
      return frozen(structuredClone(kept.book));
    },
  };
}
