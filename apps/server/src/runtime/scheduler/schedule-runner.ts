import { DuragentError } from '@duragent/protocol';
import { dueRuns, nextRun } from '../../core/schedule/due-runs.ts';
import { runIdentity, type OpenRun, type RunRecord } from '../../core/schedule/run-log.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ScheduleStore } from '../../ports/schedule-store.ts';
import { runErrorOf } from './run-error.ts';
import type { ScheduleEntry } from './schedule-entry.ts';
import type { RunResult, ScheduledRun } from './scheduled-work.ts';

export interface ScheduleRunnerDeps {
  store: ScheduleStore;
  clock: Clock;
  /** Whether a process has ended: schedules that are linked to it run no more. Never rejects. */
  isProcessOver: (process: string) => boolean | Promise<boolean>;
  /** Hands a run over. Idempotent by its identity; ends soon after the signal aborts. */
  run: (run: ScheduledRun, options: { signal: AbortSignal }) => Promise<RunResult>;
  log: {
    info(fields: object, text: string): void;
    warn(fields: object, text: string): void;
    error(fields: object, text: string): void;
  };
}

/** A hand-over may take so long. */
const HAND_OVER_MS = 5 * 60_000;

/** Does what is next for one schedule at a time: plans its runs in its run log, and hands them over. */
export class ScheduleRunner {
  readonly #deps: ScheduleRunnerDeps;
  readonly #stop: AbortSignal;

  /** @param stop aborts the hand-overs that are under way; they stay open. */
  constructor(deps: ScheduleRunnerDeps, stop: AbortSignal) {
    this.#deps = deps;
    this.#stop = stop;
  }

  /** Does the one next thing of a schedule, which is busy meanwhile. Never rejects. */
  async step(entry: ScheduleEntry): Promise<void> {
    try {
      await entry.whileBusy(() => this.#next(entry));
    } catch (error) {
      this.#stumble(entry, error);
    }
  }

  /**
   * Begins a run that somebody asks for; a later step hands it over.
   * @param started the newest runs of the schedule.
   * @param key names the request.
   * @returns the instant that names the run, once it is durable; nothing is written where the schedule was removed.
   * @throws as `ScheduleStore.append`
   */
  async owe(
    entry: ScheduleEntry,
    started: readonly Extract<RunRecord, { type: 'started' }>[],
    key: string | undefined,
  ): Promise<string> {
    const { clock, store } = this.#deps;
    let at = clock.now();
    // Its instant is its name, so it may be nobody else's.
    const isTaken = (): boolean =>
      nextRun(entry.stored.schedule, at - 1) === at ||
      started.some((record) => Date.parse(record.planned) === at);
    while (isTaken()) at += 1;
    const planned = new Date(at).toISOString();
    const record: RunRecord = {
      type: 'started',
      at: this.#now(),
      planned,
      skipped: 0,
      manual: true,
      ...(key === undefined ? {} : { key }),
    };
    await entry.whileBusy(() => entry.append(store, record));
    return planned;
  }

  /** Goes on with the run that is open, or begins what is due. */
  async #next(entry: ScheduleEntry): Promise<void> {
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
      await entry.append(store, {
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
    if (schedule.process !== undefined && (await this.#deps.isProcessOver(schedule.process))) {
      // The next look removes it.
      entry.isGone = true;
      return;
    }
    const name = new Date(planned).toISOString();
    const { skipped } = due;
    await entry.append(store, { type: 'started', at: this.#now(), planned: name, skipped });
    const run = entry.log.open.find((each) => each.planned === name);
    if (run) await this.#handOver(entry, run);
  }

  async #skip(entry: ScheduleEntry, newest: number, count: number): Promise<void> {
    const planned = new Date(newest).toISOString();
    await entry.append(this.#deps.store, { type: 'skipped', at: this.#now(), planned, count });
  }

  async #handOver(entry: ScheduleEntry, { failures, planned }: OpenRun): Promise<void> {
    const { clock, log, run, store } = this.#deps;
    const { schedule } = entry.stored;
    const { id } = schedule;
    if (this.#stop.aborted) return;
    const late = new AbortController();
    const cancel = clock.after(HAND_OVER_MS, () =>
      late.abort(new DuragentError('request_timeout', 'It took too long to hand the run over.')),
    );
    const signal = AbortSignal.any([this.#stop, late.signal]);
    const identity = runIdentity(id, planned);
    let result: RunResult;
    try {
      result = await run({ schedule, planned, identity }, { signal });
    } catch (thrown) {
      // It stays open, and is handed over again at the next start.
      if (this.#stop.aborted || entry.isGone) return;
      const error = runErrorOf(thrown);
      const wait = entry.backOff(clock, failures + 1);
      log.warn({ schedule: id, planned, err: thrown, retry_ms: wait }, 'a scheduled run failed');
      await entry.append(store, { type: 'failed', at: this.#now(), planned, error });
      return;
    } finally {
      cancel();
    }
    entry.retryAt = -Infinity;
    entry.blockedUntil = -Infinity;
    const { session, turn, dropped = false } = result;
    await entry.append(store, {
      type: 'finished',
      at: this.#now(),
      planned,
      outcome: dropped ? 'dropped' : 'ok',
      ...(session === undefined ? {} : { session }),
      ...(turn === undefined ? {} : { turn }),
    });
    log.info({ schedule: id, planned, ...result }, 'scheduled run handed over');
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

  #now(): string {
    return new Date(this.#deps.clock.now()).toISOString();
  }
}
