import type { Clock } from '../ports/clock.ts';

const CHECK_MS = 1_000;

/**
 * Calls `onUnused` once nothing has used the server for a while, and stops watching.
 * @param options.isUsed asked once a second. @param options.lastUse on the monotonic clock, ms.
 * @returns stops watching.
 */
export function watchUse(
  clock: Clock,
  options: { afterMs: number; isUsed: () => boolean; lastUse: () => number; onUnused: () => void },
): () => void {
  let usedAt = clock.monotonic();
  let cancel = (): void => undefined;
  const check = (): void => {
    const now = clock.monotonic();
    if (options.isUsed()) usedAt = now;
    usedAt = Math.max(usedAt, options.lastUse());
    if (now - usedAt >= options.afterMs) options.onUnused();
    else cancel = clock.after(CHECK_MS, check);
  };
  cancel = clock.after(CHECK_MS, check);
  return () => cancel();
}
