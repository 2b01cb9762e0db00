import { spawnSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Api } from '../support/api.ts';
import { type Run, type Server, Workspace } from '../support/duragent.ts';
import { type ModelServer, startModelServer } from '../support/model-server.ts';
import { needs } from '../support/needs.ts';
import { seededRandom } from '../support/random.ts';
import { readAllLogs } from '../support/session-log.ts';
import { ToolLedger } from '../support/tool-ledger.ts';
import { until } from '../support/until.ts';
import { commandOf } from './processes.ts';
import {
  callsOf,
  judgeTools,
  type ToolEvidence,
  type ToolFinding,
  windowsOf,
} from './tools-judge.ts';
import { loseTail } from './tools-lost-tail.ts';
import { actAt, nameOf, type ToolMoment, toolMoments } from './tools-moments.ts';
import { People } from './tools-people.ts';
import { killAll, processesIn } from './tools-processes.ts';
import { agentDocument, agentNames, BusyModel, policies } from './tools-work.ts';
import { Worker } from './tools-worker.ts';

export interface ToolCampaignOptions {
  seed: number;
  kills: number;
  /** Everything is let come to rest and checked after so many kills, and at the end. */
  checkEvery: number;
  /** Begins no kill after so long, in ms; 0: no limit. */
  maxMs?: number;
  /** Is told what happens. */
  tell?: (line: string) => void;
}

export interface ToolCampaignReport {
  findings: ToolFinding[];
  kills: string[];
  evidence: ToolEvidence;
  /** What the campaign saw, in numbers. */
  counts: Record<string, number>;
  elapsedMs: number;
  /** Where all files are; kept when something was found. */
  folder: string;
}

/** How long a moment is waited for, in ms. */
const MOMENT_MS = 1_500;
/** How long a process may outlive the server that it worked for, in ms: twice what it should, for slow machines. */
const OUTLIVE_MS = 2_000;
/** How long everything may take to come to rest, in ms. */
const REST_MS = 90_000;
/** How long a server may take to stop in order, in ms: it promises 8 s. */
const STOP_MS = 12_000;
/** How long people may take to decide, as agents are told. */
const APPROVALS_TIMEOUT = '12s';

/**
 * Kills servers while their agents run commands and ask people, and then compares what the commands
 * did with what the logs say. Linux only.
 */
export async function runToolCampaign(options: ToolCampaignOptions): Promise<ToolCampaignReport> {
  const campaign = await ToolCampaign.open(options);
  try {
    return await campaign.run();
  } finally {
    await campaign.close();
  }
}

/** The modes of the sandbox in which nothing is left of a server that is killed, as far as they work here. */
export function tidyModes(): string[] {
  const works = (...options: string[]): boolean => {
    const command = `setpriv --pdeathsig KILL -- unshare ${options.join(' ')} --fork --kill-child=KILL -- true`;
    return spawnSync('/bin/sh', ['-c', command], { stdio: 'ignore' }).status === 0;
  };
  const isTrustTidy = works('--pid') || works('--user', '--map-current-user', '--pid');
  return [...(needs('bwrap') ? ['bubblewrap'] : []), ...(isTrustTidy ? ['trust'] : [])];
}

class ToolCampaign {
  readonly #options: ToolCampaignOptions;
  readonly #random: () => number;
  readonly #workspace: Workspace;
  readonly #model: ModelServer;
  readonly #ledger: ToolLedger;
  readonly #people: People;
  readonly #workers: Worker[];
  readonly #sleeper: Worker;
  readonly #modes: readonly string[];
  readonly #kills: string[] = [];
  readonly #findings: ToolFinding[] = [];
  #server: Server | null = null;
  #evidence: ToolEvidence | null = null;
  #late = 0;
  #lostEvents = 0;
  #outlivedMs = 0;
  /** Ends are expected: a server that ends otherwise ended by itself. */
  #isKilling = false;

