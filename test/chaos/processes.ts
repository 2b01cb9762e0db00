import { readdirSync, readFileSync } from 'node:fs';

/** A process, told from a later one with the same id. */
export interface Process {
  pid: number;
  parent: number;
  /** Clock ticks from the machine's start. */
  startedAt: string;
}

/** Every process of this machine, from /proc: Linux only. */
function listProcesses(): Process[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    const found = readProcess(Number(name));
    return found === null ? [] : [found];
  });
}

/** The processes below one, its children first. */
export function processesBelow(pid: number): Process[] {
  const all = listProcesses();
  const found: Process[] = [];
  for (let above = [pid]; above.length > 0;) {
    const below = all.filter(({ parent }) => above.includes(parent));
    found.push(...below);
    above = below.map((one) => one.pid);
  }
  return found;
}

/** Whether it lives; one that ended and was not waited for does not. */
export function isAlive({ pid, startedAt }: Pick<Process, 'pid' | 'startedAt'>): boolean {
  return readProcess(pid)?.startedAt === startedAt;
}

/** Its words, joined by spaces; '' when it is gone. */
export function commandOf(pid: number): string {
  return readOf(pid, 'cmdline').replaceAll('\0', ' ').trim();
}

/** Resident memory, in bytes; 0 when it is gone. */
export function memoryOf(pid: number): number {
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(readOf(pid, 'status'))?.[1] ?? 0);
}

function readProcess(pid: number): Process | null {
  const stat = readOf(pid, 'stat');
  // The name in parentheses may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, parent] = fields;
  if (state === undefined || parent === undefined || state === 'Z' || state === 'X') return null;
  return { pid, parent: Number(parent), startedAt: fields[19] ?? '' };
}

function readOf(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}
