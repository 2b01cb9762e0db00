import {
  DuragentError,
  MAX_LISTED_RUNS,
  type Misfire,
  type NewSchedule,
  type ScheduleRun,
  type ScheduleView,
} from '@duragent/protocol';
import { connect, connectSchedules } from '../client/connect.ts';
import { pickSession } from '../client/pick-session.ts';
import type { CliContext } from '../context.ts';
import type { ExitCode } from '../exit-codes.ts';
import { sanitizeLine } from '../terminal/sanitize.ts';
import { table } from '../terminal/table.ts';
import { ago } from './ago.ts';

type Output = 'table' | 'json';

/** What `duragent schedules add` is given. */
export interface AddOptions {
  agent?: string;
  name?: string;
  at?: string;
  every?: string;
  cron?: string;
  zone?: string;
  task?: string;
  message?: string;
  session?: string;
  key?: string;
  process?: string;
  /** `<gateway>:<chat>` or `<gateway>:<chat>:<thread>`. */
  deliver?: string[];
  misfire?: Misfire;
  output: Output;
}

/** `duragent schedules list`: all of them, and why others do not run. */
export async function listSchedules(
  context: CliContext,
  options: { agent?: string; output: Output },
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connectSchedules(context, { signal });
  const list = await client.list({ signal });
  const { faults } = list;
  const schedules = list.schedules.filter(
    ({ agent }) => options.agent === undefined || agent === options.agent,
  );
  if (options.output === 'json') {
    print(context, { schedules, faults });
    return 0;
  }
  for (const { column, file, line, message } of faults) {
    const place = `${file}:${String(line)}:${String(column)}`;
    context.stderr.write(`${sanitizeLine(`${place}: ${message}`)}\n`);
  }
  if (schedules.length === 0) {
    if (!context.globals.quiet) context.stderr.write('There is no schedule.\n');
    return 0;
  }
  const columns = context.stdout.isTTY ? context.stdout.columns : null;
  const head = ['SCHEDULE', 'AGENT', 'WHEN', 'STATE', 'NEXT', 'LAST', 'WHAT'];
  context.stdout.write(table(head, schedules.map(rowOf), columns));
  return 0;
}

/** `duragent schedules show`: all that is known of one, and its newest runs. */
export async function showSchedule(
  context: CliContext,
  wanted: string,
  options: { output: Output },
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connectSchedules(context, { signal });
  const found = await client.show(await client.pick(wanted, { signal }), 10, { signal });
  if (options.output === 'json') {
    print(context, found);
    return 0;
  }
  const { runs, ...view } = found;
  const rows = Object.entries(view).map(([name, value]) => [
    sanitizeLine(name),
    sanitizeLine(typeof value === 'string' ? value : JSON.stringify(value)),
  ]);
  context.stdout.write(table(['NAME', 'VALUE'], rows, null));
  if (runs.length > 0) context.stdout.write(`\n${runTable(context, runs)}`);
  return 0;
}

/** `duragent schedules runs`: what ran, newest first. */
export async function scheduleRuns(
  context: CliContext,
  wanted: string,
  options: { limit?: number; output: Output },
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connectSchedules(context, { signal });
  const id = await client.pick(wanted, { signal });
  const limit = Math.min(options.limit ?? 100, MAX_LISTED_RUNS);
  const { runs } = await client.show(id, limit, { signal });
  if (options.output === 'json') print(context, runs);
  else if (runs.length > 0) context.stdout.write(runTable(context, runs));
  else if (!context.globals.quiet) context.stderr.write('Nothing ran yet.\n');
  return 0;
}

/** `duragent schedules add`. */
export async function addSchedule(context: CliContext, options: AddOptions): Promise<ExitCode> {
  const { signal } = new AbortController();
  const schedule = readAdd(options);
  if (options.session !== undefined) {
    const sessions = await connect(context, { signal });
    const { session } = await pickSession(sessions, options.session, { signal });
    schedule.target = { session };
  }
  const client = await connectSchedules(context, { signal });
  const made = await client.create(schedule, { signal });
  if (options.output === 'json') {
    print(context, made);
    return 0;
  }
  context.stdout.write(`${sanitizeLine(made.id)}\n`);
  if (!context.globals.quiet) {
    const next = made.next_run === null ? 'It does not run.' : `It runs next at ${made.next_run}.`;
    context.stderr.write(`${sanitizeLine(next)}\n`);
  }
  return 0;
}

