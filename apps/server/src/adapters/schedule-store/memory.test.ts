import { scheduleRules } from '../../core/schedule/rules.ts';
import { scheduleStoreContract } from '../../ports/schedule-store.contract.ts';
import { memoryScheduleStore, type KeptSchedules } from './memory.ts';

scheduleStoreContract('schedules in memory', async () => {
  const kept: KeptSchedules = { schedules: new Map(), runs: new Map() };
  return {
    open: async () => memoryScheduleStore(scheduleRules, () => 0, kept),
    dispose: async () => {},
  };
});
