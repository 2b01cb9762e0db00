import { isDeepStrictEqual } from 'node:util';
import { DuragentError } from '@duragent/protocol';
import type { AccessBook, AccessStore } from '../../ports/access-store.ts';
import {
  errorCode,
  flags,
  nodeFiles,
  readBytes,
  replaceFile,
  storageError,
  withFile,
  type FileFacts,
  type Files,
} from '../files/files.ts';
import { checkChanged, frozen } from './access-book.ts';
import { editBook, parseBook, type ReadBook } from './access-yaml.ts';

export interface FileAccessStoreOptions {
  /** The file; its folder exists. */
  path: string;
  /** How long what was read holds without looking again, in ms; default 0. */
  freshMs?: number;
  /** For tests: the file system. */
  files?: Files;
}

const MAX_BYTES = 8 * 1024 * 1024;
/** How often a change is made again because a person saved the file meanwhile. */
const MOST_TRIES = 5;
/** Changes beyond this many that wait are refused. */
const MAX_WAITING = 1000;

interface Loaded {
  /** Changes whenever the file does; null: there is none. */
  stamp: string | null;
  text: string;
  read: ReadBook;
}

/**
 * The access book as a YAML file that people may edit. Its comments stay where they can. A change
 * reads and writes all of it: some 0.2 s for 1,000 pairings.
 */
export function fileAccessStore(options: FileAccessStoreOptions): AccessStore {
  const { path, freshMs = 0, files = nodeFiles } = options;
  let loaded: Loaded | null = null;
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;

  async function stampNow(): Promise<string | null> {
    try {
      return stampOf(await files.lstat(path));
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return null;
      throw error;
    }
  }

  let lookedAt = -Infinity;

  async function load(isFreshEnough = false): Promise<Loaded> {
    const now = performance.now();
    if (isFreshEnough && loaded !== null && now - lookedAt < freshMs) return loaded;
    lookedAt = now;
    const stamp = await stampNow();
    if (loaded !== null && loaded.stamp === stamp) return loaded;
    const found = stamp === null ? { stamp, text: '' } : await readText();
    const known = loaded?.text === found.text ? loaded.read : null;
    const read = known ?? parseBook(found.text, path);
    frozen(read.book);
    loaded = { ...found, read };
    return loaded;
  }

  async function readText(): Promise<{ stamp: string | null; text: string }> {
    try {
      return await withFile(files, path, flags.readAny, async (file) => {
        const facts = await file.stat();
        if (!facts.isFile()) throw invalid(path, 'this is no plain file; put one here');
        if (facts.size > MAX_BYTES) throw invalid(path, 'the file is larger than 8 MiB');
        const bytes = await readBytes(file, 0, MAX_BYTES);
        return { stamp: stampOf(facts), text: decode(bytes, path) };
      });
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return { stamp: null, text: '' };
      if (errorCode(error) === 'ELOOP') {
        throw invalid(path, 'this is a symbolic link; put the file itself here');
      }
      throw error;
    }
  }

  async function change(make: (book: AccessBook) => AccessBook): Promise<AccessBook> {
    for (let attempt = 0; attempt < MOST_TRIES; attempt += 1) {
      const newest = await load();
      const changed = checkChanged(make(structuredClone(newest.read.book)));
      if (isDeepStrictEqual(changed, newest.read.book)) return newest.read.book;
      // Its document is used up, whatever comes of this.
      loaded = null;
      const { text, ...read } = editBook(newest.read, changed);
      // A person may have saved the file meanwhile: their words count.
      if ((await stampNow()) !== newest.stamp) continue;
      await replaceFile(files, path, text);
      loaded = { stamp: 'written', text, read };
      return frozen(read.book);
    }
    throw new DuragentError(
      'conflict',
      `${path} is being edited all the time: try again when that has ended.`,
    );
  }

  return {
    async read() {
      try {
        return (await load(true)).read.book;
      } catch (error) {
        throw explain(error, `Cannot read ${path}`);
      }
    },

    async update(make) {
      if (waiting >= MAX_WAITING) {
        throw new DuragentError('queue_full', `Too many changes of ${path} wait: try again later.`);
      }
      waiting += 1;
      const changed = last.then(() => change(make));
      // The next change is made whatever came of this one.
      last = changed.catch(() => undefined);
      try {
        return await changed;
      } catch (error) {
        throw explain(error, `Cannot change ${path}`);
      } finally {
        waiting -= 1;
      }
    },
  };
}

/** What the system refused, in words; a fault of the program stays one. */
function explain(error: unknown, what: string): unknown {
  return errorCode(error) === undefined ? error : storageError(error, what);
}

function stampOf({ ctimeMs, dev, ino, mtimeMs, size }: FileFacts): string {
  return [dev, ino, size, mtimeMs, ctimeMs].join(':');
}

function decode(bytes: Buffer, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (errorCode(error) !== 'ERR_ENCODING_INVALID_ENCODED_DATA') throw error;
    throw invalid(path, 'the file is not UTF-8 text; save it as UTF-8');
  }
}

function invalid(file: string, message: string): DuragentError {
  return new DuragentError('config_invalid', `${file}:1:1: ${message}`, {
    details: { faults: [{ file, line: 1, column: 1, message }] },
  });
}
