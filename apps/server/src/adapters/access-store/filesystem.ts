import { isDeepStrictEqual } from 'node:util';
import { DuragentError } from '@duragent/protocol';
import type { AccessBook, AccessStore } from '../../ports/access-store.ts';
import { changeBesidePeople, factsOf, stampOf, textOf } from '../files/edited-file.ts';
import {
  attempt,
  errorCode,
  flags,
  nodeFiles,
  readBytes,
  replaceFile,
  withFile,
  type Files,
} from '../files/files.ts';
import { Changes } from '../files/turns.ts';
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
  const changes = new Changes();

  async function stampNow(): Promise<string | null> {
    const facts = await factsOf(files, path);
    return facts === null ? null : stampOf(facts);
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
        const text = textOf(await readBytes(file, 0, facts.size));
        if (text === null) throw invalid(path, 'the file is not UTF-8 text; save it as UTF-8');
        return { stamp: stampOf(facts), text };
      });
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return { stamp: null, text: '' };
      if (errorCode(error) === 'ELOOP') {
        throw invalid(path, 'this is a symbolic link; put the file itself here');
      }
      throw error;
    }
  }

  /** @returns null: a person has saved the file meanwhile. */
  async function change(make: (book: AccessBook) => AccessBook): Promise<AccessBook | null> {
    const newest = await load();
    const changed = checkChanged(make(structuredClone(newest.read.book)));
    if (isDeepStrictEqual(changed, newest.read.book)) return newest.read.book;
    // Its document is used up, whatever comes of this.
    loaded = null;
    const { text, ...read } = editBook(newest.read, changed);
    if ((await stampNow()) !== newest.stamp) return null;
    await replaceFile(files, path, text);
    loaded = { stamp: 'written', text, read };
    return frozen(read.book);
  }

  return {
    read: () => attempt(`Cannot read ${path}`, async () => (await load(true)).read.book),

    update: (make) =>
      changes.run(path, () =>
        attempt(`Cannot change ${path}`, () => changeBesidePeople(path, () => change(make))),
      ),
  };
}

function invalid(file: string, message: string): DuragentError {
  return new DuragentError('config_invalid', `${file}:1:1: ${message}`, {
    details: { faults: [{ file, line: 1, column: 1, message }] },
  });
}
