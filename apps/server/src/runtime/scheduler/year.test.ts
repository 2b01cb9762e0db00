import type { Schedule } from '@duragent/protocol';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../../../../test/support/random.ts';
import { memoryScheduleStore, type KeptSchedules } from '../../adapters/schedule-store/memory.ts';
import { scheduleRules } from '../../core/schedule/rules.ts';
import { walkCron, WallClock } from '../../core/schedule/testing.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ScheduleStore } from '../../ports/schedule-store.ts';
import { Scheduler } from './scheduler.ts';
import type { ScheduledRun } from './scheduled-work.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const START = Date.UTC(2026, 0, 1);
const END = Date.UTC(2027, 0, 1);

const zones = [
  'Europe/Berlin',
  'America/New_York',
  'Australia/Lord_Howe',
  'America/Sao_Paulo',
  'UTC',
  'Asia/Kolkata',
  'Africa/Casablanca',
];
const rules = ['30 2 * * *', '20 1-3 * * *', '*/30 1-2 * * *', '5 */6 * * 1-5', '0 0 1 * *'];
const misfires = ['run_once', 'skip', 'run_all'] as const;

/** Time that both clocks of a machine show; the wall's may be set. */
class World {
  wall = START;
  mono = 0;

  pass(ms: number): void {
    this.wall += ms;
    this.mono += ms;
  }
}

/** One start of the server, up to its crash: what it waits for then never comes. */
class Life {
  isOver = false;
  readonly over = Promise.withResolvers<void>();
  readonly scheduler: Scheduler;
  readonly #world: World;
  #timers: { at: number; callback: () => void }[] = [];

  constructor(world: World, make: (life: Life) => Scheduler) {
    this.#world = world;
    this.scheduler = make(this);
  }

  readonly clock: Clock = {
    now: () => this.#world.wall,
    monotonic: () => this.#world.mono,
    after: (ms, callback) => {
      const timer = { at: this.#world.mono + Math.max(0, ms), callback };
      this.#timers.push(timer);
      return () => {
        const index = this.#timers.indexOf(timer);
        if (index >= 0) this.#timers.splice(index, 1);
      };
    },
  };

  crash(): Promise<never> {
    this.isOver = true;
    this.#timers = [];
    this.over.resolve();
    return new Promise<never>(() => undefined);
  }

  /** The monotonic instant of the next timer. */
  get next(): number {
    return this.#timers.reduce((least, { at }) => Math.min(least, at), Infinity);
  }

  async fire(): Promise<void> {
    const timer = this.#timers.find(({ at }) => at === this.next);
    if (!timer) return;
    this.#timers.splice(this.#timers.indexOf(timer), 1);
    timer.callback();
    if (!this.scheduler.isIdle) await this.settle(this.scheduler.whenIdle());
  }

  async settle(work: Promise<void>): Promise<void> {
    await Promise.race([work, this.over.promise]);
  }
}

/** What is planned, by rule and zone. */
const oracle = new Map(
  zones.flatMap((zone) => {
    const clock = new WallClock(zone, START - DAY, END + 3 * DAY);
    const walk = (cron: string): number[] => walkCron(cron, clock, START + MINUTE, END + 2 * DAY);
    return rules.map((cron) => [`${cron} ${zone}`, walk(cron)] as const);
  }),
);

class Year {
  readonly world = new World();
  readonly kept: KeptSchedules = { schedules: new Map(), runs: new Map() };
  readonly planned = new Map<string, number[]>();
  readonly isPlanned = new Map<string, Set<number>>();
  /** By identity: how often it was handed over. */
  readonly handed = new Map<string, number>();
  /** When a server was there, by the wall. */
  readonly awake: { from: number; to: number }[] = [];
  readonly wrong: string[] = [];
  crashes = 0;
  jumps = 0;
  readonly #random: () => number;
  #highest = START;
  readonly #failing = new Map<string, number>();

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    for (const [index, zone] of zones.entries()) {
      for (const [row, cron] of rules.entries()) {
        const misfire = misfires[(index + row + seed) % 3] ?? 'skip';
        const times = oracle.get(`${cron} ${zone}`) ?? [];
        this.#add(`c${index}-${row}`, { cron, zone }, misfire, times);
      }
    }
    for (const [index, misfire] of misfires.entries()) {
      const anchor = START + 5 * DAY + 17_123;
      const seconds = 191 * 60 + 7;
      const count = Math.ceil((END + DAY - anchor) / (seconds * 1000));
      const times = Array.from({ length: count }, (_, k) => anchor + k * seconds * 1000);
      const spec = { every: `${seconds}s`, anchor: new Date(anchor).toISOString() };
      this.#add(`e${index}`, spec, misfire, times);
      for (let k = 0; k < 5; k += 1) {
        const at = START + Math.floor(this.#random() * (END - START - DAY));
        this.#add(`a${index}-${k}`, { at: new Date(at).toISOString() }, misfire, [at]);
      }
    }
  }

  #add(id: string, spec: Schedule['spec'], misfire: Schedule['misfire'], times: number[]): void {
    const schedule: Schedule = {
      id,
      agent: 'assistant',
      created_at: new Date(START).toISOString(),
      spec,
      payload: { kind: 'task', text: 'Look around.' },
      target: 'isolated',
      misfire,
      paused: false,
    };
    this.kept.schedules.set(id, { schedule, changedAt: START });
    this.planned.set(id, times);
    this.isPlanned.set(id, new Set(times));
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  /** A store that may be the last thing a server did. */
  #store(life: Life): ScheduleStore {
    const store = memoryScheduleStore(scheduleRules, () => this.world.wall, this.kept);
    return {
      ...store,
      append: async (id, record) => {
        if (life.isOver || this.#chance(0.002)) return life.crash();
        const state = await store.append(id, record);
        return this.#chance(0.002) ? life.crash() : state;
      },
    };
  }

