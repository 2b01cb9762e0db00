/** Time, so that tests can own it. */
export interface Clock {
  /** Wall clock, ms since 1970. May jump. */
  now(): number;
  /** Ms since an arbitrary start; never falls. */
  monotonic(): number;
  /**
   * Calls back once after `ms` (any length; 0 or less: soon) without keeping the process alive.
   * @returns a function that cancels it; harmless afterwards.
   */
  after(ms: number, callback: () => void): () => void;
}

/** Waits `ms` on a clock. Rejects with the signal's reason when it aborts first. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const stop = (): void => {
      cancel();
      reject(signal.reason as Error);
    };
    const cancel = clock.after(ms, () => {
      signal.removeEventListener('abort', stop);
      resolve();
    });
    signal.addEventListener('abort', stop, { once: true });
  });
}

/** The wall clock is looked at again after so long at the latest. */
const LOOK_MS = 30_000;

/**
 * Waits for an instant of the wall clock, in ms since 1970. A machine that slept, whose timers stood
 * still, is late by 30 s at most; a clock that is set back does not make it longer than it was at
 * first. Rejects with the signal's reason when it aborts first.
 */
export async function sleepUntil(clock: Clock, at: number, signal: AbortSignal): Promise<void> {
  const end = clock.monotonic() + at - clock.now();
  for (let left = at - clock.now(); ;) {
    await sleep(clock, Math.min(left, LOOK_MS), signal);
    left = Math.min(at - clock.now(), end - clock.monotonic());
    if (left <= 0) return;
  }
}
