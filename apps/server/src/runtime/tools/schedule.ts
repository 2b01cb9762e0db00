import {
  DuragentError,
  MAX_DELIVER_TO,
  MAX_SCHEDULE_TEXT_BYTES,
  processIdPattern,
} from '@duragent/protocol';
import { addressOf } from '../../core/session/chat-key.ts';
import type { ChatAddress, NewSchedule, ScheduleSpec, ScheduleView } from '@duragent/protocol';
import { z } from 'zod';
import { instantOfLocal, isTimeZone } from '../../core/schedule/time-zone.ts';
import type { CallPlan, Tool, ToolCaller, ToolResult } from '../../ports/tool.ts';
import type { ScheduleDesk } from '../scheduler/schedule-desk.ts';

export interface ScheduleToolDeps {
  desk: Pick<ScheduleDesk, 'list' | 'find' | 'create' | 'complete' | 'remove'>;
  /** IANA name of the zone of times that name none. */
  timezone: () => string;
  /** The chats of a session: what is planned there comes there, whatever they show then. */
  chatsOf?: (session: string) => readonly ChatAddress[];
}

const PREVIEW = 200;
const text = z.string().min(1).max(MAX_SCHEDULE_TEXT_BYTES);
const createSchema = z.strictObject({
  action: z.literal('create'),
  name: z.string().min(1).max(100).optional(),
  at: z.string().max(40).optional(),
  every: z.string().max(10).optional(),
  cron: z.string().max(200).optional(),
  zone: z.string().max(64).optional(),
  task: text.optional(),
  message: text.optional(),
  process: z.string().regex(processIdPattern, 'expected an id such as proc_…').optional(),
});
const argsSchema = z.discriminatedUnion('action', [
  createSchema,
  z.strictObject({ action: z.literal('list') }),
  z.strictObject({ action: z.literal('cancel'), id: z.string().min(1).max(100) }),
]);
type CreateArgs = z.infer<typeof createSchema>;

/** Lets an agent make, list and cancel schedules of the session it is called in. */
export function scheduleTool(deps: ScheduleToolDeps): Tool {
  const { desk, timezone, chatsOf = () => [] } = deps;

  function isOf({ agent, session }: ToolCaller, schedule: ScheduleView): boolean {
    return schedule.agent === agent.name && schedule.created_by === session;
  }

  /** What a call asks for. @throws DuragentError invalid_request */
  function read(args: Record<string, unknown>, caller: ToolCaller) {
    const parsed = argsSchema.safeParse(args);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw wrong(`${issue?.path.join('.') || 'the arguments'}: ${issue?.message ?? ''}`);
    }
    const { data } = parsed;
    if (data.action !== 'create') return data;
    const chats = chatsOf(caller.session).slice(0, MAX_DELIVER_TO);
    const request = {
      ...requestOf(data, caller, timezone()),
      ...(chats.length > 0 ? { deliver: chats.map(addressOf) } : {}),
    };
    // For its faults, before anybody is asked.
    const by = caller.session;
    const whole = desk.complete(request, { id: 'new', agent: caller.agent.name, by });
    return { action: data.action, request: { ...request, spec: whole.spec } };
  }

  function plan(args: Record<string, unknown>, caller: ToolCaller): CallPlan | { fault: string } {
    try {
      const call = read(args, caller);
      const { action } = call;
      const policy: CallPlan['policy'] = {
        kind: 'builtin',
        name: 'schedule',
        action,
        args,
        harmless: action === 'list',
      };
      if (call.action === 'list') {
        return { policy, shown: 'List the schedules made here.', command: null };
      }
      if (call.action === 'create') {
        const shown = describeNew(call.request, caller);
        return { policy, shown, command: null, writesTrusted: true };
      }
      const found = desk.find(call.id);
      if (!found || !isOf(caller, found)) return { fault: unknown(call.id) };
      const shown = `Cancel the schedule ${found.id}${named(found)}: ${describeSpec(found.spec)}.\n${found.payload.text}`;
      return { policy, shown, command: null, writesTrusted: true };
    } catch (error) {
      if (error instanceof DuragentError) return { fault: error.message };
      throw error;
    }
  }

  async function act(args: Record<string, unknown>, caller: ToolCaller): Promise<string> {
    const call = read(args, caller);
    switch (call.action) {
      case 'list': {
        const own = desk.list().schedules.filter((schedule) => isOf(caller, schedule));
        if (own.length === 0) return 'There is no schedule here.';
        return own.map((schedule) => JSON.stringify(summaryOf(schedule))).join('\n');
      }
      case 'create': {
        const { session } = caller;
        const seed = `${session} ${caller.call}`;
        const request = { ...call.request, agent: caller.agent.name };
        const made = await desk.create(request, { by: session, seed });
        const next = made.next_run === null ? 'It will not run.' : `Next run: ${made.next_run}.`;
        return `Made the schedule ${made.id}: ${describeSpec(made.spec)}. ${next}`;
      }
      case 'cancel': {
        const found = desk.find(call.id);
        if (!found || !isOf(caller, found)) throw wrong(unknown(call.id));
        await desk.remove(found.id);
        return `Cancelled the schedule ${found.id}.`;
      }
    }
  }

  return {
    name: 'schedule',
    description: `Plan something for later in this conversation: a task that you do then, or a message that is sent as it is. Give exactly one of at, every and cron, and one of task and message. Times without an offset are in ${timezone()}, unless zone says otherwise.`,
    parameters,
    effect: 'effectful',
    onInterrupt: 'tell_model',
    plan,
    async run(args, { caller }): Promise<ToolResult> {
      try {
        return { outcome: 'ok', content: await act(args, caller) };
      } catch (error) {
        if (!(error instanceof DuragentError)) throw error;
        return { outcome: 'error', content: error.message };
      }
    },
  };
}

