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
