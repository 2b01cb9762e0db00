import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { DuragentError, namePattern } from '@duragent/protocol';
import type { Inbox, InboxEntry, InboxStore } from '../../ports/inbox.ts';
import {
  afterFailure,
  DIRECTORY_MODE,
  errorCode,
  FILE_MODE,
  flags,
  nodeFiles,
  storageError,
  syncDirectory,
  writeAll,
  type Files,
  type OpenFile,
} from '../files/files.ts';
import { cutTornEnd } from '../files/torn-end.ts';
import { InboxFile, type InboxHost } from './inbox-file.ts';
import { examineInbox, type Examined } from './opening.ts';
import { encodeHeader } from './record.ts';
import { Rewriting, type Place } from './rewriting.ts';

export interface FileInboxStoreOptions {
  /** The folder of the gateways; it is made if it is missing. Each has a folder of its own in it. */
  dir: string;
  /**
   * Called when a sync failed: nothing is acknowledged any more, and what the disk holds is not
   * known before it was read and written anew.
   */
  onSyncFailure: (error: DuragentError) => void;
  /** For tests: the file system. */
  files?: Files;
  /** For tests: from this size on a file is written anew. */
  rotateBytes?: number;
}

/** Name of an inbox in its gateway's folder. */
const INBOX_FILE = 'inbox.jsonl';
/** Stands beside an inbox whose sync failed, until that was written anew. */
const UNSYNCED_FILE = `${INBOX_FILE}.unsynced`;
const ROTATE_BYTES = 8 * 1024 * 1024;

/** Inboxes as files below a folder, for this process alone. */
export function fileInboxStore(options: FileInboxStoreOptions): InboxStore {
  return new FileInboxStore(options);
}

class FileInboxStore implements InboxStore, InboxHost {
  readonly files: Files;
  readonly rotateBytes: number;
  readonly #dir: string;
  readonly #onSyncFailure: (error: DuragentError) => void;
  /** Gateways whose inbox is open, or being opened. */
  readonly #inUse = new Set<string>();
  /** Gateways whose last sync failed. */
  readonly #unsynced = new Set<string>();

  constructor(options: FileInboxStoreOptions) {
    this.files = options.files ?? nodeFiles;
    this.rotateBytes = options.rotateBytes ?? ROTATE_BYTES;
    this.#dir = options.dir;
    this.#onSyncFailure = options.onSyncFailure;
  }

  async open(
    gateway: string,
    { after = 0 }: { after?: number } = {},
  ): Promise<{ inbox: Inbox; unhanded: InboxEntry[] }> {
    if (!namePattern.test(gateway)) {
      throw new DuragentError(
        'invalid_request',
        `${JSON.stringify(gateway)} is no name of a gateway: use 1 to 63 of a-z, 0-9 and "-".`,
      );
    }
    if (this.#inUse.has(gateway)) {
      throw new DuragentError('conflict', `The inbox of ${gateway} is open: close it first.`);
    }
    this.#inUse.add(gateway);
    try {
      return await this.#open(gateway, after);
    } catch (error) {
      this.#inUse.delete(gateway);
      throw storageError(error, `Cannot open the inbox of ${gateway}`);
    }
  }

