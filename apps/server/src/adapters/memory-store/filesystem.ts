import path from 'node:path';
import { DuragentError, namePattern } from '@duragent/protocol';
import {
  MAX_MEMORY_FILE_BYTES,
  type MemoryFile,
  type MemoryStore,
} from '../../ports/memory-store.ts';
import { changeBesidePeople, stampOf, textOf } from '../files/edited-file.ts';
import {
  attempt,
  DIRECTORY_MODE,
  errorCode,
  flags,
  nodeFiles,
  readBytes,
  replaceFile,
  storageError,
  syncDirectory,
  withFile,
  type FileFacts,
  type Files,
} from '../files/files.ts';
import { Changes } from '../files/turns.ts';
import { checkLength } from './check-length.ts';
import { isDay, memoryPath } from './memory-path.ts';

export interface FileMemoryStoreOptions {
  /** The folder of memory; it is made when there is something to remember. */
  dir: string;
  /** The folder of the sessions; each keeps its own notes in its folder, which exists. */
  sessionsDir: string;
  /** For tests: the file system. */
  files?: Files;
}

/** Where a file is, and the folders that lead there. */
interface Place {
  file: string;
  /** Exists, or is made by name: the folder of memory, or the session's. */
  root: string;
  /** Below the root, outermost first. */
  folders: string[];
}

/**
 * Memory as Markdown files: `<day>.md`, `world/<topic>.md` and `agents/<agent>/MEMORY.md` in a folder,
 * and `memory/working.md` in each session's. For this process alone, and for people with an editor.
 * Nothing is cached, and every change replaces the file, so that it is never half of anything.
 */
export function fileMemoryStore(options: FileMemoryStoreOptions): MemoryStore {
  const { dir, sessionsDir, files = nodeFiles } = options;
  const changes = new Changes();

  function placeOf(file: MemoryFile): Place {
    const { root, folders, name } = memoryPath(file);
    if (root === 'memory') {
      return { root: dir, folders, file: path.join(dir, ...folders, name) };
    }
    // Making the folder of a session is its store's business: one that is gone stays gone.
    const [session = '', ...below] = folders;
    const own = path.join(sessionsDir, session);
    return { root: own, folders: below, file: path.join(own, ...below, name) };
  }

  /** Whether the folders on the way are there. @throws where one is something else, such as a link out. */
  async function isReachable({ root, folders }: Place): Promise<boolean> {
    for (let count = 1; count <= folders.length; count += 1) {
      const folder = path.join(root, ...folders.slice(0, count));
      const facts = await factsOf(folder);
      if (facts === null) return false;
      if (!facts.isDirectory()) throw unreadable(folder, 'this is no folder; put one here');
    }
    return true;
  }

  async function factsOf(file: string): Promise<FileFacts | null> {
    try {
      return await files.lstat(file);
    } catch (error) {
      if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return null;
      throw error;
    }
  }

  async function load(place: Place): Promise<{ stamp: string | null; text: string | null }> {
    if (!(await isReachable(place))) return { stamp: null, text: null };
    try {
      return await withFile(files, place.file, flags.readAny, async (handle) => {
        const facts = await handle.stat();
        if (!facts.isFile()) throw unreadable(place.file, 'this is no plain file; put one here');
        if (facts.size > MAX_MEMORY_FILE_BYTES) {
          throw unreadable(place.file, 'the file is larger than 8 MiB; make it smaller');
        }
        const text = textOf(await readBytes(handle, 0, facts.size));
        if (text === null) {
          throw unreadable(place.file, 'the file is not UTF-8 text; save it as UTF-8');
        }
        return { stamp: stampOf(facts), text };
      });
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return { stamp: null, text: null };
      if (errorCode(error) === 'ELOOP') {
        throw unreadable(place.file, 'this is a symbolic link; put the file itself here');
      }
      throw error;
    }
  }

  async function makeFolders({ root, folders }: Place): Promise<void> {
    if (root === dir) {
      await files.mkdir(dir, { mode: DIRECTORY_MODE, recursive: true });
      await syncDirectory(files, path.dirname(path.resolve(dir)));
    }
    for (let count = 1; count <= folders.length; count += 1) {
      const parent = path.join(root, ...folders.slice(0, count - 1));
      const folder = path.join(root, ...folders.slice(0, count));
      try {
        await files.mkdir(folder, { mode: DIRECTORY_MODE });
      } catch (error) {
        if (errorCode(error) !== 'EEXIST') throw error;
      }
      await syncDirectory(files, parent);
    }
  }

  /** @returns null: a person has saved the file meanwhile. */
  async function change(
    place: Place,
    make: (text: string | null) => string,
  ): Promise<'done' | null> {
    const found = await load(place);
    const text = make(found.text);
    if (text === found.text) return 'done';
    checkLength(text, place.file);
    if (found.text === null) await makeFolders(place);
    const now = await factsOf(place.file);
    if ((now === null ? null : stampOf(now)) !== found.stamp) return null;
    await replaceFile(files, place.file, text);
    return 'done';
  }

  async function namesIn(folder: string, isName: (name: string) => boolean): Promise<string[]> {
    try {
      const entries = await files.readdir(folder, { withFileTypes: true });
      return entries
        .filter(({ name }) => name.endsWith('.md'))
        .map(({ name }) => name.slice(0, -'.md'.length))
        .filter(isName)
        .toSorted();
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return [];
      throw storageError(error, `Cannot list the memory in ${folder}`);
    }
  }

  return {
    async read(file) {
      const place = placeOf(file);
      try {
        return (await load(place)).text;
      } catch (error) {
        throw storageError(error, `Cannot read ${place.file}`);
      }
    },

    async update(file, make) {
      const place = placeOf(file);
      await changes.run(place.file, () =>
        attempt(`Cannot change ${place.file}`, () =>
          changeBesidePeople(place.file, () => change(place, make)),
        ),
      );
    },

    days: async () => (await namesIn(dir, isDay)).toReversed(),
    topics: () => namesIn(path.join(dir, 'world'), (name) => namePattern.test(name)),
  };
}

function unreadable(file: string, reason: string): DuragentError {
  return new DuragentError('storage_failed', `${file} cannot be read: ${reason}.`);
}
