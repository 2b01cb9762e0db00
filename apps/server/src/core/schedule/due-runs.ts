import type { Schedule } from '@duragent/protocol';
import { plannedTimes, type Planned } from './planned-times.ts';

/** So late a run may be and still counts as on time: a restart, or a clock that was set. */
const ON_TIME_MS = 60_000;
/** The most missed runs that `run_all` makes up for. */
const MOST_MADE_UP = 10;
/** The most skipped runs that are counted. */
const MOST_COUNTED = 100;

/** What is to be run now. */
export interface DueRuns {
  /** Planned instants (ms), oldest first. */
  runs: number[];
  /** How many planned instants are left out; at most 100 are counted. */
  skipped: number;
  /** The newest planned instant that is due; null: none is. */
  newest: number | null;
}

/** The first planned instant (ms) after another; null: there is none, or the rule is no good. */
export function nextRun(schedule: Planned, after: number): number | null {
  const times = plannedTimes(schedule);
  return 'fault' in times ? null : times.after(after);
}

/**
 * Which planned instants after `settled` and up to `now` are to be run. Missed ones count by the
 * schedule's `misfire`: `run_once` runs the newest for all of them, `skip` only one that is at most a
 * minute late, `run_all` the newest ten.
 */
export function dueRuns(
  schedule: Planned & Pick<Schedule, 'misfire'>,
  settled: number,
  now: number,
): DueRuns {
  const times = plannedTimes(schedule);
  const nothing = { runs: [], skipped: 0, newest: null };
  if ('fault' in times) return nothing;
  const most = MOST_MADE_UP + MOST_COUNTED;
  let due: number[] = [];
  for (
    let at = times.after(settled);
    at !== null && at <= now && due.length < most;
    at = times.after(at)
  ) {
    due.push(at);
  }
  const counted = due.length;
  if (counted === most) due = times.upTo(now, MOST_MADE_UP);
  const newest = due.at(-1);
  if (newest === undefined) return nothing;
  const runs = chosen(schedule.misfire, due, now);
  return { runs, skipped: Math.min(counted - runs.length, MOST_COUNTED), newest };
}

function chosen(misfire: Schedule['misfire'], due: number[], now: number): number[] {
  switch (misfire) {
    case 'run_once':
      return due.slice(-1);
    case 'run_all':
      return due.slice(-MOST_MADE_UP);
    case 'skip':
      return due.slice(-1).filter((at) => now - at <= ON_TIME_MS);
  }
}
