import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  startTelegramSimulator,
  type TelegramSimulator,
} from '../../gateways/telegram/simulator/simulator.ts';
import { type Run, type Server, Workspace } from '../support/duragent.ts';
import { modelAgent } from '../support/model-agent.ts';
import { startModelServer, type ModelServer } from '../support/model-server.ts';
import { programFile } from '../support/programs.ts';
import { seededRandom } from '../support/random.ts';
import { until } from '../support/until.ts';
import { answerOf, type GivenAnswer, streamOf } from './answers.ts';
import { Crowd } from './crowd.ts';
import { gatherEvidence, outboxOf, type Evidence } from './evidence.ts';
import { judge, type Finding } from './judge.ts';
import { Lookout, type Moment, moments, nameOf } from './moments.ts';
import { commandOf, isAlive, memoryOf, type Process, processesBelow } from './processes.ts';
import { addTroubles } from './troubles.ts';

export interface CampaignOptions {
  seed: number;
  kills: number;
  /** Everything is let come to rest and checked after so many kills, and at the end. */
  checkEvery: number;
  /** Begins no kill after so long, in ms; 0: no limit. */
  maxMs?: number;
  /** Is told what happens. */
  tell?: (line: string) => void;
}

/** One kill. */
export interface Kill {
  n: number;
  /** In ms since 1970. */
  at: number;
  victim: Victim;
  moment: string;
  /** The moment did not come in time: it was killed anyway. */
  isLate: boolean;
}

type Random = () => number;
type Victim = 'gateway' | 'server' | 'server by SIGTERM' | 'both';

export interface CampaignReport {
  findings: Finding[];
  kills: Kill[];
  evidence: Evidence;
  /** What the campaign saw, in numbers. */
  counts: Record<string, number>;
  elapsedMs: number;
  /** Where all files are; kept when something was found. */
  folder: string;
}

const gatewayBin = programFile('@duragent/gateway-telegram');
/** How long a moment is waited for, in ms. */
const MOMENT_MS = 1_800;
/** How long a gateway that was killed is waited for, in ms: the pause before its start is up to 2 s. */
const GATEWAY_MS = 3_500;
/** Kills of the gateway that one server sees: with more than five in a minute it pauses for five. */
const MAX_GATEWAY_KILLS = 3;
/** How long everything may take to come to rest, in ms. */
const REST_MS = 120_000;
/** How long a server may take to stop in order, in ms: it promises 8 s. */
const STOP_MS = 12_000;
const POLL_MS = 50;
const REST_POLL_MS = 200;
/** What a server may take, in bytes. */
const MAX_MEMORY = 768 * 1024 * 1024;

/**
 * Kills the processes of a workspace at random and at named moments, while people speak with its
 * bot on a simulated Telegram, and then compares what they see with what the logs say. Linux only.
 */
export async function runCampaign(options: CampaignOptions): Promise<CampaignReport> {
  const campaign = await Campaign.open(options);
  try {
    return await campaign.run();
  } finally {
    await campaign.close();
  }
}

class Campaign {
  readonly #options: CampaignOptions;
  readonly #random: Random;
  readonly #workspace: Workspace;
  readonly #simulator: TelegramSimulator;
  readonly #model: ModelServer;
  readonly #crowd: Crowd;
  readonly #lookout: Lookout;
  readonly #given: GivenAnswer[];
  readonly #kills: Kill[] = [];
  readonly #findings: Finding[] = [];
  /** Every process that was seen below a server. */
  readonly #seen = new Map<string, Process>();
  #server: Server | null = null;
  #gatewayKills = 0;
  #peakMemory = 0;
  #restMemory = 0;
  #evidence: Evidence | null = null;
  /** Ends are expected: a server that ends otherwise ended by itself. */
  #isKilling = false;

