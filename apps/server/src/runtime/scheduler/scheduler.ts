import type { Schedule, ScheduleDetail, ScheduleFault, ScheduleView } from '@duragent/protocol';
import { DuragentError } from '@duragent/protocol';
import { runsOf } from '../../core/schedule/run-log.ts';
import { KnownSchedules, type KnownSchedulesDeps } from './known-schedules.ts';
import type { ScheduleEntry } from './schedule-entry.ts';
import { ScheduleRunner, type ScheduleRunnerDeps } from './schedule-runner.ts';

export interface SchedulerDeps extends KnownSchedulesDeps, ScheduleRunnerDeps {
  log: ScheduleRunnerDeps['log'];
  /** How often the files are looked at; default 5 s. */
  lookEveryMs?: number;
}

/** The wall clock is looked at again after so long at the latest: it may have been set. */
const LONGEST_WAIT_MS = 60_000;
const LOOK_EVERY_MS = 5_000;
/** So many runs are handed over at once. */
const MOST_AT_ONCE = 4;
const LOOKED_UP_RUNS = 1000;

/**
 * Runs what schedules plan. A run is durably `started` before it is handed over, and handed over
 * again, by the same identity, until it has `finished`: it is neither lost nor, by those that take
 * it, done twice.
 */
export class Scheduler {
  readonly #deps: SchedulerDeps;
  readonly #known: KnownSchedules;
  readonly #runner: ScheduleRunner;
  readonly #stop = new AbortController();
  readonly #underWay = new Set<Promise<unknown>>();
  #handing = 0;
  #lookAt = -Infinity;
  #isLooking = false;
  #cancelTimer: () => void = () => undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: SchedulerDeps) {
    this.#deps = deps;
    this.#known = new KnownSchedules(deps);
    this.#runner = new ScheduleRunner(deps, this.#stop.signal);
  }

  /** Reads the schedules and begins to run them, first what was started and not finished. @throws DuragentError storage_failed */
  async start(): Promise<void> {
    await this.#inTurn(() => this.#look());
    this.#tick();
  }

  /** Starts nothing more, aborts hand-overs that are under way and waits for their end. */
  async close(): Promise<void> {
    this.#stop.abort(new DuragentError('draining', 'The server is stopping.'));
    this.#cancelTimer();
    await this.whenIdle();
  }

  /** Waits until nothing is being done. */
  async whenIdle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }

  /** Whether nothing is being done: the next thing comes with time. */
  get isIdle(): boolean {
    return this.#underWay.size === 0;
  }

  /** All schedules, oldest first, and why others do not run. */
  list(): { schedules: ScheduleView[]; faults: ScheduleFault[] } {
    const rank = ({ created_at, id }: ScheduleView): string =>
      `${created_at === undefined ? '' : new Date(created_at).toISOString()} ${id}`;
    const schedules = [...this.#known.entries]
      .map((entry) => entry.view(this.#deps.clock))
      .sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
    return { schedules, faults: this.#known.faults };
  }

  /** One schedule; null: there is none, or it is broken. */
  find(id: string): ScheduleView | null {
    return this.#known.find(id)?.view(this.#deps.clock) ?? null;
  }

  /** One schedule with its newest runs. @throws DuragentError not_found, config_invalid for a broken one. */
  async show(id: string, limit: number): Promise<ScheduleDetail> {
    const entry = this.#known.get(id);
    const records = await this.#deps.store.records(id, 4 * limit + 4);
    const runs = runsOf(records).slice(0, limit);
    return { ...entry.view(this.#deps.clock), runs };
  }

  /** Keeps a new schedule; `check` is asked when no other can come between. @returns the one of this id, which may be there already. @throws DuragentError */
  async create(schedule: Schedule, check: () => void): Promise<ScheduleView> {
    await this.#inTurn(async () => {
      if (this.#known.find(schedule.id)) return;
      check();
      await this.#deps.store.create(schedule);
      await this.#look();
    });
    const made = this.find(schedule.id);
    this.#tick();
    if (made) return made;
    throw this.#known.unknown(schedule.id);
  }

  /** Ends a schedule; a run that is being handed over goes on. @throws DuragentError not_found */
  async remove(id: string): Promise<void> {
    await this.#inTurn(() => this.#known.remove(id));
  }

  /**
   * Runs a schedule now, whether it is paused or not; one that failed and waits is tried again.
   * @param key names the request: a repeat begins no second run.
   * @returns the instant that names the run, once it is durable that it is owed.
   * @throws DuragentError not_found, config_invalid for a broken one, conflict while another is handed over.
   */
  async runNow(id: string, key?: string): Promise<string> {
    const entry = this.#known.get(id);
    const records = await this.#deps.store.records(id, LOOKED_UP_RUNS);
    const started = records.filter((record) => record.type === 'started');
    const first = key === undefined ? undefined : started.find((record) => record.key === key);
    if (first) return first.planned;
    if (this.#stop.signal.aborted) throw this.#stop.signal.reason as Error;
    if (entry.isBusy) {
      throw new DuragentError('conflict', `A run of ${id} is being handed over now; try again.`);
    }
    const [open] = entry.log.open;
    let planned = open?.planned;
    if (planned === undefined) {
      planned = await this.#runner.owe(entry, started, key);
      if (entry.isGone) throw this.#known.unknown(id);
    }
    entry.retryAt = -Infinity;
    this.#tick();
    return planned;
  }

  /** Begins all that is due and waits for the rest. */
  #tick(): void {
    if (this.#stop.signal.aborted) return;
    const { clock } = this.#deps;
    this.#cancelTimer();
    if (clock.monotonic() >= this.#lookAt && !this.#isLooking) this.#lookSoon();
    let wait = Math.min(LONGEST_WAIT_MS, Math.max(0, this.#lookAt - clock.monotonic()));
    const ready: ScheduleEntry[] = [];
    for (const entry of this.#known.entries) {
      const left = entry.waitMs(clock);
      if (left === null) continue;
      if (left <= 0) ready.push(entry);
      else wait = Math.min(wait, left);
    }
    const free = MOST_AT_ONCE - this.#handing;
    // Who waited longest comes first; the others come when a place is free.
    if (ready.length > free) ready.sort((a, b) => a.dueSince() - b.dueSince());
    for (const entry of ready.slice(0, free)) this.#begin(entry);
    this.#cancelTimer = clock.after(wait, () => this.#tick());
  }

  #lookSoon(): void {
    this.#isLooking = true;
    this.#lookAt = Infinity;
    void this.#inTurn(async () => {
      try {
        await this.#look();
      } catch (error) {
        this.#deps.log.error({ err: error }, 'the schedules cannot be read');
      } finally {
        this.#isLooking = false;
        this.#lookAt = this.#nextLook();
        this.#tick();
      }
    });
  }

  #nextLook(): number {
    return this.#deps.clock.monotonic() + (this.#deps.lookEveryMs ?? LOOK_EVERY_MS);
  }

  /** Learns what the files say now. */
  async #look(): Promise<void> {
    const listed = await this.#deps.store.list();
    this.#lookAt = this.#nextLook();
    await this.#known.take(listed);
  }

  #begin(entry: ScheduleEntry): void {
    this.#handing += 1;
    void this.#track(
      this.#runner.step(entry).finally(() => {
        this.#handing -= 1;
        this.#tick();
      }),
    );
  }

  /** Looking, making and removing come one after another. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work);
    // The next is done whatever became of this.
    this.#last = done.catch(() => undefined);
    return this.#track(done);
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work);
    const forget = (): void => void this.#underWay.delete(work);
    work.then(forget, forget);
    return work;
  }
}
