import type { Schedule, ScheduleDetail, ScheduleFault, ScheduleView } from '@duragent/protocol';
import { DuragentError, scheduleIdPattern } from '@duragent/protocol';
import { dueRuns, nextRun } from '../../core/schedule/due-runs.ts';
import {
  ruleOf,
  runIdentity,
  runsOf,
  type OpenRun,
  type RunError,
  type RunRecord,
} from '../../core/schedule/run-log.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ScheduleStore, StoredSchedule } from '../../ports/schedule-store.ts';
import { ScheduleEntry } from './schedule-entry.ts';
import type { RunResult, ScheduledRun } from './scheduled-work.ts';

export interface SchedulerLog {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

export interface SchedulerDeps {
  store: ScheduleStore;
  clock: Clock;
  /** Hands a run over. Idempotent by its identity; ends soon after the signal aborts. */
  run: (run: ScheduledRun, options: { signal: AbortSignal }) => Promise<RunResult>;
  /** Whether a process has ended: schedules that are linked to it end too. */
  isProcessOver?: (process: string) => boolean | Promise<boolean>;
  log: SchedulerLog;
  /** How often the files are looked at; default 5 s. */
  lookEveryMs?: number;
}

/** The wall clock is looked at again after so long at the latest: it may have been set. */
const LONGEST_WAIT_MS = 60_000;
const LOOK_EVERY_MS = 5_000;
/** So many runs are handed over at once. */
const MOST_AT_ONCE = 4;
/** A hand-over may take so long. */
const HAND_OVER_MS = 5 * 60_000;
/** A schedule that the server made for one moment is kept so long after it is done. */
const KEEP_DONE_MS = 86_400_000;
const MAX_ERROR = 1000;
const LOOKED_UP_RUNS = 1000;
/** Run logs that are read at the same time. */
const LEARNED_AT_ONCE = 32;

/**
 * Runs what schedules plan. A run is durably `started` before it is handed over, and handed over
 * again, by the same identity, until it has `finished`: it is neither lost nor, by those that take
 * it, done twice.
 */
export class Scheduler {
  readonly #deps: SchedulerDeps;
  readonly #entries = new Map<string, ScheduleEntry>();
  readonly #stop = new AbortController();
  readonly #underWay = new Set<Promise<unknown>>();
  #fileFaults: ScheduleFault[] = [];
  /** By id: why a schedule whose file is fine cannot run. */
  #logFaults = new Map<string, ScheduleFault>();
  #saidFaults = new Set<string>();
  #handing = 0;
  #lookAt = -Infinity;
  #isLooking = false;
  #cancelTimer: () => void = () => undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: SchedulerDeps) {
    this.#deps = deps;
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
    const schedules = [...this.#entries.values()]
      .map((entry) => entry.view(this.#deps.clock))
      .sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
    return { schedules, faults: [...this.#fileFaults, ...this.#logFaults.values()] };
  }

  /** One schedule; null: there is none, or it is broken. */
  find(id: string): ScheduleView | null {
    return this.#entries.get(id)?.view(this.#deps.clock) ?? null;
  }

  /** One schedule with its newest runs. @throws DuragentError not_found, config_invalid for a broken one. */
  async show(id: string, limit: number): Promise<ScheduleDetail> {
    const entry = this.#entry(id);
    const records = await this.#deps.store.records(id, 4 * limit + 4);
    const runs = runsOf(records).slice(0, limit);
    return { ...entry.view(this.#deps.clock), runs };
  }

  /** Keeps a new schedule; `check` is asked when no other can come between. @returns the one of this id, which may be there already. @throws DuragentError */
  async create(schedule: Schedule, check: () => void): Promise<ScheduleView> {
    await this.#inTurn(async () => {
      if (this.#entries.has(schedule.id)) return;
      check();
      await this.#deps.store.create(schedule);
      await this.#look();
    });
    const made = this.find(schedule.id);
    this.#tick();
    if (made) return made;
    throw this.#unknown(schedule.id);
  }

  /** Ends a schedule; a run that is being handed over goes on. @throws DuragentError not_found */
  async remove(id: string): Promise<void> {
    await this.#inTurn(async () => {
      const isKnown =
        this.#entries.has(id) ||
        this.#fileFaults.concat([...this.#logFaults.values()]).some((fault) => fault.id === id);
      if (!isKnown) throw this.#unknown(id);
      await this.#remove(id);
    });
  }

  /**
   * Runs a schedule now, whether it is paused or not; one that failed and waits is tried again.
   * @param key names the request: a repeat begins no second run.
   * @returns the instant that names the run, once it is durable that it is owed.
   * @throws DuragentError not_found, config_invalid for a broken one, conflict while another is handed over.
   */
  async runNow(id: string, key?: string): Promise<string> {
    const entry = this.#entry(id);
    const { clock, store } = this.#deps;
    const records = await store.records(id, LOOKED_UP_RUNS);
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
      let at = clock.now();
      // Its instant is its name, so it may be nobody else's.
      const isTaken = (): boolean =>
        nextRun(entry.stored.schedule, at - 1) === at ||
        started.some((record) => Date.parse(record.planned) === at);
      while (isTaken()) at += 1;
      planned = new Date(at).toISOString();
      const record: RunRecord = {
        type: 'started',
        at: this.#now(),
        planned,
        skipped: 0,
        manual: true,
        ...(key === undefined ? {} : { key }),
      };
      await this.#doing(entry, () => this.#append(entry, record));
      if (entry.isGone) throw this.#unknown(id);
    }
    entry.retryAt = -Infinity;
    this.#tick();
    return planned;
  }

  #entry(id: string): ScheduleEntry {
    const entry = this.#entries.get(id);
    if (entry) return entry;
    throw this.#unknown(id);
  }

  #unknown(id: string): DuragentError {
    const fault = [...this.#fileFaults, ...this.#logFaults.values()].find((each) => each.id === id);
    if (fault) {
      const { column, file, line, message } = fault;
      return new DuragentError('config_invalid', `${file}:${line}:${column}: ${message}`);
    }
    return new DuragentError(
      'not_found',
      `There is no schedule ${id.slice(0, 100)}; \`duragent schedules list\` shows those there are.`,
    );
  }

  /** Begins all that is due and waits for the rest. */
  #tick(): void {
    if (this.#stop.signal.aborted) return;
    const { clock } = this.#deps;
    this.#cancelTimer();
    if (clock.monotonic() >= this.#lookAt && !this.#isLooking) this.#lookSoon();
    let wait = Math.min(LONGEST_WAIT_MS, Math.max(0, this.#lookAt - clock.monotonic()));
    const ready: ScheduleEntry[] = [];
    for (const entry of this.#entries.values()) {
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
    const { schedules, faults } = await this.#deps.store.list();
    this.#lookAt = this.#nextLook();
    const ids = new Set(schedules.map(({ schedule }) => schedule.id));
    for (const [id, entry] of this.#entries) {
      if (ids.has(id)) continue;
      entry.isGone = true;
      this.#entries.delete(id);
    }
    const before = this.#logFaults;
    this.#logFaults = new Map([...before].filter(([id]) => ids.has(id)));
    this.#fileFaults = faults;
    for (let i = 0; i < schedules.length; i += LEARNED_AT_ONCE) {
      const some = schedules.slice(i, i + LEARNED_AT_ONCE);
      await Promise.all(some.map((stored) => this.#learn(stored)));
    }
    this.#sayFaults();
    for (const entry of this.#entries.values()) {
      if (await this.#isOver(entry)) await this.#remove(entry.stored.schedule.id);
    }
  }

  /** Takes a schedule as it is now. One whose rule is new begins when its file was changed, or made. */
  async #learn(stored: StoredSchedule): Promise<void> {
    const { clock, store } = this.#deps;
    const { schedule } = stored;
    const { id } = schedule;
    const known = this.#entries.get(id);
    if (known?.stored === stored) return;
    try {
      const log = known && !known.isStale ? known.log : await store.runLog(id);
      const entry = known ?? new ScheduleEntry(stored, log);
      entry.stored = stored;
      entry.adopt(log);
      if (log.rule !== ruleOf(schedule)) {
        const isFirst = log.rule === null && schedule.created_at !== undefined;
        const since = isFirst ? Date.parse(schedule.created_at ?? '') : stored.changedAt;
        const settled = new Date(Math.floor(Math.min(since, clock.now()))).toISOString();
        const record = { type: 'begun', at: this.#now(), rule: ruleOf(schedule), settled } as const;
        await this.#append(entry, record);
      }
      this.#entries.set(id, entry);
      this.#logFaults.delete(id);
    } catch (error) {
      // Read anew at the next look.
      if (known) known.isGone = true;
      this.#entries.delete(id);
      const { code, message } = describe(error);
      const file = error instanceof DuragentError ? error.details['file'] : undefined;
      const where = { file: typeof file === 'string' ? file : `${id}.yaml`, line: 1, column: 1 };
      this.#logFaults.set(id, { id, ...where, message });
      if (code === 'internal') this.#deps.log.error({ schedule: id, err: error }, 'schedule fails');
    }
  }

  /** Logs each fault once, until it has gone and come again. */
  #sayFaults(): void {
    const now = new Set<string>();
    for (const fault of [...this.#fileFaults, ...this.#logFaults.values()]) {
      const key = JSON.stringify(fault);
      now.add(key);
      if (this.#saidFaults.has(key)) continue;
      const { column, file, id, line, message } = fault;
      this.#deps.log.error(
        { schedule: id },
        `a schedule does not run: ${file}:${line}:${column}: ${message}`,
      );
    }
    this.#saidFaults = now;
  }

  /** Whether a schedule is to be removed: its process has ended, or it was for one moment long ago. */
  async #isOver(entry: ScheduleEntry): Promise<boolean> {
    const { clock, isProcessOver, log } = this.#deps;
    const { id, process, spec } = entry.stored.schedule;
    if (process !== undefined && isProcessOver && (await isProcessOver(process))) {
      log.info({ schedule: id, process }, 'schedule removed: its process has ended');
      return true;
    }
    // What a person wrote stays until a person removes it.
    if (!('at' in spec) || !scheduleIdPattern.test(id)) return false;
    if (entry.isBusy || entry.nextAt !== null || entry.log.open.length > 0) return false;
    const end = Math.max(Date.parse(spec.at), Date.parse(entry.log.last?.finished_at ?? spec.at));
    return clock.now() - end > KEEP_DONE_MS;
  }

  async #remove(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry) entry.isGone = true;
    try {
      await this.#deps.store.remove(id);
    } catch (error) {
      if (entry) entry.isGone = false;
      throw error;
    }
    this.#entries.delete(id);
    this.#logFaults.delete(id);
    this.#fileFaults = this.#fileFaults.filter((fault) => fault.id !== id);
  }

  #begin(entry: ScheduleEntry): void {
    this.#handing += 1;
    void this.#track(
      this.#doing(entry, () => this.#step(entry))
        .catch((error: unknown) => this.#stumble(entry, error))
        .finally(() => {
          this.#handing -= 1;
          this.#tick();
        }),
    );
  }

  async #doing(entry: ScheduleEntry, work: () => Promise<void>): Promise<void> {
    entry.isBusy = true;
    try {
      await work();
    } finally {
      entry.isBusy = false;
    }
  }

  /** The store refused. What is there is read again; an open run is handed over again by its identity. */
  #stumble(entry: ScheduleEntry, error: unknown): void {
    entry.isStale = true;
    entry.backOff(this.#deps.clock, 1);
    const { id } = entry.stored.schedule;
    this.#deps.log.error(
      { schedule: id, err: error },
      'the run log of a schedule cannot be written',
    );
  }

  /** Does the one next thing of a schedule: goes on with the run that is open, or begins what is due. */
  async #step(entry: ScheduleEntry): Promise<void> {
    const { clock, store } = this.#deps;
    const { schedule } = entry.stored;
    if (entry.isStale) {
      entry.adopt(await store.runLog(schedule.id));
      entry.isStale = false;
    }
    const { settled } = entry.log;
    const isPlanning = entry.nextAt !== null && settled !== null;
    const due = isPlanning
      ? dueRuns(schedule, settled, clock.now())
      : { runs: [], skipped: 0, newest: null };
    const [planned] = due.runs;
    const [open] = entry.log.open;
    if (open) {
      const isReplaced = planned !== undefined && schedule.misfire !== 'run_all';
      const isGivenUp = open.failures > 0 && (isReplaced || schedule.paused);
      if (!isGivenUp) {
        if (clock.monotonic() >= entry.retryAt) await this.#handOver(entry, open);
        else if (due.newest !== null) await this.#skip(entry, due.newest, due.skipped);
        return;
      }
      await this.#append(entry, {
        type: 'finished',
        at: this.#now(),
        planned: open.planned,
        outcome: 'failed',
        ...(open.error ? { error: open.error } : {}),
      });
    }
    if (planned === undefined) {
      if (due.newest !== null) await this.#skip(entry, due.newest, due.skipped);
      return;
    }
    const name = new Date(planned).toISOString();
    const { skipped } = due;
    await this.#append(entry, { type: 'started', at: this.#now(), planned: name, skipped });
    const run = entry.log.open.find((each) => each.planned === name);
    if (run) await this.#handOver(entry, run);
  }

