import { spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { OrphanGuard } from './orphan-guard.ts';

/** How a process ended. */
export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A process that leads a group of its own. */
export interface Child {
  readonly pid: number;
  /** None of the three throws when it breaks; reading or writing just ends. */
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves when it has ended; what it wrote may still be in the pipes. Nothing of its group is left then. */
  readonly exited: Promise<Exit>;
  /** Signals the whole group; harmless when it is gone. */
  kill(signal: NodeJS.Signals): void;
}

/**
 * Starts a process in a group of its own, which dies with this server.
 * @throws Error of `spawn`, with its `code`, when it cannot be started.
 */
export async function startChild(
  file: string,
  args: readonly string[],
  options: { env: Record<string, string>; cwd: string | undefined; guard: OrphanGuard },
): Promise<Child> {
  const child = spawn(file, args, {
    env: options.env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  const { pid } = child;
  if (pid === undefined) {
    await new Promise((_, reject) => child.once('error', reject));
    throw new Error(`${file} was not started`);
  }
  const release = options.guard.watch(pid);
  for (const stream of child.stdio) stream?.on('error', () => undefined);
  // Such as a signal that could not be sent.
  child.on('error', () => undefined);
  const kill = (signal: NodeJS.Signals): void => {
    try {
      process.kill(-pid, signal);
    } catch {
      // It is gone.
    }
  };
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => {
      // Whatever it started and left behind.
      kill('SIGKILL');
      release();
      resolve({ code, signal });
    });
  });
  return { pid, stdin: child.stdin, stdout: child.stdout, stderr: child.stderr, exited, kill };
}

/** How a process ended, in words for people. */
export function describeExit({ code, signal }: Exit): string {
  return signal === null ? `ended with exit code ${code ?? '?'}` : `was ended by ${signal}`;
}
