import path from 'node:path';
import { realpath } from 'node:fs/promises';
import { DuragentError, idPattern } from '@duragent/protocol';
import type { SessionSummary } from '../../core/session/summary.ts';
import type { OpenedLog, SessionLog, SessionStore } from '../../ports/session-store.ts';
import {
  afterFailure,
  DIRECTORY_MODE,
  errorCode,
  flags,
  nodeFiles,
  readSmallFile,
  storageError,
  syncDirectory,
  type Files,
  type OpenFile,
} from '../files/files.ts';
import { IndexFile } from './index-file.ts';
import { LogFile, SNAPSHOT_FILE, type LogHost } from './log-file.ts';
import { makeLog, NEW_PREFIX } from './making.ts';
import { OpenList } from './open-list.ts';
import { ACTIVE_FILE, examineLog } from './opening.ts';
import { repairLog } from './repair.ts';
import { corrupt } from './search.ts';
import { decodeSnapshot, MAX_SNAPSHOT_BYTES } from './snapshot.ts';
import { syncOrTell } from './sync-or-tell.ts';

export interface FileSessionStoreOptions {
  /** The folder of the sessions; it is made if it is missing. */
  dir: string;
  /**
   * Called when a sync failed: nothing is acknowledged any more, and what the disk holds is not
   * known before the process has ended and another one read it.
   */
  onSyncFailure: (error: DuragentError) => void;
  /** For tests: the file system. */
  files?: Files;
}

const sessionPattern = idPattern('session');
/** The folder of a session that is being deleted begins so; what a crash left of one goes at the next start. */
const DELETED_PREFIX = 'deleted-';
/** How many files are looked at together. */
const LOOKS_AT_ONCE = 32;

/** Opens the session logs under a folder, for this process alone. */
export async function openFileSessionStore(
  options: FileSessionStoreOptions,
): Promise<SessionStore> {
  const files = options.files ?? nodeFiles;
  try {
    await files.mkdir(options.dir, { mode: DIRECTORY_MODE, recursive: true });
    const root = await realpath(options.dir);
    const names = await folders(files, root);
    const sessions = new Set(names.filter((name) => sessionPattern.test(name)));
    const isUnfinished = (name: string): boolean =>
      name.startsWith(NEW_PREFIX) || name.startsWith(DELETED_PREFIX);
    for (const name of names.filter(isUnfinished)) {
      await files.rm(path.join(root, name), { recursive: true, force: true });
    }
    const exists = (session: string): boolean => sessions.has(session);
    const openList = await OpenList.open(
      files,
      path.join(root, 'OPEN'),
      exists,
      options.onSyncFailure,
    );
    try {
      // Also what an earlier process made in them without living to sync it.
      await syncDirectory(files, root);
      await syncParent(files, root);
      const index = await IndexFile.open(
        files,
        path.join(root, 'index.jsonl'),
        (session) => exists(session) && !openList.has(session),
      );
      return new FileSessionStore(files, root, openList, index, options.onSyncFailure);
    } catch (error) {
      throw await afterFailure(error, () => openList.close());
    }
  } catch (error) {
    throw storageError(error, `Cannot open the sessions in ${options.dir}`);
  }
}

class FileSessionStore implements SessionStore, LogHost {
  readonly files: Files;
  readonly #root: string;
  readonly #openList: OpenList;
  readonly #index: IndexFile;
  readonly #onSyncFailure: (error: DuragentError) => void;
  /** Sessions whose log is open, or being opened, made or deleted. */
  readonly #inUse = new Set<string>();
  /** Sessions whose last sync failed. */
  readonly #unsynced = new Set<string>();
  #sizesChecked: Promise<void> | null = null;

  constructor(
    files: Files,
    root: string,
    openList: OpenList,
    index: IndexFile,
    onSyncFailure: (error: DuragentError) => void,
  ) {
    this.files = files;
    this.#root = root;
    this.#openList = openList;
    this.#index = index;
    this.#onSyncFailure = onSyncFailure;
  }

