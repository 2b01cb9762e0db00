import path from 'node:path';
import type { MemoryFile, MemoryStore } from '../../ports/memory-store.ts';
import { Changes } from '../files/turns.ts';
import { checkLength } from './check-length.ts';
import { memoryPath } from './memory-path.ts';

/** Memory that ends with the process, for tests. */
export interface MemoryMemoryStore extends MemoryStore {
  /** Writes a file as a person does. */
  edit(file: MemoryFile, text: string): void;
}

/** @param texts what it is kept in, so that several stores can share it. */
export function memoryMemoryStore(texts = new Map<string, string>()): MemoryMemoryStore {
  const changes = new Changes();
  const keyOf = (file: MemoryFile): string => {
    const { root, folders, name } = memoryPath(file);
    return path.posix.join(root, ...folders, name);
  };
  const namesIn = (folder: string): string[] =>
    [...texts.keys()]
      .filter((key) => path.posix.dirname(key) === folder)
      .map((key) => path.posix.basename(key, '.md'))
      .toSorted();
  return {
    edit: (file, text) => void texts.set(keyOf(file), text),
    read: async (file) => texts.get(keyOf(file)) ?? null,
    async update(file, change) {
      const key = keyOf(file);
      await changes.run(key, async () => {
        const text = change(texts.get(key) ?? null);
        checkLength(text, key);
        texts.set(key, text);
      });
    },
    days: async () => namesIn('memory').toReversed(),
    topics: async () => namesIn('memory/world'),
  };
}
