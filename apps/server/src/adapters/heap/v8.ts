import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Heap } from '../../ports/heap.ts';

/** The young generation may grow while much in it survives, and code is compiled at once and again well. */
const QUICK = ['--semi-space-growth-factor=2', '--maglev'];
const SMALL = ['--semi-space-growth-factor=1', '--no-maglev'];

/** V8's heap of this process. The flags are V8's own and no interface of Node: what they do is tested. */
export function v8Heap(): Heap {
  // Garbage is collected when the old generation has grown so far; by itself V8 lets it grow to a
  // multiple. Less costs time: at 20 a turn beside 64 others took 15 % more CPU.
  setFlagsFromString('--heap-growing-percent=30');
  // Each of the threads that compile takes megabytes while it does; more of them measured no quicker.
  setFlagsFromString('--concurrent-turbofan-max-threads=1');
  let before = process.threadCpuUsage();
  let since = process.hrtime.bigint();
  return {
    residentBytes: () => process.memoryUsage.rss(),
    utilization: () => {
      const now = process.hrtime.bigint();
      const { user, system } = process.threadCpuUsage(before);
      const part = ((user + system) * 1000) / Number(now - since);
      before = process.threadCpuUsage();
      since = now;
      return part;
    },
    preferSpeed: (isPreferred) => {
      for (const flag of isPreferred ? QUICK : SMALL) setFlagsFromString(flag);
    },
    collect: () => collector()({ type: 'major', flavor: 'last-resort' }),
  };
}

type Collector = (options: { type: 'major'; flavor: 'last-resort' }) => void;
let known: Collector | null = null;

/** V8's own, which new contexts have while the flag is set; a V8 that has none goes on as it would by itself. */
function collector(): Collector {
  if (known === null) {
    setFlagsFromString('--expose-gc');
    known = runInNewContext("typeof gc === 'function' ? gc : () => {}") as Collector;
    setFlagsFromString('--no-expose-gc');
  }
  return known;
}
