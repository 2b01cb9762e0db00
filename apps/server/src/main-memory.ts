import { fileMemoryStore } from './adapters/memory-store/filesystem.ts';
import type { Config } from './config/load-config.ts';
import { type ExportedMemory, exportedMemory } from './runtime/exported-memory.ts';

/** What an agent remembers, file by file; for a server that runs or does not. */
export function exportMemory(config: Config, agent: string): AsyncIterable<ExportedMemory> {
  const { memoryPath: dir, sessionsPath: sessionsDir } = config;
  return exportedMemory(fileMemoryStore({ dir, sessionsDir }), agent);
}
