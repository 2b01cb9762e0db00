import type { ScheduleFault } from '@duragent/protocol';
import { DuragentError, scheduleIdPattern } from '@duragent/protocol';
import { ruleOf } from '../../core/schedule/run-log.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ScheduleStore, StoredSchedule } from '../../ports/schedule-store.ts';
import { runErrorOf } from './run-error.ts';
import { ScheduleEntry } from './schedule-entry.ts';

export interface KnownSchedulesDeps {
  store: ScheduleStore;
  clock: Clock;
  /** Whether a process has ended: schedules that are linked to it end too. Never rejects. */
  isProcessOver: (process: string) => boolean | Promise<boolean>;
  log: {
    info(fields: object, text: string): void;
    error(fields: object, text: string): void;
  };
}

/** A schedule that the server made for one moment is kept so long after it is done. */
const KEEP_DONE_MS = 86_400_000;
/** Run logs that are read at the same time. */
const LEARNED_AT_ONCE = 32;

/** The schedules there are, as their files said when they were looked at last, and why others do not run. */
export class KnownSchedules {
  readonly #deps: KnownSchedulesDeps;
  readonly #entries = new Map<string, ScheduleEntry>();
  #fileFaults: ScheduleFault[] = [];
  /** By id: why a schedule whose file is fine cannot run. */
  #logFaults = new Map<string, ScheduleFault>();
  #saidFaults = new Set<string>();

  constructor(deps: KnownSchedulesDeps) {
    this.#deps = deps;
  }

  /** Those that can run. */
  get entries(): Iterable<ScheduleEntry> {
    return this.#entries.values();
  }

  get faults(): ScheduleFault[] {
    return [...this.#fileFaults, ...this.#logFaults.values()];
  }

  find(id: string): ScheduleEntry | null {
    return this.#entries.get(id) ?? null;
  }

  /** @throws DuragentError not_found, config_invalid for a broken one */
  get(id: string): ScheduleEntry {
    const entry = this.#entries.get(id);
    if (entry) return entry;
    throw this.unknown(id);
  }

  /** Why there is no schedule of this id that can run. */
  unknown(id: string): DuragentError {
    const fault = this.faults.find((each) => each.id === id);
    if (fault) {
      const { column, file, line, message } = fault;
      return new DuragentError('config_invalid', `${file}:${line}:${column}: ${message}`);
    }
    return new DuragentError(
      'not_found',
      `There is no schedule ${id.slice(0, 100)}; \`duragent schedules list\` shows those there are.`,
    );
  }

  /** Takes what the store lists now, and removes what is over. @throws DuragentError storage_failed */
  async take({ faults, schedules }: Awaited<ReturnType<ScheduleStore['list']>>): Promise<void> {
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
      if (await this.#isOver(entry)) await this.#delete(entry.stored.schedule.id);
    }
  }

  /** Ends a schedule, a broken one too; a run that is being handed over goes on. @throws DuragentError not_found, storage_failed */
  async remove(id: string): Promise<void> {
    const isKnown = this.#entries.has(id) || this.faults.some((fault) => fault.id === id);
    if (!isKnown) throw this.unknown(id);
    await this.#delete(id);
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
      // A person may have taken away why it was to go.
      entry.isGone = false;
      entry.adopt(log);
      if (log.rule !== ruleOf(schedule)) {
        const isFirst = log.rule === null && schedule.created_at !== undefined;
        const since = isFirst ? Date.parse(schedule.created_at ?? '') : stored.changedAt;
        const settled = new Date(Math.floor(Math.min(since, clock.now()))).toISOString();
        const record = {
          type: 'begun',
          at: new Date(clock.now()).toISOString(),
          rule: ruleOf(schedule),
          settled,
        } as const;
        await entry.append(store, record);
      }
      this.#entries.set(id, entry);
      this.#logFaults.delete(id);
    } catch (error) {
      // Read anew at the next look.
      if (known) known.isGone = true;
      this.#entries.delete(id);
      const { code, message } = runErrorOf(error);
      const file = error instanceof DuragentError ? error.details['file'] : undefined;
      const where = { file: typeof file === 'string' ? file : `${id}.yaml`, line: 1, column: 1 };
      this.#logFaults.set(id, { id, ...where, message });
      if (code === 'internal') this.#deps.log.error({ schedule: id, err: error }, 'schedule fails');
    }
  }

  /** Logs each fault once, until it has gone and come again. */
  #sayFaults(): void {
    const now = new Set<string>();
    for (const fault of this.faults) {
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
    if (process !== undefined && (await isProcessOver(process))) {
      log.info({ schedule: id, process }, 'schedule removed: its process has ended');
      return true;
    }
    // What a person wrote stays until a person removes it.
    if (!('at' in spec) || !scheduleIdPattern.test(id)) return false;
    if (entry.isBusy || entry.nextAt !== null || entry.log.open.length > 0) return false;
    const end = Math.max(Date.parse(spec.at), Date.parse(entry.log.last?.finished_at ?? spec.at));
    return clock.now() - end > KEEP_DONE_MS;
  }

  async #delete(id: string): Promise<void> {
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
}
