import type { Schedule } from '@duragent/protocol';
import { durationSchema } from '../schema-parts.ts';
import { readCron, type CronTimes } from './cron-times.ts';

/** The instants (ms) that a schedule is planned for, whether anything ran then or not. */
export type PlannedTimes = CronTimes;

/** What of a schedule says when it is due. */
export type Planned = Pick<Schedule, 'spec' | 'created_at'>;

/** The planned instants of a schedule, or what is wrong with its rule. */
export function plannedTimes({ spec, created_at }: Planned): PlannedTimes | { fault: string } {
  if ('at' in spec) return once(Date.parse(spec.at));
  if ('cron' in spec) return readCron(spec.cron, spec.zone);
  const anchor = spec.anchor ?? created_at;
  const every = durationSchema.parse(spec.every);
  // Without any beginning: whole multiples since 1970, so that every server sees the same.
  return anchor === undefined ? again(0, every) : again(Date.parse(anchor), every);
}

function once(at: number): PlannedTimes {
  return {
    after: (ms) => (at > ms ? at : null),
    upTo: (ms) => (at <= ms ? [at] : []),
  };
}

function again(anchor: number, every: number): PlannedTimes {
  return {
    after: (ms) =>
      ms < anchor ? anchor : anchor + (Math.floor((ms - anchor) / every) + 1) * every,
    upTo(ms, count) {
      const last = Math.floor((ms - anchor) / every);
      const first = Math.max(0, last - count + 1);
      return Array.from(
        { length: Math.max(0, last - first + 1) },
        (_, i) => anchor + (first + i) * every,
      );
    },
  };
}
