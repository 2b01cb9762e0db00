import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileFault } from '../core/agent.ts';
import { openFolder, type Folder } from './folder.ts';
import { errorCode } from './text-file.ts';

/** The folder of directives, in the data directory for all agents and in an agent's own. */
const DIRECTIVES = 'directives';
/** How many there may be: each is a part of every prompt. */
const MAX_FILES = 64;

/**
 * Reads what stands in a folder's `directives/*.md`, by name. The folder need not exist; what
 * cannot be read is left out, and told.
 * @param dir the path of `folder`, for what is told.
 */
export async function readDirectives(
  folder: Folder,
  dir: string,
): Promise<{ text: string; faults: FileFault[] }> {
  const fault = (file: string, message: string): FileFault => ({
    file,
    line: 1,
    column: 1,
    message,
  });
  const own = join(dir, DIRECTIVES);
  const located = await folder.locate(DIRECTIVES);
  if (!located.ok) {
    return { text: '', faults: located.missing ? [] : [fault(own, located.reason)] };
  }
  const names = await namesIn(located.path);
  if (names === null) return { text: '', faults: [fault(own, 'this is no folder')] };
  const faults: FileFault[] = [];
  if (names.length > MAX_FILES) {
    const message = `there are more than ${MAX_FILES} directives; put some of them together`;
    faults.push(fault(own, message));
  }
  const texts: string[] = [];
  for (const name of names.slice(0, MAX_FILES)) {
    const reading = await folder.read(join(DIRECTIVES, name));
    if (reading.ok) texts.push(reading.text.trim());
    else faults.push(fault(join(own, name), reading.reason));
  }
  return { text: texts.filter((text) => text !== '').join('\n\n'), faults };
}

/**
 * The directives of all agents, read anew when their files have changed.
 * @param options.freshMs for how long what was read is taken as it is.
 * @param options.onFault told once of each version of the files that has faults.
 */
export function watchDirectives(
  dataDir: string,
  options: { freshMs: number; onFault: (fault: FileFault) => void },
): () => Promise<string> {
  let known: { text: string; folder: Folder } | null = null;
  let lookedAt = 0;
  let looking: Promise<string> | null = null;
  const look = async (): Promise<string> => {
    const now = performance.now();
    if (known === null || !(await known.folder.unchanged())) {
      const folder = openFolder(dataDir);
      const { text, faults } = await readDirectives(folder, dataDir);
      known = { text, folder };
      faults.forEach(options.onFault);
    }
    lookedAt = now;
    return known.text;
  };
  return () => {
    if (known && performance.now() - lookedAt < options.freshMs) return Promise.resolve(known.text);
    looking ??= look().finally(() => {
      looking = null;
    });
    return looking;
  };
}

/** The names of Markdown files, in order; null where there is no folder to list. */
async function namesIn(folder: string): Promise<string[] | null> {
  try {
    const names = await readdir(folder);
    return names.filter((name) => name.endsWith('.md') && !name.startsWith('.')).toSorted();
  } catch (cause) {
    if (errorCode(cause) === undefined) throw cause;
    return null;
  }
}
