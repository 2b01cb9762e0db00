import { DuragentError, namePattern } from '@duragent/protocol';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Agent, BrokenAgent, FileFault } from '../../core/agent.ts';
import type { AgentCatalog } from '../../ports/agent-catalog.ts';

/** What reading an agent's folder gives. */
export interface FolderReading {
  /** null exactly when there are faults. */
  agent: Agent | null;
  faults: FileFault[];
  /** Whether the files still are as they were read. */
  unchanged(): Promise<boolean>;
}

export interface FileAgentCatalogOptions {
  /** Holds one folder for each agent. It need not exist. */
  dir: string;
  /** Reads one folder; never rejects for what its files hold. */
  readFolder(dir: string): Promise<FolderReading>;
  /** For how long `get` takes an agent as it was read, in ms; default 0. */
  freshMs?: number;
  /** How many agents are kept in memory; default 10,000. */
  cacheSize?: number;
}

interface Entry {
  reading: FolderReading;
  /** The last version that loaded. */
  good: Agent | null;
  /** When its files were last looked at, on the monotonic clock. */
  lookedAt: number;
}

const READ_AT_ONCE = 16;

/**
 * Agents as folders of files. An agent is read when it is first asked for, and its files are
 * looked at again when it is asked for, so that an edit is live with the next turn.
 */
export function fileAgentCatalog(options: FileAgentCatalogOptions): AgentCatalog {
  const { dir, readFolder, freshMs = 0, cacheSize = 10_000 } = options;
  /** Least recently used first. */
  const cache = new Map<string, Entry>();

  /** Whoever asks while an agent is looked at gets what that finds. */
  const looking = new Map<string, Promise<Agent | null>>();

  async function lookAt(name: string): Promise<Agent | null> {
    if (await isFolder(join(dir, name))) return (await load(name)).good;
    cache.delete(name);
    return null;
  }

  async function load(name: string): Promise<Entry> {
    const lookedAt = performance.now();
    const known = cache.get(name);
    const fresh = known !== undefined && (await known.reading.unchanged());
    const reading = fresh ? known.reading : await readInside(name);
    const entry = { reading, good: reading.agent ?? known?.good ?? null, lookedAt };
    cache.delete(name);
    cache.set(name, entry);
    for (const oldest of cache.keys()) {
      if (cache.size <= cacheSize) break;
      cache.delete(oldest);
    }
    return entry;
  }

  async function readInside(name: string): Promise<FolderReading> {
    const folder = join(dir, name);
    try {
      if (relative(await realpath(dir), await realpath(folder)) === name) {
        return await readFolder(folder);
      }
      return unreadable(folder, 'this is a symbolic link; put the folder itself here');
    } catch (cause) {
      return unreadable(folder, `the folder cannot be read (${codeOf(cause)}); mend it`);
    }
  }

  async function entryOf(name: string): Promise<Entry> {
    if (namePattern.test(name)) return load(name);
    const message = 'an agent is named by 1 to 63 of a-z, 0-9 and "-"; rename its folder';
    return { reading: unreadable(join(dir, name), message), good: null, lookedAt: 0 };
  }

  return {
    async get(name) {
      if (!namePattern.test(name)) return null;
      const known = cache.get(name);
      if (known && performance.now() - known.lookedAt < freshMs) return known.good;
      const under = looking.get(name);
      // Without a time for which it is fresh, every caller wants what is there now.
      if (under && freshMs > 0) return under;
      const found = lookAt(name).finally(() => looking.delete(name));
      looking.set(name, found);
      return found;
    },

    async list() {
      const names = await foldersIn(dir);
      const there = new Set(names);
      for (const name of cache.keys()) if (!there.has(name)) cache.delete(name);
      const agents: Agent[] = [];
      const broken: BrokenAgent[] = [];
      for (let from = 0; from < names.length; from += READ_AT_ONCE) {
        const some = names.slice(from, from + READ_AT_ONCE);
        const entries = await Promise.all(some.map(entryOf));
        entries.forEach(({ reading, good }, index) => {
          if (good !== null) agents.push(good);
          const name = some[index] ?? '';
          if (reading.agent === null) broken.push({ name, faults: reading.faults });
        });
      }
      return { agents, broken };
    },
  };
}

/** The names of the folders that hold agents, in order. */
async function foldersIn(dir: string): Promise<string[]> {
  try {
    const entries = await readdir(dir, { withFileTypes: true });
    const names: string[] = [];
    for (const entry of entries) {
      if (entry.name.startsWith('.')) continue;
      const linked = entry.isSymbolicLink() && (await isFolder(join(dir, entry.name)));
      if (linked || entry.isDirectory()) names.push(entry.name);
    }
    return names.sort();
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return [];
    const message = `the agents in ${dir} cannot be listed (${codeOf(cause)}); mend its permissions`;
    throw new DuragentError('agent_invalid', message, { cause });
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    // What is there and cannot be looked at is a folder that cannot be read.
    return codeOf(cause) !== 'ENOENT' && codeOf(cause) !== 'ENOTDIR';
  }
}

function unreadable(file: string, message: string): FolderReading {
  const faults = [{ file, line: 1, column: 1, message }];
  return { agent: null, faults, unchanged: () => Promise.resolve(false) };
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : String(error);
}
