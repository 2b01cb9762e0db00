import { type DuragentError, idPattern } from '@duragent/protocol';
import { storageError, type Files } from '../files/files.ts';
import { LineFile } from './line-file.ts';

/** Beyond this many ids too many the list is rewritten even while others wait. */
const MAX_STALE = 1000;

interface Addition {
  session: string;
  resolve(): void;
  reject(error: DuragentError): void;
}

/**
 * The file `OPEN`: ids of sessions appended to since their last clean close. It may hold too many
 * ids after a crash, never too few.
 */
export class OpenList {
  readonly #file: LineFile;
  readonly #onSyncFailure: (error: DuragentError) => void;
  readonly #ids: Set<string>;
  readonly #durable: Set<string>;
  #additions: Addition[] = [];
  /** How many ids the file holds that are not in the list any more. */
  #stale: number;
  #working: Promise<void> | null = null;
  /** Set when a sync failed: the file is never written again. */
  #broken: DuragentError | null = null;
  #rewriteFailure: DuragentError | null = null;

  private constructor(
    file: LineFile,
    ids: Set<string>,
    stale: number,
    onSyncFailure: (error: DuragentError) => void,
  ) {
    this.#file = file;
    this.#ids = ids;
    this.#durable = new Set(ids);
    this.#stale = stale;
    this.#onSyncFailure = onSyncFailure;
  }

  /** Opens the list, without the sessions that `exists` does not know. */
  static async open(
    files: Files,
    path: string,
    exists: (session: string) => boolean,
    onSyncFailure: (error: DuragentError) => void,
  ): Promise<OpenList> {
    const { file, lines } = await LineFile.open(files, path);
    const pattern = idPattern('session');
    const ids = new Set(lines.filter((line) => pattern.test(line) && exists(line)));
    return new OpenList(file, ids, lines.length - ids.size, onSyncFailure);
  }

  /** Whether the file durably holds the session. */
  has(session: string): boolean {
    return this.#durable.has(session);
  }

  /** Adds a session; resolves when it is durable. Additions at one time share a sync. */
  add(session: string): Promise<void> {
    if (this.#durable.has(session)) return Promise.resolve();
    if (this.#broken) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      this.#ids.add(session);
      this.#additions.push({ session, resolve, reject });
      this.#start();
    });
  }

  /** Takes a session off the list, soon. */
  remove(session: string): void {
    if (!this.#ids.delete(session)) return;
    this.#durable.delete(session);
    this.#stale += 1;
    this.#start();
  }

  /** Brings the file up to date and closes it. */
  async close(): Promise<void> {
    this.#start();
    while (this.#working) await this.#working;
    await this.#file.close();
    const failure = this.#broken ?? this.#rewriteFailure;
    if (failure) throw failure;
  }

  #start(): void {
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
      if (this.#broken) return;
      if (this.#additions.length > 0 || (this.#stale > 0 && !this.#rewriteFailure)) this.#start();
    });
  }

  /** Never rejects. A rewrite that failed is tried again with the next change. */
  async #work(): Promise<void> {
    this.#rewriteFailure = null;
    while (!this.#broken && !this.#rewriteFailure) {
      if (this.#additions.length > 0 && this.#stale <= MAX_STALE) await this.#append();
      else if (this.#stale > 0) await this.#rewrite();
      else break;
    }
  }

  async #append(): Promise<void> {
    const group = this.#additions;
    this.#additions = [];
    let syncing = false;
    try {
      await this.#file.append(group.map(({ session }) => session));
      syncing = true;
      await this.#file.sync();
    } catch (error) {
      const failure = storageError(error, 'Cannot write the list of open sessions');
      if (syncing) {
        this.#broken = failure;
        this.#onSyncFailure(failure);
      }
      this.#refuse(syncing ? group.concat(this.#additions.splice(0)) : group, failure);
      return;
    }
    this.#accept(group);
  }

  async #rewrite(): Promise<void> {
    const group = this.#additions;
    this.#additions = [];
    const ids = [...this.#ids];
    const stale = this.#stale;
    try {
      await this.#file.replace(ids);
    } catch (error) {
      this.#rewriteFailure = storageError(error, 'Cannot write the list of open sessions');
      this.#refuse(group, this.#rewriteFailure);
      return;
    }
    this.#stale -= stale;
    this.#accept(group);
  }

  #accept(group: readonly Addition[]): void {
    for (const { session, resolve } of group) {
      // It may have been taken off again while it was written.
      if (this.#ids.has(session)) this.#durable.add(session);
      resolve();
    }
  }

  #refuse(group: readonly Addition[], failure: DuragentError): void {
    for (const { session, reject } of group) {
      this.#ids.delete(session);
      reject(failure);
    }
  }
}