  async #open(gateway: string, after: number): Promise<{ inbox: Inbox; unhanded: InboxEntry[] }> {
    const directory = await this.#makeDirectory(gateway);
    const file = path.join(directory, INBOX_FILE);
    await this.files.rm(`${file}.tmp`, { force: true });
    const isUnsynced = this.#unsynced.has(gateway) || (await this.#isThere(directory));
    let handle = await this.files.open(file, flags.createOrUpdateSynced, FILE_MODE);
    try {
      const found = await examineInbox(handle, file, gateway, after);
      let { end }: { end: Place } = found;
      await this.#repair(gateway, directory, handle, { ...found, after });
      if (isUnsynced) {
        const anew = await this.#writeAnew(gateway, file, handle, found);
        const old = handle;
        [handle, end] = [anew.file, anew.end];
        await old.close();
        await this.files.rm(path.join(directory, UNSYNCED_FILE), { force: true });
        this.#unsynced.delete(gateway);
      } else {
        await this.#sync(gateway, directory, handle);
      }
      const inbox = new InboxFile(this, { gateway, path: file }, handle, found, end);
      return { inbox, unhanded: found.unhanded };
    } catch (error) {
      throw await afterFailure(error, () => handle.close());
    }
  }

  /** The folder of a gateway; a link is none. */
  async #makeDirectory(gateway: string): Promise<string> {
    await this.files.mkdir(this.#dir, { mode: DIRECTORY_MODE, recursive: true });
    const directory = path.join(await realpath(this.#dir), gateway);
    await this.files.mkdir(directory, { mode: DIRECTORY_MODE, recursive: true });
    if ((await this.files.lstat(directory)).isDirectory()) return directory;
    throw new DuragentError(
      'storage_failed',
      `${directory} is no folder of its own: put the folder itself there.`,
    );
  }

  async #isThere(directory: string): Promise<boolean> {
    try {
      await this.files.lstat(path.join(directory, UNSYNCED_FILE));
      return true;
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return false;
      throw error;
    }
  }

  /** Makes the file end with its last good record. */
  async #repair(
    gateway: string,
    directory: string,
    file: OpenFile,
    { end, headerMissing, tornBytes, after }: Examined & { after: number },
  ): Promise<void> {
    if (tornBytes > 0) {
      const from = headerMissing ? 0 : end.offset;
      const where = { directory, name: INBOX_FILE };
      await cutTornEnd(this.files, where, file, from, from + tornBytes);
    }
    if (!headerMissing) return;
    await writeAll(file, Buffer.from(`${encodeHeader(gateway, after + 1).line}\n`), 0);
  }

  /** Also makes durable what a killed process wrote and did not sync. */
  async #sync(gateway: string, directory: string, file: OpenFile): Promise<void> {
    try {
      await file.sync();
      // The folders up to the data directory: any of them may be new.
      const root = path.dirname(directory);
      for (const each of [directory, root, path.dirname(root)]) {
        await syncDirectory(this.files, each);
      }
    } catch (error) {
      // Too many open files: nothing was synced, and nothing failed to be.
      if (['EMFILE', 'ENFILE'].includes(errorCode(error) ?? '')) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      const message = `The inbox of ${gateway} cannot be synced: ${reason}. Check the disk.`;
      const failure = new DuragentError('storage_failed', message, { cause: error });
      await this.syncFailed(gateway, failure);
      throw failure;
    }
  }

  /** Writes an inbox into a new file: after a failed sync only that is known to reach the disk. */
  async #writeAnew(
    gateway: string,
    file: string,
    old: OpenFile,
    found: Examined,
  ): Promise<{ file: OpenFile; end: Place }> {
    const rewriting = new Rewriting(this.files, file, old);
    try {
      await rewriting.begin(gateway, found, found.end);
      await rewriting.sync();
      const renamed = await rewriting.rename();
      await rewriting.syncDirectory();
      return { file: renamed, end: rewriting.place };
    } catch (error) {
      await rewriting.discard();
      throw error;
    }
  }

  async syncFailed(gateway: string, error: DuragentError): Promise<void> {
    this.#unsynced.add(gateway);
    this.#onSyncFailure(error);
    // For the next process. It need not be durable: it is there as long as what the kernel holds
    // of the inbox, and with that, what differs from the disk, gone.
    const marker = path.join(this.#dir, gateway, UNSYNCED_FILE);
    const made = this.files.open(marker, flags.createOrUpdate, FILE_MODE);
    await Promise.allSettled([made.then((file) => file.close())]);
  }

  closed(gateway: string): void {
    this.#inUse.delete(gateway);
  }
}
