import type { Clock } from '../../ports/clock.ts';

/** The longest delay that `setTimeout` keeps; beyond it, it fires at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** The machine's time. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic,
  after(ms, callback) {
    const end = monotonic() + ms;
    let timer: NodeJS.Timeout;
    const wait = (): void => {
      const left = end - monotonic();
      timer = setTimeout(
        left > MAX_DELAY_MS ? wait : callback,
        Math.min(Math.max(0, left), MAX_DELAY_MS),
      );
      timer.unref();
    };
    wait();
    return () => clearTimeout(timer);
  },
};

/** As `performance.now()`, which loads all of Node's `perf_hooks` at its first use. */
function monotonic(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}