  async #skip(entry: ScheduleEntry, newest: number, count: number): Promise<void> {
    const planned = new Date(newest).toISOString();
    await this.#append(entry, { type: 'skipped', at: this.#now(), planned, count });
  }

  async #handOver(entry: ScheduleEntry, { failures, planned }: OpenRun): Promise<void> {
    const { clock, log, run } = this.#deps;
    const { schedule } = entry.stored;
    const { id } = schedule;
    if (this.#stop.signal.aborted) return;
    const late = new AbortController();
    const cancel = clock.after(HAND_OVER_MS, () =>
      late.abort(new DuragentError('request_timeout', 'It took too long to hand the run over.')),
    );
    const signal = AbortSignal.any([this.#stop.signal, late.signal]);
    const identity = runIdentity(id, planned);
    let result: RunResult;
    try {
      result = await run({ schedule, planned, identity }, { signal });
    } catch (thrown) {
      // It stays open, and is handed over again at the next start.
      if (this.#stop.signal.aborted || entry.isGone) return;
      const error = describe(thrown);
      const wait = entry.backOff(clock, failures + 1);
      log.warn({ schedule: id, planned, err: thrown, retry_ms: wait }, 'a scheduled run failed');
      await this.#append(entry, { type: 'failed', at: this.#now(), planned, error });
      return;
    } finally {
      cancel();
    }
    entry.retryAt = -Infinity;
    entry.blockedUntil = -Infinity;
    const { session, turn } = result;
    await this.#append(entry, {
      type: 'finished',
      at: this.#now(),
      planned,
      outcome: 'ok',
      ...(session === undefined ? {} : { session }),
      ...(turn === undefined ? {} : { turn }),
    });
    log.info({ schedule: id, planned, ...result }, 'scheduled run handed over');
  }

  async #append(entry: ScheduleEntry, record: RunRecord): Promise<void> {
    if (entry.isGone) return;
    entry.adopt(await this.#deps.store.append(entry.stored.schedule.id, record));
  }

  #now(): string {
    return new Date(this.#deps.clock.now()).toISOString();
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

function describe(error: unknown): RunError {
  const code = error instanceof DuragentError ? error.code : 'internal';
  const message = error instanceof Error ? error.message : String(error);
  return { code, message: message.slice(0, MAX_ERROR) };
}
