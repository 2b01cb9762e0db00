import type { Usage } from '@duragent/protocol';
import { clampNanos, type Nanos } from './money.ts';
import type { Price } from './prices.ts';

/** A dollar per million tokens, for one token. */
const NANOS_PER_TOKEN = 1_000;

/** What a call cost that used so much. */
export function costOf(usage: Usage, price: Price): Nanos {
  const { cache_read_tokens: read = 0, cache_write_tokens: written = 0 } = usage;
  // The cached tokens are part of the input; a server may count otherwise.
  const plain = Math.max(0, usage.input_tokens - read - written);
  return clampNanos(
    NANOS_PER_TOKEN *
      (plain * price.input +
        read * price.cacheRead +
        written * price.cacheWrite +
        usage.output_tokens * price.output),
  );
}

/** The most that a call can cost: all of its input goes the dearest way, and it says all that it may. */
export function largestCost(
  { inputTokens, maxOutputTokens }: { inputTokens: number; maxOutputTokens: number },
  price: Price,
): Nanos {
  const input = Math.max(price.input, price.cacheRead, price.cacheWrite);
  return clampNanos(NANOS_PER_TOKEN * (inputTokens * input + maxOutputTokens * price.output));
}
