import type { SettledCall } from '../core/budget/settled-call.ts';

/** What the model calls of each day used and cost. */
export interface UsageStore {
  /**
   * Adds a call to a day (`2026-11-20`). Never throws and is never waited for: what a crash takes of
   * it can be made again from the logs of the sessions.
   */
  add(day: string, call: SettledCall): void;
  /**
   * Every call of a day that was added so far, oldest first; of what cannot be understood, nothing.
   * @throws DuragentError `storage_failed` when it cannot be read.
   */
  read(day: string): AsyncIterable<SettledCall>;
  /** Writes what is left, if it can. Nothing is added afterwards. */
  close(): Promise<void>;
}

/** Calls of a day that may wait to be written; when there are more, the day is written no further. */
export const MAX_WAITING = 10_000;
