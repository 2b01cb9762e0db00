import { entriesOf } from '../core/memory/entries.ts';
import type { MemoryStore } from '../ports/memory-store.ts';

/** A file of an agent's memory; `path` is where it lies in a folder of memory, with `/` between its parts. */
export interface ExportedMemory {
  path: string;
  text: string;
}

/**
 * All that an agent recalls in every session: its MEMORY.md, its own notes and those of people, and
 * what all agents know. Put into the folder of memory of another workspace, an agent of that name
 * recalls it there.
 * @throws DuragentError invalid_request where no agent can be named so; storage_failed.
 */
export async function* exportedMemory(
  store: MemoryStore,
  agent: string,
): AsyncGenerator<ExportedMemory> {
  const curated = await store.read({ kind: 'curated', agent });
  if (curated !== null) yield { path: `agents/${agent}/MEMORY.md`, text: curated };
  for (const day of await store.days()) {
    const file = await store.read({ kind: 'day', day });
    const text = file === null ? null : entriesOf(file, agent);
    if (text !== null) yield { path: `${day}.md`, text };
  }
  for (const topic of await store.topics()) {
    const text = await store.read({ kind: 'world', topic });
    if (text !== null) yield { path: `world/${topic}.md`, text };
  }
}
