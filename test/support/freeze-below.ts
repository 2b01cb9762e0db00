import { readFileSync } from 'node:fs';
import { setImmediate as nextTick } from 'node:timers/promises';

/** How often a process is looked for without a pause: whatever else this one has to do would come too late. */
const LOOKS = 1_000;

/** Stops a process as soon as it is there: the first child, or its first child. @returns its id. */
export async function freezeBelow(pid: number, depth: number): Promise<number> {
  const deadline = performance.now() + 10_000;
  while (performance.now() < deadline) {
    await nextTick();
    for (let look = 0; look < LOOKS; look += 1) {
      let at = pid;
      for (let level = 0; level < depth && at > 0; level += 1) at = firstChildOf(at);
      if (at > 0 && signal(at, 'SIGSTOP')) return at;
    }
  }
  throw new Error('no process was started');
}

/** Lets it go on, if it was not killed meanwhile. */
export function thaw(pid: number): void {
  signal(pid, 'SIGCONT');
}

/** false: it has ended since it was seen. */
function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT'): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/** 0: there is none. */
function firstChildOf(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ')[0]);
  } catch {
    return 0;
  }
}
