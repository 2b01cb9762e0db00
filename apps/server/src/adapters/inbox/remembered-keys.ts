import { hash } from 'node:crypto';

/** Keys are kept this long at least … */
const REMEMBER_MS = 72 * 60 * 60 * 1000;
/** … and so many at least, however old. */
const REMEMBER_ENTRIES = 20_000;
/** So many at most, however young: some 7 MB. Redeliveries beyond that many arrivals are taken as new. */
const MOST_KEYS = 200_000;
/** How many arrivals pass between two looks at what may be forgotten. */
const LOOK_EVERY = 1000;

/**
 * The keys of arrivals that an inbox remembers, in the order of their numbers: those of the 72 h
 * before the newest one or the newest 20,000, whichever is more, but of what was handed over no
 * more than 200,000. Up to 1,000 more stay until they are looked at. Each takes 36 bytes, however
 * long it is.
 */
export class RememberedKeys {
  /** Oldest first; only the last one is added to. */
  readonly #groups: Group[] = [];
  #size = 0;
  #newestMs = Number.NEGATIVE_INFINITY;
  #added = 0;

  has(key: string): boolean {
    if (this.#size === 0) return false;
    const print = fingerprint(key);
    return this.#groups.some((group) => group.has(print));
  }

  /** Adds the key of entry `n`, the newest; what is above `mark` was not handed over and is not forgotten. */
  add(key: string, n: number, at: string, mark: number): void {
    this.#newestMs = Date.parse(at);
    let group = this.#groups.at(-1);
    if (group === undefined || group.isFull) {
      group = new Group();
      this.#groups.push(group);
    }
    group.add(fingerprint(key), n, this.#newestMs);
    this.#size += 1;
    this.#added += 1;
    if (this.#added % LOOK_EVERY === 0) this.forget(mark);
  }

  /** Forgets what need not be remembered. */
  forget(mark: number): void {
    for (let group = this.#groups[0]; group; group = this.#groups[0]) {
      for (let oldest = group.oldest; oldest; oldest = group.oldest) {
        const isOld = this.#newestMs - oldest.atMs > REMEMBER_MS;
        if (oldest.n > mark || this.#size <= (isOld ? REMEMBER_ENTRIES : MOST_KEYS)) return;
        group.forgetOldest();
        this.#size -= 1;
      }
      this.#groups.shift();
    }
  }

  /** The number of the oldest entry that is remembered; null: none is. */
  get firstN(): number | null {
    return this.#groups[0]?.oldest?.n ?? null;
  }
}

/** 128 bits of a key's hash, which stand for it: nobody finds two keys that have the same. */
type Fingerprint = readonly [number, number, number, number];

function fingerprint(key: string): Fingerprint {
  // As JSON, since in UTF-8 halves of surrogate pairs are all the same; to text, which is made faster than buffers.
  const bytes = hash('sha256', JSON.stringify(key), 'binary');
  return [wordAt(bytes, 0), wordAt(bytes, 4), wordAt(bytes, 8), wordAt(bytes, 12)];
}

function wordAt(bytes: string, at: number): number {
  return (
    bytes.charCodeAt(at) |
    (bytes.charCodeAt(at + 1) << 8) |
    (bytes.charCodeAt(at + 2) << 16) |
    (bytes.charCodeAt(at + 3) << 24)
  );
}

const PER_GROUP = 4096;
/** Twice as many as there are keys, so that what is looked for is near where it should be. */
const PLACES = 2 * PER_GROUP;

/** Keys of neighbouring arrivals, in arrays of numbers: no object each, and nothing to move when others grow. */
class Group {
  readonly #prints = new Int32Array(4 * PER_GROUP);
  readonly #numbers = new Float64Array(PER_GROUP);
  readonly #instants = new Float64Array(PER_GROUP);
  /** Which key, counted from 1, has its place here, or next to here if that was taken; 0: none. */
  readonly #places = new Uint16Array(PLACES);
  #added = 0;
  #forgotten = 0;

  get isFull(): boolean {
    return this.#added === PER_GROUP;
  }

  /** The oldest that is not forgotten. */
  get oldest(): { n: number; atMs: number } | null {
    const n = this.#numbers[this.#forgotten];
    const atMs = this.#instants[this.#forgotten];
    if (this.#forgotten === this.#added || n === undefined || atMs === undefined) return null;
    return { n, atMs };
  }

  forgetOldest(): void {
    this.#forgotten += 1;
  }

  has(print: Fingerprint): boolean {
    return (this.#places[this.#placeOf(print)] ?? 0) > this.#forgotten;
  }

  add(print: Fingerprint, n: number, atMs: number): void {
    this.#prints.set(print, 4 * this.#added);
    this.#numbers[this.#added] = n;
    this.#instants[this.#added] = atMs;
    this.#added += 1;
    // One that was forgotten and came again belongs to its newest entry.
    this.#places[this.#placeOf(print)] = this.#added;
  }

  /** The place that a fingerprint has, or would have. */
  #placeOf([a, b, c, d]: Fingerprint): number {
    const prints = this.#prints;
    for (let place = a & (PLACES - 1); ; place = (place + 1) % PLACES) {
      const at = 4 * ((this.#places[place] ?? 0) - 1);
      if (at < 0) return place;
      if (prints[at] !== a || prints[at + 1] !== b) continue;
      if (prints[at + 2] === c && prints[at + 3] === d) return place;
    }
  }
}
