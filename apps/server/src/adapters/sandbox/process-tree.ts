import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

/** How a tree of processes is ended. */
export interface TreeEnding {
  /** The process that was spawned, detached. */
  pid: number;
  /** Whether its first child is process 1 of a namespace; else it leads a group. */
  ownsNamespace: boolean;
  /** From SIGTERM until SIGKILL, in ms. */
  graceMs: number;
  /** Whether the spawned process has ended, so that there is nothing more to do. */
  hasEnded: () => boolean;
}

const POLL_MS = 20;
/** How long the spawned process may take to start its first child. */
const START_MS = 300;
/** How long what was killed, or whose children were, may take to be gone. */
const NOTICE_MS = 200;

/**
 * Ends a process with all that it started: SIGTERM first, SIGKILL after the grace.
 * In a namespace nothing escapes; of a group only what has left it does.
 */
export async function endTree(ending: TreeEnding): Promise<void> {
  const { pid, hasEnded } = ending;
  if (!ending.ownsNamespace) {
    signalOne(-pid, 'SIGTERM');
    await waitUntil(() => hasEnded() && !isAlive(-pid), ending.graceMs);
    await killGroup(pid);
    return;
  }
  let [first, ...others] = await descendants(pid);
  // Just spawned, it has started nothing yet: killed now, it would leave behind what it is about to start.
  const startBy = performance.now() + START_MS;
  while (first === undefined && !hasEnded() && performance.now() < startBy) {
    await delay(POLL_MS);
    [first, ...others] = await descendants(pid);
  }
  // The spawned process would take all the others with it at once; process 1 hears no SIGTERM.
  for (const other of others) signalOne(other, 'SIGTERM');
  if (first !== undefined && ending.graceMs > 0) await waitUntil(hasEnded, ending.graceMs);
  if (hasEnded()) return;
  // With process 1 the kernel ends the namespace before that process counts as dead, so the spawned one
  // ends when nothing is left; killed itself, it would end first.
  const [init] = await descendants(pid);
  if (init !== undefined) {
    signalOne(init, 'SIGKILL');
    await waitUntil(hasEnded, NOTICE_MS);
  }
  if (!hasEnded()) signalOne(pid, 'SIGKILL');
}

/** Kills a process group, and waits until it is gone; harmless when it is. */
export async function killGroup(pid: number): Promise<void> {
  signalOne(-pid, 'SIGKILL');
  await waitUntil(() => !isAlive(-pid), NOTICE_MS);
}

/** Whether a process exists; of a negative number: a group. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

function signalOne(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It is gone.
  }
}

/** What runs below a process, its first child first; empty where there is no /proc. */
async function descendants(root: number): Promise<number[]> {
  const children = new Map<number, number[]>();
  const names = await readdir('/proc').catch(() => []);
  await Promise.all(
    names.map(async (name) => {
      if (!/^[1-9]\d*$/.test(name)) return;
      const stat = await readFile(`/proc/${name}/stat`, 'latin1').catch(() => '');
      // `pid (name) state parent …`, where the name may hold anything.
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      if (!Number.isSafeInteger(parent)) return;
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    }),
  );
  const found: number[] = [];
  const waiting = [root];
  for (let pid = waiting.shift(); pid !== undefined; pid = waiting.shift()) {
    const below = (children.get(pid) ?? []).sort((a, b) => a - b);
    found.push(...below);
    waiting.push(...below);
  }
  return found;
}

async function waitUntil(isDone: () => boolean, ms: number): Promise<void> {
  const deadline = performance.now() + ms;
  while (!isDone() && performance.now() < deadline) await delay(POLL_MS);
}
