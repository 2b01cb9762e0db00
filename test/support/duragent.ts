import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Api } from './api.ts';
import { programFile, programsVariable } from './programs.ts';
import { until } from './until.ts';

/** The program and first arguments that run `duragent`. */
export const duragentCommand = [
  process.execPath,
  // Only where it runs from its sources; the bundle has nothing to choose.
  '--conditions=@duragent/source',
  '--max-semi-space-size=8',
  programFile('duragent'),
] as const;

/** How a process ended. */
export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** From the call that waited for it, or ended it, in ms. */
  afterMs: number;
}

/** Processes that live; ended when this one ends, also when the test run is broken off. */
const alive = new Set<ChildProcess>();
process.on('exit', endAll);
// How a test worker is ended; the first of these would otherwise pass `exit` by.
process.once('SIGTERM', () => process.exit(1));
process.once('disconnect', endAll);

function endAll(): void {
  for (const child of alive) child.kill('SIGKILL');
}

/** One run of the `duragent` command. */
export class Run {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #startedAt = performance.now();
  readonly #ended: Promise<void>;

  constructor(args: readonly string[], options: { cwd: string; env: NodeJS.ProcessEnv }) {
    const [program, ...first] = duragentCommand;
    const stdio = ['ignore', 'pipe', 'pipe'] as const;
    this.child = spawn(program, [...first, ...args], { ...options, stdio: [...stdio] });
    alive.add(this.child);
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    const { promise, resolve } = Promise.withResolvers<void>();
    this.child.once('error', (error) => {
      this.stderr += String(error);
      resolve();
    });
    this.child.once('close', () => resolve());
    this.#ended = promise.then(() => void alive.delete(this.child));
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Waits for its end. */
  async exit(): Promise<Exit> {
    return await this.#exitSince(this.#startedAt);
  }

  /** Sends a signal and waits for the end. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    const since = performance.now();
    this.child.kill(signal);
    return await this.#exitSince(since);
  }

  async #exitSince(since: number): Promise<Exit> {
    await this.#ended;
    const { exitCode: code, signalCode: signal } = this.child;
    return { code, signal, afterMs: performance.now() - since };
  }
}

/** A server that can be reached. */
export interface Server {
  run: Run;
  url: string;
  api: Api;
}

/**
 * A temporary project folder with its data directory, and every process that runs in it. Closing it
 * ends those and removes the folder.
 */
export class Workspace {
  readonly dir: string;
  readonly dataDir: string;
  /** What its processes see of the environment; a test may add to it. */
  readonly env: NodeJS.ProcessEnv;
  readonly #runs: Run[] = [];

  private constructor(dir: string, env: NodeJS.ProcessEnv) {
    this.dir = dir;
    this.dataDir = path.join(dir, '.duragent');
    this.env = env;
  }

  /** @param agents `agent.yaml` of each agent, by its name; `name:` is added. */
  static async create(agents: Record<string, string> = { echo: 'model: echo' }) {
    const root = await realpath(await mkdtemp(path.join(os.tmpdir(), 'duragent-e2e-')));
    const home = path.join(root, 'home');
    const dir = path.join(root, 'project');
    await mkdir(home);
    await mkdir(dir);
    const workspace = new Workspace(dir, {
      PATH: process.env['PATH'],
      // As the first line of the command's file has it.
      MALLOC_ARENA_MAX: '1',
      HOME: home,
      // Where Node keeps what it compiled of the programs: it goes with these.
      TMPDIR: process.env[programsVariable] ?? os.tmpdir(),
      LANG: 'C.UTF-8',
      // A port that nobody listens on: no Ollama of this machine takes part.
      OLLAMA_HOST: '127.0.0.1:1',
      NO_COLOR: '1',
    });
    for (const [name, yaml] of Object.entries(agents)) await workspace.writeAgent(name, yaml);
    return workspace;
  }

  async writeAgent(name: string, yaml: string): Promise<void> {
    const folder = path.join(this.dataDir, 'agents', name);
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, 'agent.yaml'), `name: ${name}\n${yaml}\n`);
  }

  /** Writes `duragent.yaml`. */
  async configure(yaml: string): Promise<void> {
    await writeFile(path.join(this.dir, 'duragent.yaml'), yaml);
  }

  /** Runs any command. */
  run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Run {
    const run = new Run(args, { cwd: this.dir, env: { ...this.env, ...env } });
    this.#runs.push(run);
    return run;
  }

  /** Starts `duragent serve` on a free port, and waits until it can be reached. */
  async serve(args: readonly string[] = ['--port', '0']): Promise<Server> {
    return await this.ready(this.run(['serve', ...args]));
  }

  /** Waits until a server that was started says where it listens. */
  async ready(run: Run): Promise<Server> {
    const url = await until('the server says where it listens', () => {
      if (!run.isRunning) throw new Error(`it ended: ${run.stdout}${run.stderr}`);
      return /^Duragent listens on (\S+)/m.exec(run.stdout)?.[1];
    });
    return { run, url: url ?? '', api: new Api(url ?? '', await this.token()) };
  }

  /** The file token. */
  async token(): Promise<string> {
    return (await readFile(path.join(this.dataDir, 'auth', 'token'), 'utf8')).trim();
  }

  sessionDir(session: string): string {
    return path.join(this.dataDir, 'sessions', session);
  }

  /** The server that clients started by themselves, if its process lives. */
  async backgroundPid(): Promise<number | null> {
    try {
      const text = await readFile(path.join(this.dataDir, 'run', 'server.json'), 'utf8');
      const { pid } = JSON.parse(text) as { pid: number };
      process.kill(pid, 0);
      return pid;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ESRCH') return null;
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#runs.filter((run) => run.isRunning).map((run) => run.kill()));
    const pid = await this.backgroundPid();
    if (pid !== null) process.kill(pid, 'SIGKILL');
    const root = path.dirname(this.dir);
    await rm(root, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }
}
