const FIRST_MS = 5_000;
const LONGEST_MS = 60 * 60 * 1000;
/** How far from its length a wait may be, so that what failed at once does not come back at once. */
const SPREAD = 0.2;
/** A webhook that asks for no pause at all is not asked again in the same second. */
const LEAST_MS = 1_000;

/**
 * How long after a failed try the next one follows, in ms: about 5 s after the first, twice as long
 * after each more, at most an hour.
 * @param attempt the number of the try, from 1; `random` is 0 up to 1.
 */
export function retryWaitMs(attempt: number, random: number): number {
  const wait = FIRST_MS * 2 ** Math.min(attempt - 1, 20);
  return Math.min(LONGEST_MS, Math.round(wait * (1 - SPREAD + 2 * SPREAD * random)));
}

/** The pause that a webhook asked for, in ms: at least a second, and at most an hour. */
export function askedWaitMs(asked: number): number {
  return Math.min(LONGEST_MS, Math.max(LEAST_MS, asked));
}