  private constructor(parts: {
    options: ToolCampaignOptions;
    workspace: Workspace;
    model: ModelServer;
    ledger: ToolLedger;
    modes: readonly string[];
  }) {
    const { options } = parts;
    // One for each, so that what is killed does not depend on how much is done.
    const stream = (number: number): (() => number) => seededRandom(16 * options.seed + number);
    this.#options = options;
    this.#random = stream(0);
    this.#workspace = parts.workspace;
    this.#model = parts.model;
    this.#ledger = parts.ledger;
    this.#modes = parts.modes;
    const model = new BusyModel(stream(1));
    parts.model.respond = ({ body }) => model.answer(body);
    const api = (): Api | null => this.#server?.api ?? null;
    this.#people = new People(api, stream(2));
    this.#workers = [0, 1, 2, 3].map((n) => {
      const agent = agentNames[n % 2] ?? 'free';
      const random = stream(3 + n);
      return new Worker({ agent, name: `w${n + 1}`, isFollowing: n < 2, server: api, random });
    });
    const asleep = { agent: 'asking', name: 'w0', isFollowing: true };
    this.#sleeper = new Worker({ ...asleep, server: api, random: stream(7) });
  }

  static async open(options: ToolCampaignOptions): Promise<ToolCampaign> {
    const model = await startModelServer({ keep: 1 });
    const workspace = await Workspace.create({});
    for (const name of agentNames) {
      const folder = path.join(workspace.dataDir, 'agents', name);
      await mkdir(folder, { recursive: true });
      await writeFile(path.join(folder, 'agent.yaml'), agentDocument(name, model.url));
      await writeFile(path.join(folder, 'policy.yaml'), policies[name]);
    }
    const folders = ['a', 'b'].map((name) => path.join(workspace.dir, `work-${name}`));
    const ledger = await ToolLedger.create(folders);
    return new ToolCampaign({ options, workspace, model, ledger, modes: tidyModes() });
  }

  async run(): Promise<ToolCampaignReport> {
    const { kills, checkEvery, maxMs = 0 } = this.#options;
    const startedAt = performance.now();
    const isOver = (): boolean =>
      this.#findings.length > 0 || (maxMs > 0 && performance.now() - startedAt > maxMs);
    try {
      await this.#ensureServer();
      await this.#sleeper.sleep();
      while (this.#kills.length < kills && !isOver()) {
        const end = Math.min(kills, this.#kills.length + checkEvery);
        let isResting = false;
        this.#people.isHurried = false;
        const work = Promise.all(this.#workers.map((worker) => worker.work(() => isResting)));
        // It is awaited below, after the last kill.
        work.catch(() => undefined);
        while (this.#kills.length < end && !isOver()) await this.#strike();
        isResting = true;
        await this.#check(work, this.#kills.length >= kills || isOver());
      }
      await this.#leave();
    } catch (error) {
      this.#find(`it broke off: ${error instanceof Error ? describe(error) : String(error)}`);
    }
    const evidence = this.#evidence ?? (await this.#gather());
    return {
      findings: this.#findings,
      kills: this.#kills,
      evidence,
      counts: this.#counts(evidence),
      elapsedMs: performance.now() - startedAt,
      folder: path.dirname(this.#workspace.dir),
    };
  }

  /** Ends every process; the files stay when something was found. */
  async close(): Promise<void> {
    this.#isKilling = true;
    const server = this.#server;
    await Promise.all([...this.#workers, this.#sleeper].map((worker) => worker.quit()));
    await this.#people.leave();
    await server?.run.kill();
    await this.#gone().catch(() => undefined);
    killAll(this.#processes());
    if (this.#findings.length === 0) await this.#workspace.close();
    await this.#model.close();
  }

  /** One kill, and what has to run for it. */
  async #strike(): Promise<void> {
    const moment = toolMoments[Math.floor(this.#random() * toolMoments.length)];
    const isOrderly = this.#random() < 0.12;
    if (moment === undefined) return;
    if (moment.kind === 'start') {
      await this.#killAsItStarts();
    } else {
      const { run } = await this.#ensureServer();
      if (moment.kind === 'random') await delay(this.#random() * 900);
      const isLate = await this.#killAt(moment, run, isOrderly ? 'SIGTERM' : 'SIGKILL');
      if (isLate && moment.kind !== 'random') this.#late += 1;
      // One that stops in order is now and then not let finish.
      if (isOrderly && this.#random() < 0.6) {
        await delay(this.#random() * 250);
        await run.kill();
      }
      this.#note(isOrderly ? `${nameOf(moment)}, SIGTERM` : nameOf(moment));
      await this.#down(run, isOrderly);
    }
    await this.#gone();
    this.#loseTails();
  }

  async #killAt(moment: ToolMoment, { child }: Run, signal: NodeJS.Signals): Promise<boolean> {
    const act = (): void => {
      this.#isKilling = true;
      child.kill(signal);
    };
    const places = {
      logs: this.#sessions().map((session) => this.#logOf(session)),
      ledger: this.#ledger,
      patienceMs: moment.kind === 'random' ? 0 : MOMENT_MS,
    };
    return await actAt(moment, places, this.#random, act);
  }

  async #killAsItStarts(): Promise<void> {
    const old = this.#server;
    this.#isKilling = true;
    this.#server = null;
    await old?.run.kill();
    const run = await this.#start();
    await delay(this.#random() * 1_500);
    await run.kill();
    this.#note(nameOf({ kind: 'start' }));
  }

  /** Waits for the end of a server that was told to end. */
  async #down(run: Run, isOrderly: boolean): Promise<void> {
    this.#server = null;
    if (isOrderly) {
      await until('the server stops', () => !run.isRunning, STOP_MS).catch(async () => {
        this.#find(`the server did not stop within ${STOP_MS / 1000} s`);
        await run.kill();
      });
    }
    await run.exit();
  }

  #note(moment: string): void {
    this.#kills.push(moment);
    this.#options.tell?.(`kill ${this.#kills.length}: ${moment}`);
  }

  async #ensureServer(): Promise<Server> {
    const running = this.#server;
    if (running?.run.isRunning === true) return running;
    if (running !== null && !this.#isKilling) {
      const { exitCode, signalCode } = running.run.child;
      const words = running.run.stderr.split('\n').slice(-20).join('\n');
      this.#find(`the server ended by itself (${exitCode ?? signalCode}): ${words}`);
    }
    const run = await this.#start();
    this.#server = await this.#workspace.ready(run);
    this.#isKilling = false;
    return this.#server;
  }

  /** Starts one that runs commands somewhere and somehow: what was allowed elsewhere may not run there. */
  async #start(): Promise<Run> {
    const pick = <T>(of: readonly T[]): T | undefined => of[Math.floor(this.#random() * of.length)];
    const [home = '', away = ''] = this.#ledger.folders;
    const workspace = this.#random() < 0.7 ? home : away;
    const sandbox = { mode: pick(this.#modes), workspace };
    const approvals = { timeout: APPROVALS_TIMEOUT };
    // JSON is YAML.
    await this.#workspace.configure(JSON.stringify({ sandbox, approvals }));
    return this.#workspace.run(['serve', '--port', '0']);
  }

  /** Waits until nothing is left of what a server ran, and notes how long that took. */
  async #gone(): Promise<void> {
    const since = performance.now();
    let left: number[] = [];
    // One that is becoming another program looks for a moment as if it had ended.
    for (let looks = 0; looks < 2 && performance.now() - since < OUTLIVE_MS; looks += 1) {
      await delay(5);
      left = this.#processes();
      if (left.length > 0) looks = -1;
    }
    this.#outlivedMs = Math.max(this.#outlivedMs, performance.now() - since);
    for (const pid of left) {
      const command = commandOf(pid);
      if (command !== '') {
        this.#find(`process ${pid} is left ${OUTLIVE_MS / 1000} s after its server: ${command}`);
      }
    }
  }

  /** All processes that belong to this workspace but its server. */
  #processes(): number[] {
    return processesIn(path.dirname(this.#workspace.dir), this.#server?.run.pid);
  }

  /** As if the machine had gone down, and what nobody has seen yet had not reached the disk. */
  #loseTails(): void {
    const tokens = new Set(this.#ledger.entries().map(({ token }) => token));
    const { asked } = this.#people;
    for (const { session, seenSeq, said } of [...this.#workers, this.#sleeper]) {
      if (session === null || this.#random() < 0.4) continue;
      const texts = said.map(({ text }) => `"${text}"`);
      const acks = new Set([...this.#people.acks.map(({ id }) => id), ...texts]);
      const seen = { seq: seenSeq, acks, asked, tokens };
      this.#lostEvents += loseTail(this.#workspace.sessionDir(session), seen, this.#random);
    }
  }

  /** Lets everything come to rest, and compares. */
  async #check(work: Promise<unknown>, isLast: boolean): Promise<void> {
    const server = await this.#ensureServer();
    this.#people.isHurried = true;
    this.#people.isLast = isLast;
    const resting = isLast ? Promise.all([work, this.#sleeper.leave()]) : work;
    const patience = delay(REST_MS, 'late' as const, { ref: false });
    if ((await Promise.race([resting, patience])) === 'late') {
      const { text } = await server.api.call('GET', '/api/v1/sessions?limit=1000');
      const busy = text.match(/"session":"[^"]+"[^{}]*"turn_state":"(?!idle)[^"]+"/g);
      this.#find(`not at rest after ${REST_MS / 1000} s: ${busy?.join('; ') ?? text}`);
    }
    const left = this.#processes();
    for (const pid of left) this.#find(`process ${pid} runs for no call: ${commandOf(pid)}`);
    if (isLast) await Promise.all(this.#workers.map((worker) => worker.leave()));
    this.#evidence = await this.#gather(isLast ? null : this.#sleeper.session);
    this.#findings.push(...judgeTools(this.#evidence));
    const followed = [...this.#workers, this.#sleeper].flatMap(({ follower, faults, session }) => [
      ...faults.splice(0),
      ...(follower?.faults.map((fault) => `${session}: ${fault}`) ?? []),
    ]);
    for (const fault of [...this.#people.faults.splice(0), ...followed]) this.#find(fault);
    const { length } = this.#findings;
    this.#options.tell?.(`checked after ${this.#kills.length} kills: ${length} findings`);
  }

  async #gather(waiting: string | null = null): Promise<ToolEvidence> {
    const logs = await readAllLogs(this.#workspace.dataDir).catch((error: unknown) => {
      this.#find(error instanceof Error ? error.message : String(error));
      return [];
    });
    return {
      logs,
      ledger: this.#ledger.entries(),
      acks: this.#people.acks,
      said: [...this.#workers, this.#sleeper].flatMap(({ said }) => said),
      waiting: new Set(waiting === null ? [] : [waiting]),
    };
  }

  /** Stops the server in order, and looks at what it said of itself. */
  async #leave(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    this.#isKilling = true;
    server.run.child.kill('SIGTERM');
    await this.#down(server.run, true);
    const { exitCode, signalCode } = server.run.child;
    if (exitCode !== 0) this.#find(`the server stopped with ${exitCode ?? signalCode}`);
    await this.#gone();
    const log = path.join(this.#workspace.dataDir, 'logs', 'server.log');
    const text = await readFile(log, 'utf8').catch(() => '');
    for (const line of text.split('\n')) {
      if (/"level":(?:50|60|"error"|"fatal")/.test(line)) this.#find(`the server's log: ${line}`);
    }
  }

  #sessions(): string[] {
    return this.#workers.flatMap(({ session }) => session ?? []);
  }

  #logOf(session: string): string {
    return path.join(this.#workspace.sessionDir(session), 'events.jsonl');
  }

  #find(what: string): void {
    this.#findings.push({ what, session: null, call: null });
  }

  #counts(evidence: ToolEvidence): Record<string, number> {
    return {
      kills: this.#kills.length,
      late: this.#late,
      'events lost': this.#lostEvents,
      ...windowsOf(callsOf(evidence), evidence.logs),
      acknowledged: evidence.acks.length,
      'ms that processes outlived a server, at most': Math.round(this.#outlivedMs),
    };
  }
}

function describe({ message, cause }: Error): string {
  return cause instanceof Error ? `${message}: ${cause.message}` : message;
}
