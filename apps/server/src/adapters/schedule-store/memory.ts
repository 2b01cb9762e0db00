import type { Schedule } from '@duragent/protocol';
import type {
  RunLogState,
  RunRecord,
  ScheduleRules,
  ScheduleStore,
  StoredSchedule,
} from '../../ports/schedule-store.ts';

/** Everything a memory store keeps; another store over it sees what this one left. */
export interface KeptSchedules {
  schedules: Map<string, StoredSchedule>;
  runs: Map<string, { records: RunRecord[]; state: RunLogState }>;
}

/** Schedules in memory, for tests. `now` is when a schedule that is made was changed. */
export function memoryScheduleStore(
  rules: ScheduleRules,
  now: () => number,
  kept: KeptSchedules = { schedules: new Map(), runs: new Map() },
): ScheduleStore {
  return {
    async list() {
      const ids = [...kept.schedules.keys()].sort();
      return { schedules: ids.flatMap((id) => kept.schedules.get(id) ?? []), faults: [] };
    },
    async create(schedule: Schedule) {
      if (kept.schedules.has(schedule.id)) return false;
      kept.schedules.set(schedule.id, { schedule: structuredClone(schedule), changedAt: now() });
      return true;
    },
    async remove(id) {
      kept.runs.delete(id);
      return kept.schedules.delete(id);
    },
    runLog: async (id) => kept.runs.get(id)?.state ?? rules.empty,
    async append(id, record) {
      const log = kept.runs.get(id) ?? { records: [], state: rules.empty };
      kept.runs.set(id, log);
      log.records.push({ ...record });
      log.state = rules.fold(log.state, record);
      return log.state;
    },
    records: async (id, limit) => kept.runs.get(id)?.records.slice(-limit) ?? [],
  };
}
