import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Server } from '../support/duragent.ts';
import { seededRandom } from '../support/random.ts';
import { until } from '../support/until.ts';
import { countsOf } from './counts.ts';
import type { Evidence } from './evidence.ts';
import { judge, type Finding } from './judge.ts';
import { type Moment, moments, nameOf } from './moments.ts';
import { isAlive, memoryOf } from './processes.ts';
import { Servers } from './servers.ts';
import { gatewayBin, Stage } from './stage.ts';
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

/** How long a moment is waited for, in ms. */
const MOMENT_MS = 1_800;
/** Kills of the gateway that one server sees: with more than five in a minute it pauses for five. */
const MAX_GATEWAY_KILLS = 3;
/** How long everything may take to come to rest, in ms. */
const REST_MS = 120_000;
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
  readonly #stage: Stage;
  readonly #servers: Servers;
  readonly #kills: Kill[] = [];
  readonly #findings: Finding[] = [];
  #restMemory = 0;
  #evidence: Evidence | null = null;

  private constructor(options: CampaignOptions, random: Random, stage: Stage) {
    this.#options = options;
    this.#random = random;
    this.#stage = stage;
    this.#servers = new Servers(stage.workspace, (what) => this.#find(what));
  }

  static async open(options: CampaignOptions): Promise<Campaign> {
    // One for each, so that what is killed does not depend on how much is said.
    const stream = (number: number): Random => seededRandom(4 * options.seed + number);
    return new Campaign(options, stream(0), await Stage.open(options.seed, stream));
  }

  async run(): Promise<CampaignReport> {
    const { kills, checkEvery, maxMs = 0 } = this.#options;
    const startedAt = performance.now();
    const isOver = (): boolean =>
      this.#findings.length > 0 || (maxMs > 0 && performance.now() - startedAt > maxMs);
    while (this.#kills.length < kills && !isOver()) {
      addTroubles(this.#stage.control);
      this.#stage.crowd.speak();
      const end = Math.min(kills, this.#kills.length + checkEvery);
      try {
        while (this.#kills.length < end && !isOver()) await this.#strike();
        await this.#stage.crowd.silence();
        await this.#check();
      } catch (error) {
        // Such as a server that does not start.
        this.#find(`it broke off: ${error instanceof Error ? describe(error) : String(error)}`);
      }
    }
    await this.#servers.leave();
    return {
      findings: this.#findings,
      kills: this.#kills,
      evidence: this.#evidence ?? (await this.#stage.gather(this.#servers.api)),
      counts: countsOf({
        kills: this.#kills,
        said: this.#stage.crowd.said,
        modelCalls: this.#stage.given.length,
        evidence: this.#evidence,
        memory: { peak: this.#servers.peakMemory, atRest: this.#restMemory },
      }),
      elapsedMs: performance.now() - startedAt,
      folder: path.dirname(this.#stage.workspace.dir),
    };
  }

  /** Ends every process; the files stay when something was found. */
  async close(): Promise<void> {
    this.#servers.isKilling = true;
    await this.#stage.crowd.silence();
    this.#stage.lookout.disarm();
    await this.#servers.kill();
    await this.#stage.close({ keepsFiles: this.#findings.length > 0 });
  }

  /** One kill, and what has to run for it. */
  async #strike(): Promise<void> {
    const moment = moments[Math.floor(this.#random() * moments.length)] ?? { kind: 'random' };
    const chance = this.#random();
    if (moment.kind === 'start') {
      await this.#servers.killAsItStarts(this.#random() * 1200);
      this.#note({ victim: 'server', moment: nameOf(moment), isLate: false });
      return;
    }
    const server = await this.#servers.ensure();
    const wanted = victimOf(moment, chance);
    const isSpared = this.#servers.gatewayKills >= MAX_GATEWAY_KILLS;
    const isMeant = wanted === 'both' || (wanted === 'gateway' && !isSpared);
    const gateway = isMeant ? await this.#servers.gatewayOf(server, gatewayBin) : null;
    const victim = wanted === 'gateway' && gateway === null ? 'server' : wanted;
    this.#servers.look(server.run.pid);
    const isLate = await this.#wait(moment, () => {
      if (gateway !== null && isAlive(gateway)) process.kill(gateway.pid, 'SIGKILL');
      if (victim === 'gateway') return;
      this.#servers.isKilling = true;
      server.run.child.kill(victim === 'server by SIGTERM' ? 'SIGTERM' : 'SIGKILL');
    });
    this.#note({ victim, moment: nameOf(moment), isLate });
    if (victim === 'gateway') {
      this.#servers.gatewayKills += 1;
      return;
    }
    // One that stops in order is now and then not let finish.
    if (victim === 'server by SIGTERM' && this.#random() < 0.5) {
      await delay(this.#random() * 150);
      await server.run.kill();
    }
    await this.#servers.gone(server.run);
  }

  /** Waits for a moment, and acts in it; acts anyway when it does not come. @returns whether it did not. */
  async #wait(moment: Moment, act: () => void): Promise<boolean> {
    if (moment.kind === 'random') {
      await delay(this.#random() * 900);
      act();
      return false;
    }
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#stage.lookout.arm(moment, () => {
      act();
      resolve(false);
    });
    const timer = setTimeout(() => {
      this.#stage.lookout.disarm();
      act();
      resolve(true);
    }, MOMENT_MS);
    const isLate = await promise;
    clearTimeout(timer);
    return isLate;
  }

  #note(kill: Omit<Kill, 'n' | 'at'>): void {
    const n = this.#kills.length + 1;
    this.#kills.push({ n, at: Date.now(), ...kill });
    this.#options.tell?.(
      `kill ${n}: ${kill.victim}, ${kill.moment}${kill.isLate ? ' (late)' : ''}`,
    );
  }

  /** Lets everything come to rest, and compares. */
  async #check(): Promise<void> {
    const { control } = this.#stage;
    control.removeFault();
    const server = await this.#servers.ensure();
    await this.#wakeGateway(server);
    // Whoever speaks now is answered too: nobody waits behind something that is stuck.
    this.#stage.crowd.sayLast();
    try {
      await until('everything is at rest', () => this.#isAtRest(server), REST_MS);
    } catch (error) {
      const why = error instanceof Error ? String(error.cause) : '';
      this.#find(`not at rest after ${REST_MS / 1000} s: ${why}`);
    }
    this.#servers.look(server.run.pid);
    this.#restMemory = memoryOf(server.run.pid);
    if (this.#restMemory > MAX_MEMORY) this.#find(`the server takes ${this.#restMemory} bytes`);
    this.#evidence = await this.#stage.gather(server.api);
    this.#findings.push(...judge(this.#evidence));
    const said = this.#stage.crowd.said.length;
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

  async #isAtRest({ api }: Server): Promise<boolean> {
    // Who asks without a pause takes the server's time.
    await delay(REST_POLL_MS);
    await this.#stage.assertAtRest(api);
    return true;
  }

  #find(what: string): void {
    this.#findings.push({ what, at: Date.now(), chat: null, session: null });
  }
}

/** Who is killed. What is confirmed to the platform is the server's to keep, so it is mostly the server there. */
function victimOf(moment: Moment, chance: number): Victim {
  const isTaking = moment.kind === 'inbox' || (moment.kind === 'call' && moment.of === 'offset');
  if (chance < (isTaking ? 0.15 : 0.4)) return 'gateway';
  if (chance < 0.75) return 'server';
  return chance < 0.87 ? 'server by SIGTERM' : 'both';
}

function describe({ message, cause }: Error): string {
  return cause instanceof Error ? `${message}: ${cause.message}` : message;
}
