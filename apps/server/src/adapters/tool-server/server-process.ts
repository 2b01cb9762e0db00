import { spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';

/** How a process ended. */
export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** The process of a server. */
export interface ServerProcess {
  readonly pid: number;
  /** None of the three throws when it breaks; reading or writing just ends. */
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves when it has ended; what it wrote may still be in the pipes. Nothing that it started is left then. */
  readonly exited: Promise<Exit>;
  /** Signals it and all that it started; harmless when it is gone. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
}

/**
 * Starts a server. `env` is its whole environment. `openGate`: it begins when this has been given
 * its fourth stream.
 * @throws Error of the system, with its `code`, when it cannot be started.
 */
export type SpawnServer = (
  argv: readonly string[],
  options: {
    env: Readonly<Record<string, string>>;
    cwd: string;
    openGate?: ((stream: unknown) => void) | null;
  },
) => Promise<ServerProcess>;

/**
 * Starts servers as processes, each in a group of its own. `watch` is told the group of each, and
 * what it gives is called when the group is gone.
 */
export function spawnInGroups(watch: (group: number) => () => void): SpawnServer {
  return async ([file = '', ...args], { env, cwd, openGate = null }) => {
    const child = spawn(file, args, {
      env,
      cwd,
      stdio: ['pipe', 'pipe', 'pipe', openGate ? 'pipe' : 'ignore'],
      detached: true,
    });
    const { pid, stdin, stdout, stderr } = child;
    if (pid === undefined || stdin === null || stdout === null || stderr === null) {
      await new Promise((_, reject) => child.once('error', reject));
      throw new Error(`${file} was not started`);
    }
    const release = watch(pid);
    // Not before it is watched.
    openGate?.(child.stdio[3]);
    for (const stream of child.stdio) stream?.on('error', () => undefined);
    // Such as a signal that could not be sent.
    child.on('error', () => undefined);
    const signalGroup = (signal: NodeJS.Signals): void => {
      try {
        process.kill(-pid, signal);
      } catch {
        // It is gone.
      }
    };
    let isGone = false;
    const exited = new Promise<Exit>((resolve) => {
      child.once('exit', (code, signal) => {
        // Whatever it started and left behind.
        signalGroup('SIGKILL');
        isGone = true;
        release();
        resolve({ code, signal });
      });
    });
    // Its number may be another's later.
    const kill = (signal: NodeJS.Signals): void => {
      if (!isGone) signalGroup(signal);
    };
    return { pid, stdin, stdout, stderr, exited, kill };
  };
}

/** How a process ended, in words for people. */
export function describeExit({ code, signal }: Exit): string {
  return signal === null ? `ended with exit code ${code ?? '?'}` : `was ended by ${signal}`;
}
