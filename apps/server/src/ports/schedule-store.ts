import type { Schedule, ScheduleFault } from '@duragent/protocol';
import type { ScheduleFlaw } from '../core/schedule/check-schedule.ts';
import type { RunLogState, RunRecord } from '../core/schedule/run-log.ts';

export type { ScheduleFlaw } from '../core/schedule/check-schedule.ts';
export type { RunLogState, RunRecord } from '../core/schedule/run-log.ts';

/** A schedule as it is kept now. The same object for as long as nobody changes it. */
export interface StoredSchedule {
  schedule: Schedule;
  /** When it was changed last, ms since 1970. */
  changedAt: number;
}

/** Keeps schedules, as files that people may edit, and what of them ran. One writer of run logs. */
export interface ScheduleStore {
  /** All as they are now, by id; a broken one is a fault and hides no other. @throws DuragentError storage_failed. */
  list(): Promise<{ schedules: StoredSchedule[]; faults: ScheduleFault[] }>;
  /** Keeps a new one; durable when resolved. @returns false: there is one of this id, which stays as it is. @throws DuragentError storage_full, storage_failed. */
  create(schedule: Schedule): Promise<boolean>;
  /** Removes one and its run log, durably. @returns false: there was none. @throws DuragentError storage_failed. */
  remove(id: string): Promise<boolean>;
  /**
   * What the run log of a schedule says; an empty one where there is none.
   * @throws DuragentError log_corrupt where a record before the end does not check, log_newer, storage_failed.
   */
  runLog(id: string): Promise<RunLogState>;
  /**
   * Adds a record; durable when resolved. At least the last 1,000 are kept, and what older ones say
   * of runs that are open and of what is settled. Calls may overlap.
   * @returns what the log says now. @throws as `runLog`, and storage_full; whether the record is there
   *   is then for `runLog` to say.
   */
  append(id: string, record: RunRecord): Promise<RunLogState>;
  /** The newest records, oldest first, at most so many. @throws as `runLog`. */
  records(id: string, limit: number): Promise<RunRecord[]>;
}

/** What a store has to know of schedules. */
export interface ScheduleRules {
  /** What is wrong with a schedule that has the right shape; null: nothing. */
  check(schedule: Schedule): ScheduleFlaw | null;
  /** What an empty run log says. */
  empty: RunLogState;
  /** What a run log says after one more record. */
  fold(state: RunLogState, record: RunRecord): RunLogState;
}
