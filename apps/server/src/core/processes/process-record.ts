import { processIdPattern } from '@duragent/protocol';
import { z } from 'zod';

const id = z.string().regex(processIdPattern);
const watchSchema = z.strictObject({
  /** Numbered from 1 within its process. */
  n: z.int().min(1),
  text: z.string().min(1).max(200),
  /** How long the output was when it was set, in bytes. */
  from: z.int().min(0),
  /** The line that had the text; null: none yet. */
  line: z.string().max(1000).nullable(),
  /** Whether its session has been told of the line. */
  told: z.boolean(),
});

/** What is kept of a background process. */
export const processRecordSchema = z.strictObject({
  id,
  session: z.string(),
  agent: z.string(),
  /** The tool call that started it. */
  call: z.string(),
  /** As the model wrote it. */
  command: z.string(),
  name: z.string().nullable(),
  /** Whether it has a terminal, and survives the server. */
  interactive: z.boolean(),
  started_at: z.string(),
  state: z.enum([
    /** It may have been started, or not. */
    'starting',
    'running',
    /** It ended by itself. */
    'exited',
    /** Its agent, or the end of its session, ended it. */
    'killed',
    /** The server ended it when it stopped. */
    'stopped',
    /** It was found dead. */
    'lost',
    /** It could not be started. */
    'failed',
  ]),
  pid: z.int().nullable(),
  /** When it was started, as the system says it: another process of the same number has another. */
  birth: z.string().nullable(),
  ended_at: z.string().nullable(),
  exit_code: z.int().nullable(),
  signal: z.string().nullable(),
  /** Why it could not be started, in words. */
  fault: z.string().nullable(),
  /** Whether its session has been told of the end, or knows it otherwise. */
  told: z.boolean(),
  watches: z.array(watchSchema).max(100),
});
export type ProcessRecord = z.infer<typeof processRecordSchema>;
export type ProcessWatch = z.infer<typeof watchSchema>;

/** How many records are kept, with their output. */
const MAX_RECORDS = 200;

/** The process that a call starts: it can be named before it is there. */
export function processIdOf(call: string): string {
  return `proc_${call.slice(call.indexOf('_') + 1)}`;
}

/** Whether it is over, however that came. */
export function hasEnded({ state }: ProcessRecord): boolean {
  return state !== 'starting' && state !== 'running';
}

/** Whether something is still to be done about it: it goes on, or its session has not been told. */
export function isUnsettled(record: ProcessRecord): boolean {
  return !hasEnded(record) || !record.told || record.watches.some(isUntold);
}

/** Whether its line came and its session does not know. */
export function isUntold(watch: ProcessWatch): boolean {
  return watch.line !== null && !watch.told;
}

/** Which records go so that at most `max` are left: of those that ended the oldest, those not yet told last. */
export function recordsToDrop(records: readonly ProcessRecord[], max = MAX_RECORDS): string[] {
  const rank = (record: ProcessRecord): string =>
    `${isUnsettled(record) ? 1 : 0} ${record.ended_at ?? ''} ${record.id}`;
  return records
    .filter(hasEnded)
    .toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1))
    .slice(0, Math.max(0, records.length - max))
    .map((record) => record.id);
}
