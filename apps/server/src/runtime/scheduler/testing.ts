import type { Schedule } from '@duragent/protocol';
import { memoryScheduleStore, type KeptSchedules } from '../../adapters/schedule-store/memory.ts';
import type { ProcessRecord } from '../../core/processes/process-record.ts';
import { scheduleRules } from '../../core/schedule/rules.ts';
import type { Clock } from '../../ports/clock.ts';
import type { RunRecord, ScheduleStore } from '../../ports/schedule-store.ts';
import { Scheduler, type SchedulerDeps } from './scheduler.ts';
import type { RunResult, ScheduledRun } from './scheduled-work.ts';

/** For the tests of schedules: a scheduler over memory, with time that a test moves. */

export const NOON = Date.parse('2026-03-01T12:00:00.000Z');
export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;

/** Both clocks of a machine; only the wall's can be set. */
class TestClock implements Clock {
  wall = NOON;
  #mono = 0;
  #timers: { at: number; callback: () => void }[] = [];

  now(): number {
    return this.wall;
  }

  monotonic(): number {
    return this.#mono;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#mono + Math.max(0, ms), callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }

  /** How many callbacks wait. */
  get waiting(): number {
    return this.#timers.length;
  }

  async advance(ms: number): Promise<void> {
    const end = this.#mono + ms;
    for (;;) {
      await ticks();
      const due = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#pass(due.at - this.#mono);
      due.callback();
    }
    this.#pass(end - this.#mono);
    await ticks();
  }

  #pass(ms: number): void {
    this.#mono += ms;
    this.wall += ms;
  }
}

/** Lets everything that is ready run. */
export async function ticks(): Promise<void> {
  for (let i = 0; i < 4; i += 1) await new Promise(setImmediate);
}

export function aSchedule(id: string, more: Partial<Schedule> = {}): Schedule {
  return {
    id,
    agent: 'assistant',
    created_at: new Date(NOON).toISOString(),
    spec: { every: '1h' },
    payload: { kind: 'task', text: 'Look around.' },
    target: 'isolated',
    misfire: 'run_once',
    paused: false,
    ...more,
  };
}

interface Held {
  run: ScheduledRun;
  signal: AbortSignal;
  done(result?: RunResult): void;
  fail(error?: Error): void;
}

/** A server's scheduler; `restart` is what kill -9 and a new start make of it. */
export class TestScheduling {
  readonly clock = new TestClock();
  readonly kept: KeptSchedules = { schedules: new Map(), runs: new Map() };
  readonly logged: { level: string; text: string }[] = [];
  /** Identities, as they were handed over. */
  readonly handed: string[] = [];
  /** What is being handed over, where the test holds it. */
  held: Held[] = [];
  /** How a hand-over ends; null: the test says so. */
  answer: ((run: ScheduledRun) => RunResult) | null = () => ({
    session: 'session_x',
    turn: 'turn_x',
  });
  readonly over = new Set<string>();
  /** Those that the desk knows. */
  readonly processes = new Map<string, ProcessRecord>();
  store: ScheduleStore;
  scheduler: Scheduler;

  constructor() {
    this.store = memoryScheduleStore(scheduleRules, () => this.clock.wall, this.kept);
    this.scheduler = this.#make();
  }

  #make(): Scheduler {
    const say =
      (level: string) =>
      (_: object, text: string): void =>
        void this.logged.push({ level, text });
    const deps: SchedulerDeps = {
      // As it is when it is called.
      store: {
        list: () => this.store.list(),
        create: (...args) => this.store.create(...args),
        remove: (...args) => this.store.remove(...args),
        runLog: (...args) => this.store.runLog(...args),
        append: (...args) => this.store.append(...args),
        records: (...args) => this.store.records(...args),
      },
      clock: this.clock,
      run: (run, { signal }) => this.#run(run, signal),
      isProcessOver: (process) => this.over.has(process),
      log: { info: say('info'), warn: say('warn'), error: say('error') },
    };
    return new Scheduler(deps);
  }

  #run(run: ScheduledRun, signal: AbortSignal): Promise<RunResult> {
    this.handed.push(run.identity);
    return new Promise((resolve, reject) => {
      if (this.answer) {
        resolve(this.answer(run));
        return;
      }
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      this.held.push({
        run,
        signal,
        done: (result = {}) => resolve(result),
        fail: (error = new Error('it is broken')) => reject(error),
      });
    });
  }

  /** Writes a schedule's file as a person does: now. */
  put(schedule: Schedule): void {
    this.kept.schedules.set(schedule.id, { schedule, changedAt: this.clock.wall });
  }

  async start(...schedules: Schedule[]): Promise<void> {
    for (const schedule of schedules) this.put(schedule);
    await this.scheduler.start();
    await ticks();
  }

  /** The old one does nothing more that anybody sees. */
  async restart(): Promise<void> {
    const dead = this.store;
    this.store = { ...dead, append: () => new Promise<never>(() => undefined) };
    void this.scheduler.close();
    await ticks();
    this.store = dead;
    this.held = [];
    this.scheduler = this.#make();
    await this.scheduler.start();
    await ticks();
  }

  records(id: string): RunRecord[] {
    return this.kept.runs.get(id)?.records ?? [];
  }

  /** Types of the records, in order. */
  types(id: string): string {
    return this.records(id)
      .map(({ type }) => type)
      .join(' ');
  }

  warnings(): string[] {
    return this.logged.filter(({ level }) => level !== 'info').map(({ text }) => text);
  }
}
