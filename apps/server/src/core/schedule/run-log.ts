import type { Schedule, ScheduleRun } from '@duragent/protocol';

/** Why a run failed. */
export interface RunError {
  code: string;
  message: string;
}

/** One durable record of a schedule's run log; `planned` names the run. Instants are ISO, UTC with milliseconds. */
export type RunRecord =
  /** The schedule is seen with this rule for the first time: nothing planned up to `settled` counts. */
  | { type: 'begun'; at: string; rule: string; settled: string }
  /** Durable before the run has any effect. `skipped`: so many planned before it are left out for it. */
  | {
      type: 'started';
      at: string;
      planned: string;
      skipped: number;
      manual?: true;
      /** Names the request that asked for it. */
      key?: string;
    }
  /** One try failed; the run is still owed. */
  | { type: 'failed'; at: string; planned: string; error: RunError }
  | {
      type: 'finished';
      at: string;
      planned: string;
      outcome: 'ok' | 'failed' | 'dropped';
      session?: string;
      turn?: string;
      error?: RunError;
    }
  /** So many planned up to `planned` were missed and are left out. */
  | { type: 'skipped'; at: string; planned: string; count: number };

/** A run that was started and has not finished. */
export interface OpenRun {
  planned: string;
  startedAt: string;
  skipped: number;
  manual: boolean;
  failures: number;
  error: RunError | null;
}

/** What a run log says, in short. */
export interface RunLogState {
  /** Planned instants (ms) up to here are done with; null: the schedule has not begun. */
  settled: number | null;
  /** The rule that `settled` was found with; null: it has not begun. */
  rule: string | null;
  /** Oldest first. */
  open: OpenRun[];
  /** The run that was begun last, as people see it. */
  last: ScheduleRun | null;
}

export const emptyRunLog: RunLogState = { settled: null, rule: null, open: [], last: null };

/** The name of a run: the same whenever and however often it is handed over. */
export function runIdentity(schedule: string, planned: string): string {
  return `${schedule}/${planned}`;
}

/** What of a schedule makes its planned instants; while it is the same, missed ones count. */
export function ruleOf({ spec, paused }: Pick<Schedule, 'spec' | 'paused'>): string {
  return JSON.stringify({ ...spec, ...(paused ? { paused } : {}) });
}

/** What a run log says after one more record. */
export function foldRun(state: RunLogState, record: RunRecord): RunLogState {
  switch (record.type) {
    case 'begun':
      return { ...state, rule: record.rule, settled: later(state.settled, record.settled) };
    case 'skipped':
      return { ...state, settled: later(state.settled, record.planned) };
    case 'started': {
      const { at, manual = false, planned, skipped } = record;
      const run = { planned, startedAt: at, skipped, manual, failures: 0, error: null };
      const open = [...state.open.filter((each) => each.planned !== planned), run];
      return {
        ...state,
        // Somebody's own run is planned for nothing.
        settled: manual ? state.settled : later(state.settled, planned),
        open,
        last: viewOpen(run),
      };
    }
    case 'failed': {
      const open = state.open.map((run) =>
        run.planned === record.planned
          ? { ...run, failures: run.failures + 1, error: record.error }
          : run,
      );
      return { ...state, open, last: viewLast(state, open, record.planned) };
    }
    case 'finished': {
      const run = state.open.find(({ planned }) => planned === record.planned);
      const open = state.open.filter((each) => each !== run);
      const isLast = state.last?.planned === record.planned;
      if (!isLast || !run) return { ...state, open };
      return { ...state, open, last: viewFinished(run, record) };
    }
  }
}

/** The runs of a log as people see them, newest first. */
export function runsOf(records: readonly RunRecord[]): ScheduleRun[] {
  const runs = new Map<string, ScheduleRun>();
  let state = emptyRunLog;
  for (const record of records) {
    const before = state;
    state = foldRun(state, record);
    if (record.type === 'begun') continue;
    const { planned } = record;
    if (record.type === 'skipped') {
      const skipped = record.count;
      const entry: ScheduleRun = { planned, outcome: 'skipped', failures: 0, skipped };
      runs.set(`skipped ${planned}`, entry);
      continue;
    }
    const open = state.open.find((run) => run.planned === planned);
    const was = before.open.find((run) => run.planned === planned);
    if (open) runs.set(planned, viewOpen(open));
    else if (record.type === 'finished' && was) runs.set(planned, viewFinished(was, record));
  }
  return [...runs.values()].reverse();
}

function viewLast(state: RunLogState, open: OpenRun[], planned: string): ScheduleRun | null {
  const run = open.find((each) => each.planned === planned);
  return run && state.last?.planned === planned ? viewOpen(run) : state.last;
}

function viewOpen({ error, failures, manual, planned, skipped, startedAt }: OpenRun): ScheduleRun {
  return {
    planned,
    outcome: failures > 0 ? 'retrying' : 'running',
    started_at: startedAt,
    ...(manual ? { manual } : {}),
    failures,
    skipped,
    ...(error ? { error } : {}),
  };
}

function viewFinished(
  run: OpenRun,
  { at, error, outcome, session, turn }: RunRecord & { type: 'finished' },
): ScheduleRun {
  return {
    ...viewOpen(run),
    outcome,
    finished_at: at,
    ...(session === undefined ? {} : { session }),
    ...(turn === undefined ? {} : { turn }),
    ...(error ? { error } : {}),
  };
}

function later(settled: number | null, instant: string): number {
  return Math.max(settled ?? -Infinity, Date.parse(instant));
}