const parameters = {
  type: 'object',
  properties: {
    action: { type: 'string', enum: ['create', 'list', 'cancel'] },
    at: {
      type: 'string',
      description:
        'create: once, at an ISO 8601 time, such as 2026-03-01T07:00 or 2026-03-01T07:00:00Z',
    },
    every: {
      type: 'string',
      description: 'create: again and again, from 10s on: 30s, 15m, 2h, 7d',
    },
    cron: {
      type: 'string',
      description: 'create: minute hour day-of-month month day-of-week, such as 30 7 * * 1-5',
    },
    zone: {
      type: 'string',
      description: 'create: IANA time zone of at and cron, such as Europe/Berlin',
    },
    task: { type: 'string', description: 'create: what you are told to do then' },
    message: { type: 'string', description: 'create: what is sent then, word for word' },
    process: {
      type: 'string',
      description: 'create: the background process it ends with (proc_…), one of yours that runs',
    },
    name: { type: 'string', description: 'create: what people call it' },
    id: { type: 'string', description: 'cancel: the id that create or list gave' },
  },
  required: ['action'],
  additionalProperties: false,
};

function requestOf(args: CreateArgs, { session }: ToolCaller, timezone: string): NewSchedule {
  const { message, name, process, task } = args;
  if ((task === undefined) === (message === undefined)) {
    throw wrong('give either task or message');
  }
  const payload =
    task === undefined
      ? { kind: 'message' as const, text: message ?? '' }
      : { kind: 'task' as const, text: task };
  return {
    ...(name === undefined ? {} : { name }),
    spec: specOf(args, timezone),
    payload,
    target: { session },
    ...(process === undefined ? {} : { process }),
  };
}

function specOf({ at, cron, every, zone }: CreateArgs, timezone: string): ScheduleSpec {
  const given = [at, every, cron].filter((one) => one !== undefined);
  if (given.length !== 1) throw wrong('give exactly one of at, every and cron');
  const clock = zone ?? timezone;
  if (!isTimeZone(clock)) {
    throw wrong('zone: expected an IANA time zone, such as Europe/Berlin or UTC');
  }
  if (cron !== undefined) return { cron, zone: clock };
  if (every !== undefined) {
    if (/^\d{1,9}[smhd]$/.test(every)) return { every };
    throw wrong('every: expected a duration such as 30s, 15m, 2h or 7d');
  }
  const text = at ?? '';
  const hasOffset = z.iso.datetime({ offset: true }).safeParse(text).success;
  const instant = hasOffset ? Date.parse(text) : instantOfLocal(text, clock);
  if (instant !== null) return { at: new Date(instant).toISOString() };
  throw wrong('at: expected an ISO 8601 time, such as 2026-03-01T07:00 or 2026-03-01T07:00:00Z');
}

function describeNew(request: NewSchedule, { agent }: ToolCaller): string {
  const { payload, process, spec } = request;
  const end = process === undefined ? '' : ` It ends with the process ${process}.`;
  const what =
    payload.kind === 'task'
      ? `Then ${agent.name} is given this task here:`
      : 'Then this is sent here as it is:';
  return `Make a schedule${named(request)}: ${describeSpec(spec)}.${end} ${what}\n${payload.text}`;
}

function describeSpec(spec: NewSchedule['spec']): string {
  if ('at' in spec) return `once, at ${spec.at}`;
  if ('every' in spec) return `every ${spec.every}`;
  return `by the cron rule "${spec.cron}" in ${spec.zone ?? 'the zone of the server'}`;
}

function named({ name }: { name?: string | undefined }): string {
  return name === undefined ? '' : ` ${JSON.stringify(name)}`;
}

function summaryOf(schedule: ScheduleView): object {
  const { id, last_run: last, name, next_run, payload, process, spec, state } = schedule;
  return {
    id,
    name,
    when: describeSpec(spec),
    [payload.kind]: payload.text.slice(0, PREVIEW),
    process,
    state,
    next_run,
    last_run: last && { planned: last.planned, outcome: last.outcome, error: last.error?.message },
  };
}

function unknown(id: string): string {
  return `there is no schedule ${id} here; list shows those there are`;
}

function wrong(message: string): DuragentError {
  return new DuragentError('invalid_request', message);
}