  async create(session: string): Promise<SessionLog> {
    if (!sessionPattern.test(session)) throw notFound(session);
    this.#use(session);
    try {
      return await makeLog(this, this.#openList, this.#root, session);
    } catch (error) {
      this.#inUse.delete(session);
      throw storageError(error, `Cannot make the log of ${session}`);
    }
  }

  async open(session: string, options: { ignoreSnapshot?: boolean } = {}): Promise<OpenedLog> {
    const directory = await this.#locate(session);
    this.#use(session);
    try {
      if (this.#unsynced.has(session)) {
        throw new DuragentError(
          'storage_failed',
          `What the disk holds of ${session} is not known after a failed sync: restart the server.`,
        );
      }
      const text = await readSmallFile(
        this.files,
        path.join(directory, SNAPSHOT_FILE),
        MAX_SNAPSHOT_BYTES,
      );
      const snapshot = text === null ? null : decodeSnapshot(text, session);
      const file = await this.#openActive(directory, snapshot !== null);
      try {
        const ignored = options.ignoreSnapshot ?? false;
        const found = await examineLog(file, session, snapshot, ignored);
        if (found.quarantine) this.#index.entries.delete(session);
        const isIndexed = this.#index.entries.has(session);
        const torn = await repairLog(this, { session, directory, file }, found, isIndexed);
        const { start, end, chain, quarantine } = found;
        const log = new LogFile(
          this,
          { session, directory, file, start, end, chain, quarantine },
          this.#openList.has(session),
        );
        return { log, snapshot: found.snapshot, records: found.records, torn };
      } catch (error) {
        throw await afterFailure(error, () => file.close());
      }
    } catch (error) {
      this.#inUse.delete(session);
      if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ELOOP') throw notFound(session);
      throw storageError(error, `Cannot open the log of ${session}`);
    }
  }

  async #openActive(directory: string, hasSnapshot: boolean): Promise<OpenFile> {
    try {
      return await this.files.open(path.join(directory, ACTIVE_FILE), flags.updateSynced);
    } catch (error) {
      if (errorCode(error) === 'ENOENT' && hasSnapshot) {
        throw corrupt(ACTIVE_FILE, 0, 'the file is missing, though there is a snapshot of it');
      }
      throw error;
    }
  }

  async summaries(): Promise<SessionSummary[]> {
    await this.#checkSizes();
    return [...this.#index.entries.values()].map(({ summary }) => summary);
  }

  async unclean(): Promise<string[]> {
    await this.#checkSizes();
    const names = await folders(this.files, this.#root);
    const unknown = names.filter(
      (name) => sessionPattern.test(name) && !this.#index.entries.has(name),
    );
    const found: string[] = [];
    await forEach(unknown, async (session) => {
      if ((await this.#logSize(session)) !== null) found.push(session);
    });
    return found.sort();
  }

  /** Forgets what the index says of logs that have another size: once, since only this process writes. */
  #checkSizes(): Promise<void> {
    this.#sizesChecked ??= forEach([...this.#index.entries], async ([session, entry]) => {
      const size = await this.#logSize(session);
      const { entries } = this.#index;
      if (size !== entry.size && entries.get(session) === entry) entries.delete(session);
    });
    return this.#sizesChecked;
  }

  async #logSize(session: string): Promise<number | null> {
    try {
      return (await this.files.lstat(path.join(this.#root, session, ACTIVE_FILE))).size;
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return null;
      throw storageError(error, `Cannot look at the log of ${session}`);
    }
  }

  async delete(session: string): Promise<void> {
    const directory = await this.#locate(session);
    this.#use(session);
    try {
      const going = path.join(this.#root, `${DELETED_PREFIX}${session}`);
      await this.files.rename(directory, going);
      await syncOrTell(this, session, () => syncDirectory(this.files, this.#root));
      this.#openList.remove(session);
      await this.#index.remove(session);
      await this.files.rm(going, { recursive: true, force: true });
    } catch (error) {
      throw storageError(error, `Cannot delete ${session}`);
    } finally {
      this.#inUse.delete(session);
    }
  }

  async close(): Promise<void> {
    try {
      await Promise.all([this.#openList.close(), this.#index.close()]);
    } catch (error) {
      throw storageError(error, 'Cannot close the session store');
    }
  }

  async beforeFirstAppend(session: string): Promise<void> {
    this.#index.entries.delete(session);
    await this.#openList.add(session);
  }

  async closed(session: string, summary: SessionSummary | null, size: number): Promise<void> {
    this.#inUse.delete(session);
    if (summary) {
      await this.#index.add(summary, size);
      this.#openList.remove(session);
    } else {
      await this.#index.remove(session);
    }
  }

  syncFailed(session: string, error: DuragentError): void {
    this.#unsynced.add(session);
    this.#onSyncFailure(error);
  }

  /** The folder of a session; a link is none. */
  async #locate(session: string): Promise<string> {
    if (!sessionPattern.test(session)) throw notFound(session);
    const directory = path.join(this.#root, session);
    try {
      if ((await this.files.lstat(directory)).isDirectory()) return directory;
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw storageError(error, `Cannot look at ${session}`);
    }
    throw notFound(session);
  }

  #use(session: string): void {
    if (this.#inUse.has(session)) {
      throw new DuragentError('conflict', `The log of ${session} is in use: close it first.`);
    }
    this.#inUse.add(session);
  }
}

async function syncParent(files: Files, root: string): Promise<void> {
  try {
    await syncDirectory(files, path.dirname(root));
  } catch (error) {
    // A folder that its owner put into one that this user cannot read was not made by us.
    if (errorCode(error) !== 'EACCES') throw error;
  }
}

async function folders(files: Files, root: string): Promise<string[]> {
  const entries = await files.readdir(root, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

/** Does `work` for every item, a bounded number at a time. */
async function forEach<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  const worker = async (): Promise<void> => {
    for (const item of rest) await work(item);
  };
  await Promise.all(Array.from({ length: LOOKS_AT_ONCE }, worker));
}

function notFound(session: string): DuragentError {
  return new DuragentError(
    'session_not_found',
    `There is no session ${JSON.stringify(session)}: \`duragent sessions\` lists them.`,
  );
}