/** `duragent schedules remove`: each of them, in order; stops at the first that is refused. */
export async function removeSchedules(
  context: CliContext,
  wanted: readonly string[],
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connectSchedules(context, { signal });
  for (const one of wanted) {
    const id = await client.pick(one, { signal });
    await client.remove(id, { signal });
    if (!context.globals.quiet) context.stderr.write(`Removed ${sanitizeLine(id)}.\n`);
  }
  return 0;
}

/** `duragent schedules run`: now, beside what is planned. */
export async function runSchedule(context: CliContext, wanted: string): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connectSchedules(context, { signal });
  const id = await client.pick(wanted, { signal });
  const { planned } = await client.run(id, { signal });
  if (!context.globals.quiet) {
    const shown = sanitizeLine(id);
    context.stderr.write(
      `It runs now, as ${sanitizeLine(planned)}; \`duragent schedules runs ${shown}\` says what came of it.\n`,
    );
  }
  return 0;
}

/** @throws DuragentError usage */
function readAdd(options: AddOptions): NewSchedule {
  const { agent, deliver = [], message, misfire, name, process, task } = options;
  if ((task === undefined) === (message === undefined)) {
    throw usage('Give either --task, which the agent does, or --message, which is sent as it is.');
  }
  if (options.key !== undefined && options.session !== undefined) {
    throw usage('Give --session or --key, not both.');
  }
  return {
    ...(agent === undefined ? {} : { agent }),
    ...(name === undefined ? {} : { name }),
    spec: readSpec(options),
    payload:
      task === undefined ? { kind: 'message', text: message ?? '' } : { kind: 'task', text: task },
    ...(options.key === undefined ? {} : { target: { key: options.key } }),
    ...(deliver.length === 0 ? {} : { deliver: deliver.map(readChat) }),
    ...(misfire === undefined ? {} : { misfire }),
    ...(process === undefined ? {} : { process }),
  };
}

function readSpec({ at, cron, every, zone }: AddOptions): NewSchedule['spec'] {
  if ([at, cron, every].filter((one) => one !== undefined).length !== 1) {
    throw usage('Give exactly one of --at, --every and --cron.');
  }
  if (zone !== undefined && cron === undefined) throw usage('--zone belongs to --cron.');
  if (cron !== undefined) return { cron, ...(zone === undefined ? {} : { zone }) };
  if (every !== undefined) return { every };
  const instant = Date.parse(at ?? '');
  // Without an offset it is the time of this terminal.
  if (/^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(at ?? '') && !Number.isNaN(instant)) {
    return { at: new Date(instant).toISOString() };
  }
  throw usage('--at takes an ISO 8601 time, such as 2026-03-01T07:00 or 2026-03-01T07:00:00Z.');
}

function readChat(text: string): NonNullable<NewSchedule['deliver']>[number] {
  const [gateway = '', chat = '', thread, ...more] = text.split(':');
  if (gateway === '' || chat === '' || thread === '' || more.length > 0) {
    throw usage('--deliver takes <gateway>:<chat> or <gateway>:<chat>:<thread>.');
  }
  const address = { gateway, account: gateway, chat_id: chat };
  return thread === undefined ? address : { ...address, thread_id: thread };
}

function rowOf(view: ScheduleView): string[] {
  const { agent, id, last_run: last, name, next_run, payload, spec, state } = view;
  return [
    id,
    agent,
    whenOf(spec),
    state,
    next_run ?? '',
    last === null ? '' : `${last.outcome} ${ago(last.finished_at ?? last.started_at ?? '')}`.trim(),
    [name, payload.text].filter((word) => word !== undefined).join(': '),
  ].map((cell) => sanitizeLine(cell.slice(0, 200)));
}

function whenOf(spec: ScheduleView['spec']): string {
  if ('at' in spec) return `at ${spec.at}`;
  if ('every' in spec) return `every ${spec.every}`;
  return `${spec.cron} (${spec.zone})`;
}

function runTable(context: CliContext, runs: readonly ScheduleRun[]): string {
  const rows = runs.map((run) => {
    const { error, failures, finished_at, manual, outcome, planned, session, skipped } = run;
    const why = error === undefined ? '' : `${error.code}: ${error.message}`;
    return [
      planned,
      manual === true ? `${outcome} (asked for)` : outcome,
      finished_at === undefined ? '' : ago(finished_at),
      String(failures),
      String(skipped),
      session ?? '',
      why,
    ].map(sanitizeLine);
  });
  const columns = context.stdout.isTTY ? context.stdout.columns : null;
  const head = ['PLANNED', 'OUTCOME', 'DONE', 'FAILED', 'SKIPPED', 'SESSION', 'WHY'];
  return table(head, rows, columns);
}

function print(context: CliContext, value: unknown): void {
  context.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

function usage(message: string): DuragentError {
  return new DuragentError('usage', message);
}
