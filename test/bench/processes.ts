import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const READY_MS = 20_000;
const STOP_MS = 10_000;
const POLL_MS = 2;
/** Clock ticks per second of /proc: 100 on every architecture that Node is built for. */
const TICKS = 100;

/** A process of the bench. */
export interface Running {
  process: ChildProcess;
  pid: number;
  /** When it was spawned, on `performance.now()`. */
  startedAt: number;
  /** Rejects when it could not be started, else resolves with how it ended. */
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

/** Every process that the bench starts; those that are left are killed, by their ids, at its end. */
export class Processes implements Disposable {
  readonly #running = new Set<Running>();
  readonly #env: NodeJS.ProcessEnv;

  constructor(env: NodeJS.ProcessEnv) {
    this.#env = env;
  }

  /** Starts Node with `args`. What it says goes to `log`; with `talks`, its stdin and stdout are pipes. */
  start(
    args: readonly string[],
    options: { cwd: string; log: string; env?: NodeJS.ProcessEnv; talks?: boolean },
  ): Running {
    const log = openSync(options.log, 'a', 0o600);
    const startedAt = performance.now();
    const child = spawn(process.execPath, args, {
      cwd: options.cwd,
      env: { ...this.#env, ...options.env },
      stdio: options.talks ? ['pipe', 'pipe', log] : ['ignore', log, log],
    });
    closeSync(log);
    const ended = Promise.withResolvers<Awaited<Running['ended']>>();
    const running: Running = {
      process: child,
      pid: child.pid ?? 0,
      startedAt,
      ended: ended.promise,
    };
    ended.promise.catch(() => undefined); // heard by whoever waits for it
    this.#running.add(running);
    child.once('error', (error) => {
      this.#running.delete(running);
      ended.reject(error);
    });
    child.once('exit', (code, signal) => {
      this.#running.delete(running);
      ended.resolve({ code, signal });
    });
    return running;
  }

  /** Asks it to end, which lets it write its compile cache, and waits until it has. */
  async stop(running: Running): Promise<void> {
    running.process.kill('SIGTERM');
    const late = sleep(STOP_MS, null, { ref: false });
    const end = await Promise.race([running.ended, late]);
    if (end === null) throw new Error(`process ${running.pid} did not end within ${STOP_MS} ms`);
    if (end.code !== 0) throw new Error(`process ${running.pid} ended with ${JSON.stringify(end)}`);
  }

  /** `kill -9`, and waits until it is gone. */
  async kill(running: Running): Promise<void> {
    running.process.kill('SIGKILL');
    await running.ended;
  }

  [Symbol.dispose](): void {
    for (const { process: child } of this.#running) child.kill('SIGKILL');
  }
}

/** A port of loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  const listening = Promise.withResolvers<void>();
  server.once('error', listening.reject);
  server.listen(0, '127.0.0.1', () => listening.resolve());
  await listening.promise;
  const { port } = server.address() as AddressInfo;
  const closed = Promise.withResolvers<void>();
  server.close(() => closed.resolve());
  await closed.promise;
  return port;
}

/** Asks every 2 ms until `url` answers 200. @returns ms since the process was spawned */
export async function untilReady(running: Running, url: string): Promise<number> {
  await poll(running, async () => ((await statusOf(url)) === 200 ? true : null));
  return performance.now() - running.startedAt;
}

/** Tries every 2 ms until `attempt` gives something; fails when the process ends or time runs out. */
export async function poll<T>(running: Running, attempt: () => Promise<T | null>): Promise<T> {
  const deadline = performance.now() + READY_MS;
  for (;;) {
    const found = await attempt();
    if (found !== null) return found;
    const { exitCode, signalCode } = running.process;
    if (exitCode !== null || signalCode !== null) {
      throw new Error(`process ${running.pid} ended before it answered: ${exitCode ?? signalCode}`);
    }
    if (performance.now() > deadline) {
      throw new Error(`process ${running.pid} did not answer within ${READY_MS} ms`);
    }
    await sleep(POLL_MS);
  }
}

/** The status of a GET over a connection of its own; null: nobody listens yet. */
function statusOf(url: string): Promise<number | null> {
  const answered = Promise.withResolvers<number | null>();
  const asked = request(url, { agent: false }, (response) => {
    response.resume();
    answered.resolve(response.statusCode ?? null);
  });
  asked.once('error', () => answered.resolve(null));
  asked.end();
  return answered.promise;
}

/** CPU time that a process has used so far, user and system, all threads, in ms. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is the program's name in parentheses, which may hold blanks.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS;
}

/** Resident memory of a process, in MiB. */
export function residentMiB(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (match === null) throw new Error(`/proc/${pid}/status has no VmRSS`);
  return Number(match[1]) / 1024;
}