  async #run(life: Life, { identity, planned, schedule }: ScheduledRun): Promise<object> {
    if (life.isOver || this.#chance(0.002)) return life.crash();
    const open = this.kept.runs.get(schedule.id)?.state.open ?? [];
    if (!open.some((run) => run.planned === planned)) this.wrong.push(`${identity}: not open`);
    if (this.world.wall < Date.parse(planned)) this.wrong.push(`${identity}: early`);
    if (!this.isPlanned.get(schedule.id)?.has(Date.parse(planned))) {
      this.wrong.push(`${identity}: was never planned`);
    }
    if (this.handed.has(identity) && !this.#failing.has(identity)) {
      // Again only because its end was not durable.
      this.#failing.set(identity, 0);
    }
    const failures = this.#failing.get(identity) ?? 0;
    if (failures < 2 && !this.handed.has(identity) && this.#chance(0.03)) {
      this.#failing.set(identity, failures + 1);
      throw new Error('the disk is full');
    }
    this.handed.set(identity, (this.handed.get(identity) ?? 0) + 1);
    if (this.#chance(0.002)) return life.crash();
    return { session: 'session_x' };
  }

  #begin(): Life {
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    return new Life(
      this.world,
      (life) =>
        new Scheduler({
          store: this.#store(life),
          clock: {
            now: () => life.clock.now(),
            monotonic: () => life.clock.monotonic(),
            after: (...args) => life.clock.after(...args),
          },
          run: (run) => this.#run(life, run),
          isProcessOver: () => false,
          log,
          lookEveryMs: 6 * HOUR,
        }),
    );
  }

  async live(): Promise<void> {
    while (this.world.wall < END) {
      const life = this.#begin();
      let from = this.world.wall;
      await life.settle(life.scheduler.start().then(() => life.scheduler.whenIdle()));
      while (!life.isOver && this.world.wall < END) {
        const event = this.world.mono + Math.floor(this.#random() * 3 * DAY);
        while (!life.isOver && life.next <= event && this.world.wall < END) {
          this.world.pass(Math.max(0, life.next - this.world.mono));
          await life.fire();
        }
        if (life.isOver || this.world.wall >= END) break;
        this.world.pass(event - this.world.mono);
        if (this.#chance(0.5)) {
          void life.crash();
          break;
        }
        this.jumps += 1;
        this.#wasAwake(from);
        const size = Math.floor(this.#random() ** 3 * DAY * 1.5);
        this.world.wall += this.#chance(0.5) ? size : -Math.min(size, 5 * HOUR);

        // The wall clock is looked at again within a minute.
        from = this.world.wall + MINUTE;
      }
      this.crashes += 1;
      this.#wasAwake(from);
      this.world.pass(Math.floor(this.#random() ** 4 * 2 * DAY) + 1);
    }
  }

  /** Up to now. What the wall clock shows again is no new chance: it was settled the first time. */
  #wasAwake(from: number): void {
    const segment = { from: Math.max(from, this.#highest), to: this.world.wall };
    if (segment.from < segment.to) this.awake.push(segment);
    this.#highest = Math.max(this.#highest, this.world.wall);
  }

  /** What the rules of misfires do not excuse. */
  lost(): string[] {
    const lost: string[] = [];
    const wasAwake = (from: number, to: number): boolean =>
      this.awake.some((each) => each.from < to && each.to > from);
    for (const [id, times] of this.planned) {
      const misfire = this.kept.schedules.get(id)?.schedule.misfire;
      const records = this.kept.runs.get(id)?.records ?? [];
      const givenUp = new Set(
        records.flatMap((each) =>
          each.type === 'finished' && each.outcome === 'failed' ? [each.planned] : [],
        ),
      );
      times.forEach((at, index) => {
        const planned = new Date(at).toISOString();
        if (at > END - 2 * HOUR || this.handed.has(`${id}/${planned}`)) return;
        if (givenUp.has(planned) && misfire !== 'run_all') return;
        const next = times[index + (misfire === 'run_all' ? 10 : 1)] ?? END;
        const until = misfire === 'skip' ? Math.min(next, at + MINUTE) : next;
        if (wasAwake(at, until)) lost.push(`${id} (${misfire ?? ''}) ${planned}`);
      });
    }
    return lost;
  }

  /** Runs that were begun twice, or later than `skip` allows. */
  odd(): string[] {
    const odd: string[] = [];
    for (const [id, { records }] of this.kept.runs) {
      const misfire = this.kept.schedules.get(id)?.schedule.misfire;
      const started = records.filter((record) => record.type === 'started');
      const names = new Set(started.map(({ planned }) => planned));
      if (names.size < started.length) odd.push(`${id}: a run was started twice`);
      for (const { at, planned } of started) {
        const late = Date.parse(at) - Date.parse(planned);
        if (misfire === 'skip' && late > MINUTE) odd.push(`${id} ${planned}: ${late} ms late`);
      }
    }
    return odd;
  }
}

describe('a year of crashes and of clocks that are set', () => {
  test.each([1])(
    'runs all that was planned, nothing early and nothing twice (seed %i)',
    async (seed) => {
      const year = new Year(seed);
      await year.live();
      expect(year.wrong).toEqual([]);
      expect(year.odd()).toEqual([]);
      expect(year.lost()).toEqual([]);
      expect(year.crashes).toBeGreaterThan(100);
      expect(year.jumps).toBeGreaterThan(20);
      expect(year.handed.size).toBeGreaterThan(20_000);
    },
  );
});
