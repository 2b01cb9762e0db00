import { checkSchedule } from './check-schedule.ts';
import { emptyRunLog, foldRun } from './run-log.ts';

/** What a store of schedules has to know of them. */
export const scheduleRules = { check: checkSchedule, empty: emptyRunLog, fold: foldRun };
