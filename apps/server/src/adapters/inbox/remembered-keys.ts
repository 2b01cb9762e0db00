/** Keys are kept this long at least … */
const REMEMBER_MS = 72 * 60 * 60 * 1000;
/** … and so many at least, however old. */
const REMEMBER_ENTRIES = 20_000;
/** So many at most, however young: some 40 MB. Redeliveries beyond that many arrivals are taken as new. */
const MOST_KEYS = 200_000;
/** How many arrivals pass between two looks at what may be forgotten. */
const LOOK_EVERY = 1000;

/**
 * The keys of arrivals that an inbox remembers, in the order of their numbers: those of the 72 h
 * before the newest one or the newest 20,000, whichever is more, but of what was handed over no
 * more than 200,000. Up to 1,000 more stay until they are looked at.
 */
export class RememberedKeys {
  readonly #keys = new Map<string, { n: number; atMs: number }>();
  #newestMs = Number.NEGATIVE_INFINITY;
  #added = 0;

  has(key: string): boolean {
    return this.#keys.has(key);
  }

  /** Adds the key of entry `n`, the newest; what is above `mark` was not handed over and is not forgotten. */
  add(key: string, n: number, at: string, mark: number): void {
    this.#newestMs = Date.parse(at);
    // One that was forgotten and came again belongs to its newest entry.
    this.#keys.delete(key);
    this.#keys.set(key, { n, atMs: this.#newestMs });
    this.#added += 1;
    if (this.#added % LOOK_EVERY === 0) this.forget(mark);
  }

  /** Forgets what need not be remembered. */
  forget(mark: number): void {
    for (const [key, { n, atMs }] of this.#keys) {
      const { size } = this.#keys;
      const isOld = this.#newestMs - atMs > REMEMBER_MS;
      if (n > mark || size <= REMEMBER_ENTRIES || (!isOld && size <= MOST_KEYS)) return;
      this.#keys.delete(key);
    }
  }

  /** Those of entries up to `mark`, oldest first. */
  upTo(mark: number): { key: string; n: number; atMs: number }[] {
    const found: { key: string; n: number; atMs: number }[] = [];
    for (const [key, { n, atMs }] of this.#keys) {
      if (n > mark) break;
      found.push({ key, n, atMs });
    }
    return found;
  }
}
