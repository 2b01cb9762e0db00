/** The middle value; of an even count, the mean of the middle two. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('nothing was measured');
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/** One figure of Duragent and of its floor, measured one right after the other. */
export interface Pair {
  duragent: number;
  floor: number;
}

export interface Comparison {
  /** Of each pair Duragent's figure over the floor's. */
  ratio: { median: number; min: number; max: number };
  /** Of each pair what Duragent's figure is above the floor's. */
  more: { median: number; min: number; max: number };
  /** Medians of the figures themselves. */
  duragent: number;
  floor: number;
  pairs: number;
}

/** What pairs say together. */
export function compare(pairs: readonly Pair[]): Comparison {
  return {
    ratio: spread(pairs.map(({ duragent, floor }) => duragent / floor)),
    more: spread(pairs.map(({ duragent, floor }) => duragent - floor)),
    duragent: median(pairs.map(({ duragent }) => duragent)),
    floor: median(pairs.map(({ floor }) => floor)),
    pairs: pairs.length,
  };
}

function spread(values: readonly number[]): { median: number; min: number; max: number } {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** Measures one and the other by turns; which is first changes from pair to pair. */
export async function takePairs(
  count: number,
  duragent: () => Promise<number>,
  floor: () => Promise<number>,
): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (let index = 0; index < count; index++) {
    if (index % 2 === 0) {
      const first = await duragent();
      pairs.push({ duragent: first, floor: await floor() });
    } else {
      const first = await floor();
      pairs.push({ duragent: await duragent(), floor: first });
    }
  }
  return pairs;
}
