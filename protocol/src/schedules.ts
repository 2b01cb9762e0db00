import { z } from 'zod';
import { MAX_DELIVER_TO } from './events/message.ts';
import type { InferKnown } from './infer-known.ts';
import { agentNameSchema, namePattern, sessionIdSchema } from './names.ts';

/** Schedules: what is kept in their files, and what the API says of them (PROTOCOL.md, "HTTP"). */

/** The longest text of a schedule, in bytes of UTF-8. */
export const MAX_SCHEDULE_TEXT_BYTES = 32 * 1024;
/** The most runs that one answer lists. */
export const MAX_LISTED_RUNS = 1000;

/** The id of a schedule that the server made. */
export const scheduleIdPattern = /^sched_[0-9a-hjkmnp-tv-z]{26}$/;

/** The id of a background process. */
export const processIdPattern = /^proc_[0-9a-hjkmnp-tv-z]{26}$/;

/** Ids of schedules: the server's own, or the name of a file that a person wrote (`morning` of `morning.yaml`). */
export const scheduleIdSchema = z
  .string()
  .refine((id) => scheduleIdPattern.test(id) || namePattern.test(id), {
    error: 'expected sched_ and 26 letters and digits, or a name of a-z, 0-9 and "-"',
  });

const instantSchema = z.iso.datetime({
  offset: true,
  error: 'expected an ISO 8601 instant with its offset, such as 2026-03-01T07:00:00Z',
});
const zoneSchema = z.string().min(1).max(64);
const cronSchema = z.string().min(1).max(200);

const rules = {
  at: z.strictObject({ at: instantSchema }),
  every: z.strictObject({
    /** A duration from `10s` on: `30s`, `15m`, `2h`, `7d`. */
    every: z.string().regex(/^\d{1,9}[smhd]$/, 'expected a duration such as 30s, 15m, 2h or 7d'),
    /** The first of its runs; the others follow at whole multiples of `every`. Default: one `every` after it was made. */
    anchor: instantSchema.optional(),
  }),
  cron: z.strictObject({
    /** Five fields: minute, hour, day of the month, month, day of the week. */
    cron: cronSchema,
    /** IANA name of the time zone whose clock counts, such as `Europe/Berlin`. */
    zone: zoneSchema,
  }),
};

/** When: once, again and again after the same time, or by a cron rule in a time zone. */
export const scheduleSpecSchema = byKey(rules);
export type ScheduleSpec = InferKnown<typeof scheduleSpecSchema>;

/** What a run does: `message` sends the text to chats as it is, `task` gives it to the agent as a turn. */
export const schedulePayloadSchema = z.strictObject({
  kind: z.enum(['message', 'task']),
  text: z.string().min(1).max(MAX_SCHEDULE_TEXT_BYTES),
});

/** Where a run goes: a session, the session that holds a key (made when there is none), or a new one each time. */
export const scheduleTargetSchema = z.union([
  z.strictObject({ session: sessionIdSchema }),
  z.strictObject({ key: z.string().min(1).max(200) }),
  z.literal('isolated'),
]);

/** A chat that runs are shown in. */
export const scheduleChatSchema = z.strictObject({
  /** The gateway's name in duragent.yaml. */
  gateway: z.string().regex(namePattern),
  /** Which of the gateway's accounts; it has the gateway's name. */
  account: z.string().min(1).max(200),
  chat_id: z.string().min(1).max(200),
  thread_id: z.string().min(1).max(200).optional(),
});

/** What becomes of runs that were missed: the newest is made up for, none is, or up to ten are. */
export const misfireSchema = z.enum(['run_once', 'skip', 'run_all']);
export type Misfire = z.infer<typeof misfireSchema>;

const common = {
  /** What people call it. */
  name: z.string().min(1).max(100).optional(),
  payload: schedulePayloadSchema,
  /** Chats that get the message, or the answer of the task; default: those of the target's session. */
  deliver: z.array(scheduleChatSchema).min(1).max(MAX_DELIVER_TO).optional(),
  /** The background process that it ends with. */
  process: z
    .string()
    .regex(
      processIdPattern,
      'expected the id of a background process: proc_ and 26 letters and digits',
    )
    .optional(),
};

/** A schedule as its file holds it; the id is the file's name. */
export const scheduleFileSchema = z.strictObject({
  ...common,
  agent: agentNameSchema,
  /** Nothing planned before it counts. Default: when the file was changed last before it was first seen. */
  created_at: instantSchema.optional(),
  /** `cli`, a token's name, or the session that made it. */
  created_by: z.string().min(1).max(200).optional(),
  spec: scheduleSpecSchema,
  target: scheduleTargetSchema.default('isolated'),
  misfire: misfireSchema.default('run_once'),
  /** Nothing runs while it is true, and what was missed meanwhile is not made up for. */
  paused: z.boolean().default(false),
});

/** A schedule. */
export type Schedule = InferKnown<typeof scheduleFileSchema> & { id: string };

