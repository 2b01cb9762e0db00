import { readFile } from 'node:fs/promises';

let bootId: Promise<string> | null = null;

/**
 * What tells a process from all others that ever have its number: when it was started, and in
 * which run of the machine. null: it is gone, or the system does not say.
 */
export async function birthOf(pid: number): Promise<string | null> {
  try {
    bootId ??= readFile('/proc/sys/kernel/random/boot_id', 'latin1');
    // The start is field 22 of all.
    const start = (await fieldsOf(pid))[19];
    return start === undefined ? null : `${(await bootId).trim()}:${start}`;
  } catch {
    return null;
  }
}

/** Whether a number is still that of the same process. Without a birth nobody can say: it is not. */
export async function isSame(pid: number, birth: string | null): Promise<boolean> {
  return birth !== null && (await birthOf(pid)) === birth;
}

/** Whether a process is there and has not ended; one that has may wait long until its parent looks. */
export async function isRunning(pid: number): Promise<boolean> {
  try {
    const [state] = await fieldsOf(pid);
    return state !== 'Z' && state !== 'X';
  } catch {
    // Gone, or a system without /proc.
  }
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** What the system says of a process, from its state on. */
async function fieldsOf(pid: number): Promise<string[]> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
  // `pid (name) state parent …`, where the name may hold anything.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}
