import { DuragentError } from '@duragent/protocol';

/** Changes of one file beyond this many that wait are refused. */
const MAX_WAITING = 1000;

/** Does what is to be done with one thing one after the other, in the order in which it was asked for. */
export class Turns {
  readonly #last = new Map<string, { end: Promise<unknown>; waiting: number }>();

  /** @throws whatever `work` throws; the next one is done all the same. */
  async run<T>(thing: string, work: () => Promise<T>): Promise<T> {
    const entry = this.#last.get(thing) ?? { end: Promise.resolve(), waiting: 0 };
    const done = entry.end.then(work);
    entry.end = done.catch(() => undefined);
    entry.waiting += 1;
    this.#last.set(thing, entry);
    try {
      return await done;
    } finally {
      entry.waiting -= 1;
      if (entry.waiting === 0) this.#last.delete(thing);
    }
  }

  /** How much is under way with a thing, or waits. */
  waiting(thing: string): number {
    return this.#last.get(thing)?.waiting ?? 0;
  }

  /** Resolves when all that was asked for so far is done, whatever came of it. */
  async settled(thing: string): Promise<void> {
    await this.#last.get(thing)?.end;
  }
}

/** Turns of changes of files. */
export class Changes {
  readonly #turns = new Turns();

  /** @throws DuragentError queue_full; else whatever `work` throws. */
  async run<T>(file: string, work: () => Promise<T>): Promise<T> {
    if (this.#turns.waiting(file) >= MAX_WAITING) {
      throw new DuragentError('queue_full', `Too many changes of ${file} wait: try again later.`);
    }
    return this.#turns.run(file, work);
  }
}