/** `POST /api/v1/schedules`. */
export const newScheduleSchema = z.strictObject({
  ...common,
  /** The agent's name; without it the default agent, or the only one. */
  agent: agentNameSchema.optional(),
  /** As in its file; `zone` may be left out: then the server's counts. */
  spec: byKey({ ...rules, cron: rules.cron.extend({ zone: zoneSchema.optional() }) }),
  target: scheduleTargetSchema.optional(),
  misfire: misfireSchema.optional(),
  paused: z.boolean().optional(),
});
export type NewSchedule = InferKnown<typeof newScheduleSchema>;

export const scheduleRunOutcomeSchema = z.enum([
  'running',
  'retrying',
  'ok',
  'failed',
  'skipped',
  'dropped',
]);

/** One run, or a row of runs that were skipped. */
export const scheduleRunSchema = z.looseObject({
  /** ISO instant that it was planned for, which names it; of skipped ones the newest. */
  planned: z.string(),
  /**
   * `ok`: the session or the chats have it. `dropped`: the session has it and left it out, because
   * it was busy (queue mode `drop`). `retrying`: it failed and is tried again.
   */
  outcome: scheduleRunOutcomeSchema,
  /** ISO instants. */
  started_at: z.string().optional(),
  finished_at: z.string().optional(),
  /** true: somebody asked for it. */
  manual: z.boolean().optional(),
  /** How many failed tries there were. */
  failures: z.int().min(0),
  /** How many planned runs before it were skipped, or are skipped by this entry; at most 100 are counted. */
  skipped: z.int().min(0),
  session: z.string().optional(),
  turn: z.string().optional(),
  /** Why it failed last, where it did. */
  error: z.looseObject({ code: z.string(), message: z.string() }).optional(),
});
export type ScheduleRun = InferKnown<typeof scheduleRunSchema>;

export const scheduleStateSchema = z.enum(['waiting', 'running', 'retrying', 'paused', 'done']);

/** A schedule as the API shows it. */
export const scheduleViewSchema = z.looseObject({
  id: z.string(),
  name: z.string().optional(),
  agent: z.string(),
  created_at: z.string().optional(),
  created_by: z.string().optional(),
  spec: scheduleSpecSchema,
  payload: schedulePayloadSchema,
  target: scheduleTargetSchema,
  deliver: z.array(scheduleChatSchema).optional(),
  misfire: misfireSchema,
  process: z.string().optional(),
  state: scheduleStateSchema,
  /** ISO instant of the next planned run; null: there is none. */
  next_run: z.string().nullable(),
  /** ISO instant at which a failed run is tried again, at the latest. */
  retry_at: z.string().optional(),
  /** The run that was begun last; null: none was yet. */
  last_run: scheduleRunSchema.nullable(),
});
export type ScheduleView = InferKnown<typeof scheduleViewSchema>;

/** Why a schedule does not run: its file does not read, or its run log cannot be trusted. */
export const scheduleFaultSchema = z.looseObject({
  id: z.string(),
  file: z.string(),
  line: z.int().min(1),
  column: z.int().min(1),
  message: z.string(),
});
export type ScheduleFault = InferKnown<typeof scheduleFaultSchema>;

/** `GET /api/v1/schedules`. */
export const scheduleListSchema = z.looseObject({
  schedules: z.array(scheduleViewSchema),
  faults: z.array(scheduleFaultSchema),
});
export type ScheduleList = InferKnown<typeof scheduleListSchema>;

/** `GET /api/v1/schedules/{id}`: with its newest runs, newest first. */
export const scheduleDetailSchema = scheduleViewSchema.extend({ runs: z.array(scheduleRunSchema) });
export type ScheduleDetail = InferKnown<typeof scheduleDetailSchema>;

/** 202 of `POST /api/v1/schedules/{id}/run`. */
export const scheduleRunAcceptedSchema = z.looseObject({
  id: z.string(),
  /** ISO instant that names the run. */
  planned: z.string(),
});
export type ScheduleRunAccepted = InferKnown<typeof scheduleRunAcceptedSchema>;

/** The one of some objects whose key is there: its faults are told, not those of the others. */
function byKey<Rules extends Record<string, z.ZodType>>(rules: Rules) {
  const keys = Object.keys(rules);
  return z.unknown().transform((value, context): z.output<Rules[keyof Rules]> => {
    const isObject = typeof value === 'object' && value !== null;
    const given = keys.filter((key) => isObject && Object.hasOwn(value, key));
    const schema = given.length === 1 ? rules[given[0] ?? ''] : undefined;
    if (schema === undefined) {
      const message = `expected exactly one of ${keys.join(', ')}`;
      context.addIssue({ code: 'custom', message, input: value });
      return z.NEVER;
    }
    const read = schema.safeParse(value);
    if (read.success) return read.data as z.output<Rules[keyof Rules]>;
    context.issues.push(...(read.error.issues as z.core.$ZodRawIssue[]));
    return z.NEVER;
  });
}
