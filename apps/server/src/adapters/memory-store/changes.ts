import { DuragentError } from '@duragent/protocol';
import { MAX_MEMORY_FILE_BYTES } from '../../ports/memory-store.ts';

/** Changes of one file beyond this many that wait are refused. */
const MAX_WAITING = 1000;

/** Does what is to be done with one file one after the other, in the order in which it was asked for. */
export class Changes {
  readonly #last = new Map<string, { end: Promise<unknown>; waiting: number }>();

  /** @throws DuragentError queue_full; else whatever `work` throws. */
  async run<T>(file: string, work: () => Promise<T>): Promise<T> {
    const entry = this.#last.get(file) ?? { end: Promise.resolve(), waiting: 0 };
    if (entry.waiting >= MAX_WAITING) {
      throw new DuragentError('queue_full', `Too many changes of ${file} wait: try again later.`);
    }
    const done = entry.end.then(work);
    // The next change is made whatever came of this one.
    entry.end = done.catch(() => undefined);
    entry.waiting += 1;
    this.#last.set(file, entry);
    try {
      return await done;
    } finally {
      entry.waiting -= 1;
      if (entry.waiting === 0) this.#last.delete(file);
    }
  }
}

/** @throws DuragentError `record_too_large` where a file of memory may not be so long. */
export function checkLength(text: string, file: string): void {
  if (Buffer.byteLength(text) <= MAX_MEMORY_FILE_BYTES) return;
  throw new DuragentError(
    'record_too_large',
    `${file} would be longer than ${MAX_MEMORY_FILE_BYTES / 1024 / 1024} MiB: move a part of it elsewhere.`,
  );
}
