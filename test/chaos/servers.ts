import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Api } from '../support/api.ts';
import type { Run, Server, Workspace } from '../support/duragent.ts';
import { until } from '../support/until.ts';
import { commandOf, isAlive, memoryOf, type Process, processesBelow } from './processes.ts';

/** How long a server may take to stop in order, in ms: it promises 8 s. */
const STOP_MS = 12_000;
/** How long a gateway that was killed is waited for, in ms: the pause before its start is up to 2 s. */
const GATEWAY_MS = 3_500;
const POLL_MS = 50;

/** The servers of a workspace, one after the other, and all that is seen to run below them. */
export class Servers {
  readonly #workspace: Workspace;
  readonly #find: (what: string) => void;
  /** Every process that was seen below a server. */
  readonly #seen = new Map<string, Process>();
  #server: Server | null = null;
  #peakMemory = 0;
  /** Ends are expected: a server that ends otherwise ended by itself. */
  isKilling = false;
  /** Kills of the gateway that this server has seen. */
  gatewayKills = 0;

  /** @param find is told what servers did that they should not have. */
  constructor(workspace: Workspace, find: (what: string) => void) {
    this.#workspace = workspace;
    this.#find = find;
  }

  /** Of the server that was started last; null: there is none. */
  get api(): Api | null {
    return this.#server?.api ?? null;
  }

  /** The most that any server was seen to take, in bytes. */
  get peakMemory(): number {
    return this.#peakMemory;
  }

  /** One that runs. */
  async ensure(): Promise<Server> {
    const running = this.#server;
    if (running?.run.isRunning === true) return running;
    if (running !== null) this.#endedByItself(running.run);
    this.isKilling = false;
    const run = this.#workspace.run(['serve', '--port', '0']);
    this.#server = await this.#workspace.ready(run);
    this.gatewayKills = 0;
    return this.#server;
  }

  #endedByItself(run: Run): void {
    if (this.isKilling) return;
    const { exitCode, signalCode } = run.child;
    const words = run.stderr.split('\n').slice(-20).join('\n');
    this.#find(`the server ended by itself (${exitCode ?? signalCode}): ${words}`);
  }

  /** Kills the one that runs, and another one so many ms after its start. */
  async killAsItStarts(afterMs: number): Promise<void> {
    const old = this.#server;
    this.isKilling = true;
    this.#server = null;
    await old?.run.kill();
    const run = this.#workspace.run(['serve', '--port', '0']);
    await delay(afterMs);
    this.look(run.pid);
    await run.kill();
  }

  /** The gateway's process below a server, once `program` runs; null: it does not in time. */
  async gatewayOf({ run }: Server, program: string): Promise<Process | null> {
    const end = performance.now() + GATEWAY_MS;
    while (performance.now() < end) {
      const found = processesBelow(run.pid).find(({ pid }) => commandOf(pid).includes(program));
      if (found !== undefined) return found;
      await delay(POLL_MS);
    }
    return null;
  }

  /** Remembers what runs below a server, and how much memory that one takes. */
  look(pid: number): void {
    for (const one of processesBelow(pid)) this.#seen.set(`${one.pid}/${one.startedAt}`, one);
    this.#peakMemory = Math.max(this.#peakMemory, memoryOf(pid));
  }

  /** Waits for a server's end, which was asked for. */
  async gone(run: Run): Promise<void> {
    await until('the server is gone', () => !run.isRunning, STOP_MS).catch(async () => {
      this.#find(`the server did not stop within ${STOP_MS / 1000} s`);
      await run.kill();
    });
    await run.exit();
    this.#server = null;
  }

  /** Stops the server in order, and looks for what is left. */
  async leave(): Promise<void> {
    const server = this.#server;
    if (server !== null) {
      this.isKilling = true;
      server.run.child.kill('SIGTERM');
      await this.gone(server.run);
      const { exitCode, signalCode } = server.run.child;
      if (exitCode !== 0) this.#find(`the server stopped with ${exitCode ?? signalCode}`);
    }
    const left = (): Process[] => [...this.#seen.values()].filter(isAlive);
    await until('no process is left', () => left().length === 0, 5_000).catch(() => {
      for (const { pid } of left()) this.#find(`process ${pid} is left: ${commandOf(pid)}`);
    });
    for (const line of errorsIn(path.join(this.#workspace.dataDir, 'logs', 'server.log'))) {
      this.#find(`the server's log: ${line}`);
    }
  }

  /** Kills the one that runs, if one does. */
  async kill(): Promise<void> {
    await this.#server?.run.kill();
  }
}

/** What a server says of itself that should not be. */
function errorsIn(file: string): string[] {
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return [];
  }
  return text.split('\n').filter((line) => /"level":(?:50|60|"error"|"fatal")/.test(line));
}
