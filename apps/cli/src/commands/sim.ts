import { spawn } from 'node:child_process';
import { constants as modes } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { constants } from 'node:os';
import path from 'node:path';
import { DuragentError, namePattern } from '@duragent/protocol';
import type { CliContext } from '../context.ts';

/**
 * `duragent sim <platform>`: the platform's simulator, which comes with its gateway, in the
 * foreground. @returns what it ended with
 */
export async function simulate(
  context: CliContext,
  platform: string,
  args: readonly string[],
): Promise<number> {
  if (!namePattern.test(platform)) {
    throw new DuragentError('usage', 'Name a platform: duragent sim telegram --port 8081');
  }
  const command = `duragent-gateway-${platform}`;
  const file = await findCommand(command, context);
  if (file === null) {
    throw new DuragentError(
      'failed',
      `There is no ${command} on PATH or in node_modules/.bin; the simulator comes with the gateway: npm install @duragent/gateway-${platform}`,
    );
  }
  // A script that asks for `node` gets this one.
  const PATH = [path.dirname(process.execPath), context.env['PATH'] ?? ''].join(path.delimiter);
  const child = spawn(file, ['simulate', ...args], {
    cwd: context.cwd,
    env: { ...context.env, PATH },
    stdio: 'inherit',
  });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.once('error', reject);
  child.once('exit', (code, signal) => {
    resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
  });
  const forward = (signal: NodeJS.Signals): void => {
    // Ctrl-C reaches the whole foreground, the simulator too; a second one would end it at once.
    if (signal !== 'SIGINT' || context.stdin.isTTY !== true) child.kill(signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, forward);
  try {
    return await promise;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DuragentError('failed', `${file} could not be started: ${reason}`, { cause });
  } finally {
    for (const signal of signals) process.off(signal, forward);
  }
}

/** The first in PATH, then in node_modules/.bin above the working directory and above this program. */
async function findCommand(name: string, context: CliContext): Promise<string | null> {
  const dirs = [
    ...(context.env['PATH'] ?? '').split(path.delimiter).filter((dir) => path.isAbsolute(dir)),
    ...binDirsAbove(context.cwd),
    ...binDirsAbove(import.meta.dirname),
  ];
  for (const dir of dirs) {
    const file = path.join(dir, name);
    if (await isProgram(file)) return file;
  }
  return null;
}

async function isProgram(file: string): Promise<boolean> {
  try {
    await access(file, modes.X_OK);
    return (await stat(file)).isFile();
  } catch {
    // Whatever it is that cannot be run, another folder may have one that can.
    return false;
  }
}

function binDirsAbove(folder: string): string[] {
  const dirs: string[] = [];
  for (let at = path.resolve(folder); ; at = path.dirname(at)) {
    dirs.push(path.join(at, 'node_modules', '.bin'));
    if (path.dirname(at) === at) return dirs;
  }
}
