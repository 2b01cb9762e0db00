import type { Schedule } from '@duragent/protocol';
import { MAX_SCHEDULE_TEXT_BYTES } from '@duragent/protocol';
import { durationSchema } from '../schema-parts.ts';
import { utf8Length } from '../utf8.ts';
import { readCron } from './cron-times.ts';
import { isTimeZone } from './time-zone.ts';

/** The shortest `every`, in ms. */
const LEAST_EVERY_MS = 10_000;
/** The longest. */
const MOST_EVERY_MS = 366 * 86_400_000;

/** What is wrong with a schedule, and where. */
export interface ScheduleFlaw {
  path: string[];
  message: string;
}

/** What a schema cannot see: whether the rule, the zone and the text make sense together. null: all is well. */
export function checkSchedule(
  schedule: Pick<Schedule, 'spec' | 'payload' | 'target' | 'deliver' | 'created_at'>,
): ScheduleFlaw | null {
  const { deliver, payload, spec, target } = schedule;
  if (payload.text.trim() === '') {
    return { path: ['payload', 'text'], message: 'there is nothing to say; write the text' };
  }
  if (utf8Length(payload.text) > MAX_SCHEDULE_TEXT_BYTES) {
    const message = `the text has more than ${MAX_SCHEDULE_TEXT_BYTES} bytes; shorten it`;
    return { path: ['payload', 'text'], message };
  }
  if (payload.kind === 'message' && deliver === undefined && target === 'isolated') {
    const message =
      'a message needs chats: give deliver, or the session whose chats get it as target';
    return { path: ['payload', 'kind'], message };
  }
  if ('at' in spec) return null;
  if ('every' in spec) {
    const every = durationSchema.parse(spec.every);
    if (every >= LEAST_EVERY_MS && every <= MOST_EVERY_MS) return null;
    return { path: ['spec', 'every'], message: 'every has to be from 10s to 366d' };
  }
  if (!isTimeZone(spec.zone)) {
    const message = 'expected an IANA time zone, such as Europe/Berlin or UTC';
    return { path: ['spec', 'zone'], message };
  }
  const times = readCron(spec.cron, spec.zone);
  if ('fault' in times) return { path: ['spec', 'cron'], message: times.fault };
  if (times.after(Date.UTC(2026, 0, 1)) !== null) return null;
  return { path: ['spec', 'cron'], message: 'there is no such day in any year; correct the rule' };
}
