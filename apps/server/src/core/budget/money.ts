/** Billionths of a US dollar, whole, so that sums of many small costs stay exact. */
export type Nanos = number;

const NANOS = 1_000_000_000;

/** An amount in billionths, never less than 0; what is too large to count (beyond $9 million) is the largest one. */
export function nanosOf(usd: number): Nanos {
  return clampNanos(usd * NANOS);
}

/** An amount as records hold it, in US dollars. */
export function usdOf(nanos: Nanos): number {
  return nanos / NANOS;
}

/** A whole amount that can be added to; NaN counts as the largest, so that no fault is free. */
export function clampNanos(nanos: number): Nanos {
  if (Number.isNaN(nanos)) return Number.MAX_SAFE_INTEGER;
  return Math.min(Math.max(0, Math.round(nanos)), Number.MAX_SAFE_INTEGER);
}

/** An amount as people read it: `$5.00`, and below a cent with what counts of it, `$0.0012`. */
export function dollarsText(nanos: Nanos): string {
  const usd = usdOf(nanos);
  if (usd === 0 || usd >= 0.01) return `$${usd.toFixed(2)}`;
  return `$${usd.toFixed(Math.min(9, 1 - Math.floor(Math.log10(usd))))}`;
}
