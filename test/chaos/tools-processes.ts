import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** The processes that were started in a folder or below it, or by somebody who was, but for one. Linux only. */
export function processesIn(folder: string, except = -1): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== except && isFrom(folder, pid));
}

/** Ends processes that may have ended already. */
export function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
}

function isFrom(folder: string, pid: number): boolean {
  const files = [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`];
  return (
    files.some((file) => readOr(() => readFileSync(file, 'utf8')).includes(folder)) ||
    readOr(() => readlinkSync(`/proc/${pid}/cwd`)).includes(folder)
  );
}

function readOr(read: () => string): string {
  try {
    return read();
  } catch {
    // It is gone, or another's.
    return '';
  }
}
