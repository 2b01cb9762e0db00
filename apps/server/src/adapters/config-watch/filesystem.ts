import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';

/** How often is looked whatever the system tells: network and container file systems tell nothing. */
const POLL_MS = 5_000;

export interface FileWatchOptions {
  /** Absolute paths; they need not be there. */
  files: readonly string[];
  /** How long nothing may have changed before it is told, in ms. */
  debounceMs: number;
  /** Default 5 s. */
  pollMs?: number;
  /** Called once for what changed together. */
  onChange: () => void;
}

/** Tells when files were changed, made, replaced or removed. Keeps no process alive. */
export class FileWatch {
  readonly #options: FileWatchOptions;
  readonly #watchers: FSWatcher[] = [];
  readonly #ready: Promise<void>;
  #poll: NodeJS.Timeout | null = null;
  #settling: NodeJS.Timeout | null = null;
  /** How the files were when they were last told of, and when they were last looked at. */
  #told = '';
  #seen = '';
  #looking: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: FileWatchOptions) {
    this.#options = options;
    this.#ready = this.#begin();
  }

  /** Resolves when what changes from now on is seen. */
  get ready(): Promise<void> {
    return this.#ready;
  }

  close(): void {
    this.#isClosed = true;
    if (this.#poll) clearInterval(this.#poll);
    if (this.#settling) clearTimeout(this.#settling);
    for (const watcher of this.#watchers) watcher.close();
  }

  async #begin(): Promise<void> {
    const { files, pollMs = POLL_MS } = this.#options;
    this.#told = this.#seen = await stampOf(files);
    if (this.#isClosed) return;
    // The folders: an editor puts a new file in the place of the old one.
    for (const folder of new Set(files.map((file) => path.dirname(file)))) this.#watch(folder);
    this.#poll = setInterval(() => this.#look(), pollMs).unref();
  }

  #watch(folder: string): void {
    try {
      const watcher = watch(folder, { persistent: false }, () => this.#look());
      // Looking now and then is enough.
      watcher.on('error', () => watcher.close());
      this.#watchers.push(watcher);
    } catch {
      // A folder that is not there, or too many watches: it is looked at now and then.
    }
  }

  /** Looks at the files, one look after another. */
  #look(): void {
    this.#looking = this.#looking.then(async () => {
      if (this.#isClosed) return;
      const now = await stampOf(this.#options.files);
      if (this.#isClosed || now === this.#seen) return;
      this.#seen = now;
      if (this.#settling) clearTimeout(this.#settling);
      this.#settling = setTimeout(() => this.#settle(), this.#options.debounceMs).unref();
    });
  }

  /** It has been quiet for long enough, unless something has changed that nobody told of. */
  #settle(): void {
    this.#settling = null;
    this.#look();
    this.#looking = this.#looking.then(() => {
      if (this.#isClosed || this.#settling || this.#seen === this.#told) return;
      this.#told = this.#seen;
      this.#options.onChange();
    });
  }
}

/** Changes when one of the files does. */
async function stampOf(files: readonly string[]): Promise<string> {
  const stamps = await Promise.all(
    files.map(async (file) => {
      const found = await stat(file, { bigint: true }).catch(() => null);
      return found ? `${found.ino} ${found.size} ${found.mtimeNs}` : 'none';
    }),
  );
  return stamps.join('\n');
}
