import type { ScheduleView } from '@duragent/protocol';
import { nextRun } from '../../core/schedule/due-runs.ts';
import { ruleOf } from '../../core/schedule/run-log.ts';
import type { Clock } from '../../ports/clock.ts';
import type {
  RunLogState,
  RunRecord,
  ScheduleStore,
  StoredSchedule,
} from '../../ports/schedule-store.ts';

/** After the first failure a run is tried again after so long, then after twice that … */
const FIRST_BACKOFF_MS = 60_000;
const LONGEST_BACKOFF_MS = 3_600_000;

/** What the scheduler remembers of one schedule. Nothing of it has to survive a restart. */
export class ScheduleEntry {
  stored: StoredSchedule;
  log: RunLogState;
  /** The next planned instant (ms); null: there is none. */
  nextAt: number | null = null;
  /** Whether something of it is being done just now. */
  isBusy = false;
  /** It was removed: nothing more is written for it. */
  isGone = false;
  /** What the disk says of its runs has to be read again. */
  isStale = false;
  /** Monotonic instants: before the first an open run is not tried again, before the second no new one is begun. */
  retryAt = -Infinity;
  blockedUntil = -Infinity;

  /** What `nextAt` was found with. */
  #plannedBy: StoredSchedule | null = null;

  constructor(stored: StoredSchedule, log: RunLogState) {
    this.stored = stored;
    this.log = log;
    this.adopt(log);
  }

  /** Takes what its run log says now. */
  adopt(log: RunLogState): void {
    const { schedule } = this.stored;
    const isAsBefore =
      this.#plannedBy === this.stored &&
      log.settled === this.log.settled &&
      log.rule === this.log.rule;
    this.log = log;
    if (isAsBefore) return;
    this.#plannedBy = this.stored;
    const hasBegun = log.settled !== null && log.rule === ruleOf(schedule);
    this.nextAt = hasBegun && !schedule.paused ? nextRun(schedule, log.settled ?? 0) : null;
  }

  /** Adds a record to its run log; nothing where it was removed. @throws as `ScheduleStore.append` */
  async append(store: ScheduleStore, record: RunRecord): Promise<void> {
    if (this.isGone) return;
    this.adopt(await store.append(this.stored.schedule.id, record));
  }

  /** Does something of it, which keeps it busy meanwhile. */
  async whileBusy(work: () => Promise<void>): Promise<void> {
    this.isBusy = true;
    try {
      await work();
    } finally {
      this.isBusy = false;
    }
  }

  /** How long (ms) until there is something to do; 0 or less: there is now; null: nothing is to be expected. */
  waitMs(clock: Clock): number | null {
    if (this.isBusy || this.isGone) return null;
    const mono = clock.monotonic();
    const next =
      this.nextAt === null ? null : Math.max(this.nextAt - clock.now(), this.blockedUntil - mono);
    const [open] = this.log.open;
    if (!open) return next;
    const retry = this.retryAt - mono;
    // Those that are made up for one by one keep their order; otherwise the next run takes the place of one that fails.
    const isInOrder = this.stored.schedule.misfire === 'run_all' || open.failures === 0;
    return next === null || isInOrder ? retry : Math.min(retry, next);
  }

  /** When (ms) what is to be done now became due. */
  dueSince(): number {
    const [open] = this.log.open;
    return open ? Date.parse(open.planned) : (this.nextAt ?? 0);
  }

  /** Waits after a failure: 1, 2, 4 … minutes, at most an hour. @returns how long, in ms. */
  backOff(clock: Clock, failures: number): number {
    const mono = clock.monotonic();
    const wait = Math.min(FIRST_BACKOFF_MS * 2 ** Math.min(failures - 1, 10), LONGEST_BACKOFF_MS);
    this.retryAt = mono + wait;
    this.blockedUntil = mono + FIRST_BACKOFF_MS;
    return wait;
  }

  /** As the API shows it. */
  view(clock: Clock): ScheduleView {
    const { paused, ...schedule } = this.stored.schedule;
    const [open] = this.log.open;
    const isRetrying = open !== undefined && open.failures > 0 && !this.isBusy;
    const wait = Math.max(0, Math.ceil(this.retryAt - clock.monotonic()));
    return {
      ...schedule,
      state: this.#state(isRetrying, paused),
      next_run: this.nextAt === null ? null : new Date(this.nextAt).toISOString(),
      ...(isRetrying ? { retry_at: new Date(clock.now() + wait).toISOString() } : {}),
      last_run: this.log.last,
    };
  }

  #state(isRetrying: boolean, isPaused: boolean): ScheduleView['state'] {
    if (isRetrying) return 'retrying';
    if (this.log.open.length > 0) return 'running';
    if (isPaused) return 'paused';
    return this.nextAt === null ? 'done' : 'waiting';
  }
}
