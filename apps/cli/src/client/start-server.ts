import { spawn, type ChildProcess } from 'node:child_process';
import { chmod, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DuragentError } from '@duragent/protocol';
import { exitCodes, isErrorCode } from '../exit-codes.ts';
import { sanitize } from '../terminal/sanitize.ts';
import { findServer, type FoundServer } from './find-server.ts';

export interface StartServer {
  dataDir: string;
  /** Arguments after `serve`. Never a token: what is in argv, everyone on the machine can read. */
  args: readonly string[];
  /** The program and its first arguments; default: this very command. */
  command?: readonly [string, ...string[]];
  env: NodeJS.ProcessEnv;
  cwd: string;
  signal: AbortSignal;
  /** How long until it is ready, in ms; default 15 s. */
  patienceMs?: number;
}

const PATIENCE_MS = 15_000;
const POLL_MS = 50;
/** Another holds the lock: it is about to be ready, or about to go. */
const TRY_AGAIN_MS = 500;
const TAIL_BYTES = 4_096;
const TAIL_LINES = 12;

/**
 * Starts the workspace's server in the background and resolves when it is ready. Of several that
 * start one at once, those whose server finds the directory locked wait for the other's; `started`
 * says whose it is.
 * @throws DuragentError with the code that the server ended with, and the end of its log
 */
export async function startServer(
  options: StartServer,
): Promise<{ server: FoundServer & { state: 'up' }; started: boolean }> {
  const { dataDir, signal, patienceMs = PATIENCE_MS } = options;
  const deadline = Date.now() + patienceMs;
  const logPath = join(dataDir, 'logs', 'server.log');
  let child = await launch(options, logPath);
  let lockedAt: number | null = null;
  try {
    for (;;) {
      const found = await findServer(dataDir, { signal });
      if (found.state === 'up' && found.ready) {
        return { server: found, started: found.file.pid === child.process.pid };
      }
      if (child.ended()) {
        if (child.process.exitCode !== exitCodes.locked) throw await failure(child, logPath);
        lockedAt ??= Date.now();
        if (Date.now() - lockedAt > TRY_AGAIN_MS) {
          child = await launch(options, logPath);
          lockedAt = null;
        }
      }
      if (Date.now() > deadline) throw await tooLate(child, found, logPath, patienceMs);
      await sleep(POLL_MS, undefined, { signal });
    }
  } finally {
    child.process.unref();
  }
}

/**
 * The memory of all threads comes from one place (glibc; others do not know it). With one for each
 * thread, as glibc has it by itself, what V8's compiler gives back leaves holes of some 15 MB.
 */
const ONE_ARENA = { MALLOC_ARENA_MAX: '1' };

interface Child {
  process: ChildProcess;
  /** Where in the log its output begins. */
  logStart: number;
  ended(): boolean;
  /** Why it could not be started at all. */
  fault(): Error | null;
}

async function launch(options: StartServer, logPath: string): Promise<Child> {
  await mkdir(join(options.dataDir, 'logs'), { recursive: true, mode: 0o700 });
  const log = await open(logPath, 'a', 0o600);
  try {
    await chmod(logPath, 0o600);
    const logStart = (await log.stat()).size;
    const [program, ...first] = options.command ?? thisCommand();
    const child = spawn(program, [...first, 'serve', ...options.args], {
      cwd: options.cwd,
      env: { ...ONE_ARENA, ...options.env },
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
    let fault: Error | null = null;
    child.on('error', (error) => (fault = error));
    return {
      process: child,
      logStart,
      ended: () => child.exitCode !== null || child.signalCode !== null || fault !== null,
      fault: () => fault,
    };
  } finally {
    await log.close();
  }
}

/**
 * The same Node with the same flags and the same script as this process. What is young is collected
 * in 8 MiB pieces (Node: up to 64): a burst of work takes less memory, and some more time.
 */
function thisCommand(): [string, ...string[]] {
  return [process.execPath, '--max-semi-space-size=8', ...process.execArgv, process.argv[1] ?? ''];
}

async function failure(child: Child, logPath: string): Promise<DuragentError> {
  const fault = child.fault();
  if (fault !== null) {
    return new DuragentError('failed', `The server could not be started: ${fault.message}`, {
      cause: fault,
    });
  }
  const { exitCode, signalCode } = child.process;
  const code = codeOf(exitCode);
  const how = signalCode === null ? `ended with ${String(exitCode)}` : `was ended by ${signalCode}`;
  return new DuragentError(
    code,
    `The server ${how} before it was ready.${await tail(child, logPath)}`,
    {
      details: { exitCode, signal: signalCode },
    },
  );
}

async function tooLate(
  child: Child,
  found: FoundServer,
  logPath: string,
  patienceMs: number,
): Promise<DuragentError> {
  const seconds = String(Math.round(patienceMs / 1000));
  const holder = 'file' in found && found.file.pid !== child.process.pid ? found.file.pid : null;
  const message =
    holder === null
      ? `The server was not ready within ${seconds} s. Look at its log.`
      : `Process ${String(holder)} holds this workspace, and was not ready within ${seconds} s. \`duragent serve stop\` ends it.`;
  return new DuragentError('no_server', message + (await tail(child, logPath)));
}

/** Which error stands for this exit code in what this process then ends with. */
function codeOf(exitCode: number | null): DuragentError['code'] {
  const known = Object.entries(exitCodes).find(([, value]) => value === exitCode && value !== 1);
  const code = known?.[0];
  return isErrorCode(code) ? code : 'failed';
}

/** The last lines that this start wrote to the log, and where the log is. */
async function tail(child: Child, logPath: string): Promise<string> {
  const log = await open(logPath, 'r');
  try {
    const { size } = await log.stat();
    const from = Math.max(child.logStart, size - TAIL_BYTES);
    const { buffer, bytesRead } = await log.read(Buffer.alloc(Math.max(0, size - from)), {
      position: from,
    });
    const text = sanitize(buffer.subarray(0, bytesRead).toString('utf8')).trim();
    const lines = text === '' ? [] : text.split('\n').slice(-TAIL_LINES);
    return `\n${lines.map((line) => `  ${line}\n`).join('')}Its log: ${logPath}`;
  } finally {
    await log.close();
  }
}
