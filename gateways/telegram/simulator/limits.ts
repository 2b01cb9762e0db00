import type { SimulatorClock } from './clock.ts';

export type LimitsMode = 'off' | 'telegram';

/** A bucket of tokens: `capacity` at once, and `perSecond` more each second. */
interface Rate {
  capacity: number;
  perSecond: number;
}

interface Bucket {
  tokens: number;
  at: number;
}

/** Telegram's own numbers are not specified; these are what its FAQ names, bursts within a chat allowed. */
const rates = {
  all: { capacity: 30, perSecond: 30 },
  chat: { capacity: 3, perSecond: 1 },
  group: { capacity: 20, perSecond: 20 / 60 },
} as const satisfies Record<string, Rate>;

const MAX_BUCKETS = 10_000;

/** How often a bot may post and edit; off unless asked for. */
export class RateLimits {
  mode: LimitsMode;
  readonly #clock: SimulatorClock;
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: SimulatorClock, mode: LimitsMode) {
    this.#clock = clock;
    this.mode = mode;
  }

  /** Counts one call. @returns the seconds to wait when it is one too many, else 0. */
  take(chatId: number, isGroup: boolean): number {
    if (this.mode === 'off') return 0;
    const asked: [string, Rate][] = [
      ['all', rates.all],
      [`chat ${chatId}`, rates.chat],
    ];
    if (isGroup) asked.push([`group ${chatId}`, rates.group]);
    const buckets = asked.map(([name, rate]) => ({ bucket: this.#refill(name, rate), rate }));
    const waits = buckets.map(({ bucket, rate }) =>
      bucket.tokens >= 1 ? 0 : (1 - bucket.tokens) / rate.perSecond,
    );
    const wait = Math.ceil(Math.max(...waits));
    if (wait === 0) for (const { bucket } of buckets) bucket.tokens--;
    return wait;
  }

  #refill(name: string, rate: Rate): Bucket {
    const now = this.#clock.now();
    const bucket = this.#buckets.get(name) ?? { tokens: rate.capacity, at: now };
    const grown = bucket.tokens + ((now - bucket.at) / 1000) * rate.perSecond;
    bucket.tokens = Math.min(rate.capacity, grown);
    bucket.at = now;
    this.#buckets.delete(name);
    this.#buckets.set(name, bucket);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > MAX_BUCKETS && oldest !== undefined) this.#buckets.delete(oldest);
    return bucket;
  }
}
