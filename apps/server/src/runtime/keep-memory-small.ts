import type { Clock } from '../ports/clock.ts';
import type { Heap } from '../ports/heap.ts';

/** How often memory is looked at, in ms. */
const LOOK_MS = 500;
/** What is worth a collection, in bytes, and as a part of the least that the process had. */
const WORTH_BYTES = 8 * 1024 * 1024;
const WORTH_PART = 0.1;
/** The pause after a collection, in times of what it took: at most 2 % of the time goes there. */
const PAUSE_FACTOR = 50;
/** From so many sessions at work in a process that is as busy as this, speed goes before memory. */
const MANY_WORKING = 8;
const BUSY = 0.5;
/** And for so long afterwards, in ms: such work comes in bursts, and would have to fetch the memory again. */
const AFTER_WORK_MS = 5_000;

/**
 * Collects garbage and gives its memory back, unless many sessions are at work: those have memory to
 * be quicker. By itself the collector keeps what a burst took for the next one.
 * @param working how many sessions work now. @returns ends it.
 */
export function keepMemorySmall(clock: Clock, heap: Heap, working: () => number): () => void {
  let least = heap.residentBytes();
  let notBefore = clock.monotonic();
  let workUntil = notBefore;
  // A start is work, too.
  let isQuick = true;
  heap.preferSpeed(isQuick);
  const look = (): void => {
    cancel = clock.after(LOOK_MS, look);
    const isBusy = heap.utilization() > BUSY && working() >= MANY_WORKING;
    const resident = heap.residentBytes();
    least = Math.min(least, resident);
    const now = clock.monotonic();
    if (isBusy) workUntil = now + AFTER_WORK_MS;
    const isAtWork = now < workUntil;
    if (isAtWork !== isQuick) heap.preferSpeed(isAtWork);
    isQuick = isAtWork;
    const isWorthIt = resident - least >= Math.max(WORTH_BYTES, least * WORTH_PART);
    if (isAtWork || !isWorthIt || now < notBefore) return;
    heap.collect();
    const took = clock.monotonic() - now;
    notBefore = now + took * (1 + PAUSE_FACTOR);
    // What is left is held: it is not looked for again.
    least = heap.residentBytes();
  };
  let cancel = clock.after(LOOK_MS, look);
  return () => cancel();
}