  private constructor(parts: {
    options: CampaignOptions;
    random: Random;
    workspace: Workspace;
    simulator: TelegramSimulator;
    model: ModelServer;
    crowd: Crowd;
    given: GivenAnswer[];
    lookout: Lookout;
  }) {
    this.#options = parts.options;
    this.#random = parts.random;
    this.#workspace = parts.workspace;
    this.#simulator = parts.simulator;
    this.#model = parts.model;
    this.#given = parts.given;
    this.#lookout = parts.lookout;
    this.#crowd = parts.crowd;
    this.#lookout.onShown = (text) => {
      const mark = /To (m\d+q):/.exec(text)?.[1];
      if (mark !== undefined) this.#crowd.answered(mark);
    };
  }

  static async open(options: CampaignOptions): Promise<Campaign> {
    // One for each, so that what is killed does not depend on how much is said.
    const stream = (number: number): Random => seededRandom(4 * options.seed + number);
    const [random, ofModel, ofLookout, ofCrowd] = [stream(0), stream(1), stream(2), stream(3)];
    const model = await startModelServer({ keep: 1 });
    const given: GivenAnswer[] = [];
    model.respond = ({ body }) => {
      const answer = answerOf(given.length + 1, questionsOf(body), ofModel);
      given.push(answer);
      return streamOf(answer, ofModel);
    };
    const workspace = await Workspace.create({ answerer: agentAt(model.url) });
    const lookout = new Lookout(workspace.dataDir, ofLookout);
    const simulator = await startTelegramSimulator({ seed: options.seed, onCall: lookout.onCall });
    await workspace.configure(configOf(simulator));
    const crowd = new Crowd(simulator.control, ofCrowd);
    return new Campaign({ options, random, workspace, simulator, model, crowd, given, lookout });
  }

  async run(): Promise<CampaignReport> {
    const { kills, checkEvery, maxMs = 0 } = this.#options;
    const startedAt = performance.now();
    const isOver = (): boolean =>
      this.#findings.length > 0 || (maxMs > 0 && performance.now() - startedAt > maxMs);
    while (this.#kills.length < kills && !isOver()) {
      addTroubles(this.#simulator.control);
      this.#crowd.speak();
      const end = Math.min(kills, this.#kills.length + checkEvery);
      try {
        while (this.#kills.length < end && !isOver()) await this.#strike();
        await this.#crowd.silence();
        await this.#check();
      } catch (error) {
        // Such as a server that does not start.
        this.#find(`it broke off: ${error instanceof Error ? describe(error) : String(error)}`);
      }
    }
    await this.#leave();
    return {
      findings: this.#findings,
      kills: this.#kills,
      evidence: this.#evidence ?? (await this.#gather()),
      counts: this.#counts(),
      elapsedMs: performance.now() - startedAt,
      folder: path.dirname(this.#workspace.dir),
    };
  }

  /** Ends every process; the files stay when something was found. */
  async close(): Promise<void> {
    this.#isKilling = true;
    await this.#crowd.silence();
    this.#lookout.disarm();
    await this.#server?.run.kill();
    if (this.#findings.length === 0) await this.#workspace.close();
    await this.#simulator.close();
    await this.#model.close();
  }

  /** One kill, and what has to run for it. */
  async #strike(): Promise<void> {
    const moment = moments[Math.floor(this.#random() * moments.length)] ?? { kind: 'random' };
    const chance = this.#random();
    if (moment.kind === 'start') {
      await this.#killAsItStarts();
      return;
    }
    const server = await this.#ensureServer();
    const wanted = victimOf(moment, chance);
    const isSpared = this.#gatewayKills >= MAX_GATEWAY_KILLS;
    const isMeant = wanted === 'both' || (wanted === 'gateway' && !isSpared);
    const gateway = isMeant ? await this.#gatewayOf(server) : null;
    const victim = wanted === 'gateway' && gateway === null ? 'server' : wanted;
    this.#remember(server.run.pid);
    const isLate = await this.#wait(moment, () => {
      if (gateway !== null && isAlive(gateway)) process.kill(gateway.pid, 'SIGKILL');
      if (victim === 'gateway') return;
      this.#isKilling = true;
      server.run.child.kill(victim === 'server by SIGTERM' ? 'SIGTERM' : 'SIGKILL');
    });
    this.#note({ victim, moment: nameOf(moment), isLate });
    if (victim === 'gateway') {
      this.#gatewayKills += 1;
      return;
    }
    // One that stops in order is now and then not let finish.
    if (victim === 'server by SIGTERM' && this.#random() < 0.5) {
      await delay(this.#random() * 150);
      await server.run.kill();
    }
    await this.#gone(server.run);
    this.#server = null;
  }

  /** Waits for a server's end, which was asked for. */
  async #gone(run: Run): Promise<void> {
    await until('the server is gone', () => !run.isRunning, STOP_MS).catch(async () => {
      this.#find(`the server did not stop within ${STOP_MS / 1000} s`);
      await run.kill();
    });
    await run.exit();
  }

  /** Waits for a moment, and acts in it; acts anyway when it does not come. @returns whether it did not. */
  async #wait(moment: Moment, act: () => void): Promise<boolean> {
    if (moment.kind === 'random') {
      await delay(this.#random() * 900);
      act();
      return false;
    }
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#lookout.arm(moment, () => {
      act();
      resolve(false);
    });
    const timer = setTimeout(() => {
      this.#lookout.disarm();
      act();
      resolve(true);
    }, MOMENT_MS);
    const isLate = await promise;
    clearTimeout(timer);
    return isLate;
  }

  async #killAsItStarts(): Promise<void> {
    const old = this.#server;
    this.#isKilling = true;
    this.#server = null;
    await old?.run.kill();
    const run = this.#workspace.run(['serve', '--port', '0']);
    await delay(this.#random() * 1200);
    this.#remember(run.pid);
    await run.kill();
    this.#note({ victim: 'server', moment: nameOf({ kind: 'start' }), isLate: false });
  }

  #note(kill: Omit<Kill, 'n' | 'at'>): void {
    const n = this.#kills.length + 1;
    this.#kills.push({ n, at: Date.now(), ...kill });
    this.#options.tell?.(
      `kill ${n}: ${kill.victim}, ${kill.moment}${kill.isLate ? ' (late)' : ''}`,
    );
  }

  async #ensureServer(): Promise<Server> {
    const running = this.#server;
    if (running?.run.isRunning === true) return running;
    if (running !== null) this.#endedByItself(running.run);
    this.#isKilling = false;
    const run = this.#workspace.run(['serve', '--port', '0']);
    this.#server = await this.#workspace.ready(run);
    this.#gatewayKills = 0;
    return this.#server;
  }

  #endedByItself(run: Run): void {
    if (this.#isKilling) return;
    const { exitCode, signalCode } = run.child;
    const words = run.stderr.split('\n').slice(-20).join('\n');
    this.#find(`the server ended by itself (${exitCode ?? signalCode}): ${words}`);
  }

  /** The gateway's process, once it runs; null: it does not in time. */
  async #gatewayOf({ run }: Server): Promise<Process | null> {
    const end = performance.now() + GATEWAY_MS;
    while (performance.now() < end) {
      const found = processesBelow(run.pid).find(({ pid }) => commandOf(pid).includes(gatewayBin));
      if (found !== undefined) return found;
      await delay(POLL_MS);
    }
    return null;
  }

  #remember(pid: number): void {
    for (const one of processesBelow(pid)) this.#seen.set(`${one.pid}/${one.startedAt}`, one);
    this.#peakMemory = Math.max(this.#peakMemory, memoryOf(pid));
  }

  /** Lets everything come to rest, and compares. */
  async #check(): Promise<void> {
    const { control } = this.#simulator;
    control.removeFault();
    const server = await this.#ensureServer();
    await this.#wakeGateway(server);
    // Whoever speaks now is answered too: nobody waits behind something that is stuck.
    this.#crowd.sayLast();
    try {
      await until('everything is at rest', () => this.#isAtRest(server), REST_MS);
    } catch (error) {
      const why = error instanceof Error ? String(error.cause) : '';
      this.#find(`not at rest after ${REST_MS / 1000} s: ${why}`);
    }
    this.#remember(server.run.pid);
    this.#restMemory = memoryOf(server.run.pid);
    if (this.#restMemory > MAX_MEMORY) this.#find(`the server takes ${this.#restMemory} bytes`);
    this.#evidence = await this.#gather();
    this.#findings.push(...judge(this.#evidence));
    const said = this.#crowd.said.length;
    this.#options.tell?.(
      `checked after ${this.#kills.length} kills: ${said} messages, ${this.#findings.length} findings`,
    );
  }

  /** As an operator would, where it was killed too often to be started again soon. */
  async #wakeGateway({ api }: Server): Promise<void> {
    const { body } = await api.get<{ gateways: { name: string; state: string }[] }>(
      '/admin/gateways',
    );
    const isPaused = body.gateways.some(({ state }) => state === 'backoff' || state === 'degraded');
    if (isPaused) await api.post('/admin/gateways/telegram/restart');
  }

  /** @throws Error saying what is not. */
  async #isAtRest({ api }: Server): Promise<boolean> {
    // Who asks without a pause takes the server's time.
    await delay(REST_POLL_MS);
    const waiting = this.#simulator.control.updates().filter(({ state }) => state === 'waiting');
    if (waiting.length > 0) throw new Error(`${waiting.length} updates wait`);
    const owed = (await outboxOf(api)).filter(({ state }) => state !== 'dead');
    if (owed.length > 0) throw new Error(`owed: ${JSON.stringify(owed)}`);
    const { body } = await api.get<{ sessions: { session: string; turn_state: string }[] }>(
      '/sessions?limit=1000',
    );
    const busy = body.sessions.filter(({ turn_state }) => turn_state !== 'idle');
    if (busy.length > 0) throw new Error(`busy: ${JSON.stringify(busy)}`);
    return true;
  }

  async #gather(): Promise<Evidence> {
    return await gatherEvidence({
      control: this.#simulator.control,
      said: this.#crowd.said,
      given: this.#given,
      dataDir: this.#workspace.dataDir,
      api: this.#server?.api ?? null,
    });
  }

  /** Stops the server in order, and looks for what is left. */
  async #leave(): Promise<void> {
    const server = this.#server;
    if (server !== null) {
      this.#isKilling = true;
      server.run.child.kill('SIGTERM');
      await this.#gone(server.run);
      const { exitCode, signalCode } = server.run.child;
      if (exitCode !== 0) this.#find(`the server stopped with ${exitCode ?? signalCode}`);
      this.#server = null;
    }
    const left = (): Process[] => [...this.#seen.values()].filter(isAlive);
    await until('no process is left', () => left().length === 0, 5_000).catch(() => {
      for (const { pid } of left()) this.#find(`process ${pid} is left: ${commandOf(pid)}`);
    });
    for (const line of errorsIn(path.join(this.#workspace.dataDir, 'logs', 'server.log'))) {
      this.#find(`the server's log: ${line}`);
    }
  }

  #find(what: string): void {
    this.#findings.push({ what, at: Date.now(), chat: null, session: null });
  }

  #counts(): Record<string, number> {
    const { said } = this.#crowd;
    const evidence = this.#evidence;
    const events = evidence?.logs.flatMap((log) => log.events) ?? [];
    const count = (type: string, outcome?: string): number =>
      events.filter(
        (event) =>
          event.type === type &&
          (outcome === undefined || ('outcome' in event && event.outcome === outcome)),
      ).length;
    const shown = evidence?.messages.filter(({ is_from_bot }) => is_from_bot) ?? [];
    return {
      kills: this.#kills.length,
      late: this.#kills.filter(({ isLate }) => isLate).length,
      said: said.length,
      files: said.filter(({ sha256 }) => sha256 !== null).length,
      shown: shown.length,
      'sent again': shown.filter(({ text }) => text.startsWith('[sent again]')).length,
      uncertain: count('delivery_finished', 'uncertain'),
      ...deathsIn(evidence?.outbox ?? []),
      'needs attention': count('turn_finished', 'needs_attention'),
      'model calls': this.#given.length,
      'memory in MB, at most': Math.round(this.#peakMemory / 1024 / 1024),
      'and at rest': Math.round(this.#restMemory / 1024 / 1024),
    };
  }
}

/** Who is killed. What is confirmed to the platform is the server's to keep, so it is mostly the server there. */
function victimOf(moment: Moment, chance: number): Victim {
  const isTaking = moment.kind === 'inbox' || (moment.kind === 'call' && moment.of === 'offset');
  if (chance < (isTaking ? 0.15 : 0.4)) return 'gateway';
  if (chance < 0.75) return 'server';
  return chance < 0.87 ? 'server by SIGTERM' : 'both';
}

/** How many deliveries died, by why. */
function deathsIn(outbox: Evidence['outbox']): Record<string, number> {
  const dead = outbox.filter(({ state }) => state === 'dead');
  const reasons = Map.groupBy(dead, ({ code, message }) => `dead (${code}: ${message})`);
  return Object.fromEntries([...reasons].map(([reason, { length }]) => [reason, length]));
}

function describe({ message, cause }: Error): string {
  return cause instanceof Error ? `${message}: ${cause.message}` : message;
}

/** What people said to the model. */
function questionsOf(body: Record<string, unknown>): string {
  const { messages } = body;
  if (!Array.isArray(messages)) return '';
  const isUser = (message: unknown): boolean =>
    typeof message === 'object' && message !== null && 'role' in message && message.role === 'user';
  return JSON.stringify(messages.filter(isUser));
}

function agentAt(url: string): string {
  return `${modelAgent(url).replace('session: {', 'session: { context: { max_history_tokens: 4000 },')}
access:
  dm: { policy: open }
  groups: { policy: open, activation: mention }
  queue: { mode: sequential, max_pending: 1000, debounce: { enabled: false } }`;
}

function configOf({ url, token }: TelegramSimulator): string {
  const gateway = {
    name: 'telegram',
    command: gatewayBin,
    config: { bot_token: token, api_root: url, poll_timeout_seconds: 5 },
    restart: 'always',
  };
  // JSON is YAML.
  return JSON.stringify({ gateways: { external: [gateway] } });
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
