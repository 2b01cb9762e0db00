import type { ServerResponse } from 'node:http';
import { Writable } from 'node:stream';
import type { ScheduleRun, ScheduleView } from '@duragent/protocol';
import { afterEach, describe, expect, it } from 'vitest';
import { type FakeServer, startFakeServer } from '../client/fake-server.ts';
import type { CliContext } from '../context.ts';
import { reportError } from '../report-error.ts';
import {
  addSchedule,
  type AddOptions,
  listSchedules,
  removeSchedules,
  runSchedule,
  scheduleRuns,
  showSchedule,
} from './schedules.ts';

let server: FakeServer | null = null;
afterEach(async () => {
  await server?.close();
  server = null;
});

const PROCESS = `proc_${'0'.repeat(26)}`;

class Sink extends Writable {
  text = '';
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

/** A server that answers by `METHOD path`; what it does not know is 404. */
async function answering(answers: Record<string, unknown>): Promise<void> {
  server = await startFakeServer(({ method, path }, response) => {
    const answer = answers[`${method} ${path}`];
    if (answer !== undefined) send(response, answer === null ? 204 : 200, answer);
    else
      send(response, 404, {
        type: 'x',
        title: 'x',
        status: 404,
        detail: `no ${path}`,
        code: 'not_found',
        request_id: 'r',
      });
  });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const type = status === 404 ? 'application/problem+json' : 'application/json';
  response.writeHead(status, { 'content-type': type });
  response.end(status === 204 ? undefined : JSON.stringify(body));
}

async function run(work: (context: CliContext) => Promise<number>) {
  const stdout = new Sink();
  const stderr = new Sink();
  const globals = {
    verbose: 0,
    quiet: false,
    color: false,
    server: server?.url ?? '',
    token: 'canary-cli',
  };
  const context = { env: {}, cwd: '/', stdin: process.stdin, stdout, stderr, globals };
  let code: number;
  try {
    code = await work(context as unknown as CliContext);
  } catch (error) {
    code = reportError(error, stderr, { verbose: 0, token: null });
  }
  return { code, out: stdout.text, err: stderr.text };
}

const asked = (): string[] => (server?.requests ?? []).map((one) => `${one.method} ${one.path}`);
const sent = (): unknown => JSON.parse(server?.requests.at(-1)?.body ?? 'null');

const ID = 'sched_0123456789abcdefghjkmnpqrs';
const last: ScheduleRun = {
  planned: '2026-03-01T07:00:00.000Z',
  outcome: 'ok',
  finished_at: new Date(Date.now() - 75_000).toISOString(),
  failures: 1,
  skipped: 2,
  session: 'session_1',
};
const view: ScheduleView = {
  id: ID,
  name: 'tea\x1b[2J',
  agent: 'helper',
  spec: { cron: '0 7 * * *', zone: 'Europe/Berlin' },
  payload: { kind: 'task', text: 'Look\naround.' },
  target: 'isolated',
  misfire: 'run_once',
  state: 'waiting',
  next_run: '2026-03-02T06:00:00.000Z',
  last_run: last,
};
const fault = {
  id: 'bad',
  file: '/s/bad.yaml',
  line: 3,
  column: 7,
  message: 'spec.zone is\x1b[2J missing',
};
const list = {
  schedules: [view, { ...view, id: 'mine', agent: 'other', name: undefined, last_run: null }],
  faults: [fault],
};

describe('duragent schedules list', () => {
  it('shows each in a row, and the faults of those that do not run, without control sequences', async () => {
    await answering({ 'GET /api/v1/schedules': list });
    const { code, err, out } = await run((context) => listSchedules(context, { output: 'table' }));
    expect(code).toBe(0);
    expect(err).toBe('/s/bad.yaml:3:7: spec.zone is missing\n');
    const rows = out
      .trim()
      .split('\n')
      .map((line) => line.split(/ {2,}/));
    expect(rows).toEqual([
      ['SCHEDULE', 'AGENT', 'WHEN', 'STATE', 'NEXT', 'LAST', 'WHAT'],
      [
        ID,
        'helper',
        '0 7 * * * (Europe/Berlin)',
        'waiting',
        view.next_run,
        'ok 1m ago',
        'tea: Look around.',
      ],
      ['mine', 'other', '0 7 * * * (Europe/Berlin)', 'waiting', view.next_run, 'Look around.'],
    ]);
  });

  it('takes only those of an agent, also as JSON, and says when there is none', async () => {
    await answering({ 'GET /api/v1/schedules': list });
    const json = await run((context) => listSchedules(context, { agent: 'other', output: 'json' }));
    expect(JSON.parse(json.out)).toMatchObject({
      schedules: [{ id: 'mine' }],
      faults: [{ id: 'bad' }],
    });
    const none = await run((context) => listSchedules(context, { agent: 'no', output: 'table' }));
    expect(none).toMatchObject({
      code: 0,
      out: '',
      err: expect.stringContaining('There is no schedule.'),
    });
  });
});

describe('duragent schedules show and runs', () => {
  const failed = {
    ...last,
    outcome: 'failed',
    manual: true,
    error: { code: 'conflict', message: 'No\x1b[2J.' },
  };
  const answers = {
    'GET /api/v1/schedules': list,
    [`GET /api/v1/schedules/${ID}?runs=10`]: { ...view, runs: [last] },
    [`GET /api/v1/schedules/${ID}?runs=100`]: { ...view, runs: [failed, last] },
    [`GET /api/v1/schedules/${ID}?runs=5`]: { ...view, runs: [] },
  };

  it.each([ID, 'sched_01234', '01234', 'tea\x1b[2J'])('find one by %j', async (wanted) => {
    await answering(answers);
    const { code, out } = await run((context) =>
      showSchedule(context, wanted, { output: 'table' }),
    );
    expect(code).toBe(0);
    expect(out).toContain('{"cron":"0 7 * * *","zone":"Europe/Berlin"}');
    expect(out).toContain('2026-03-01T07:00:00.000Z  ok');
    expect(out).not.toContain('\x1b');
  });

  it('say when there is none, or several are meant', async () => {
    const twin = { ...view, id: 'sched_0123456789abcdefghjkmnpqrt' };
    await answering({ 'GET /api/v1/schedules': { ...list, schedules: [view, twin] } });
    const none = await run((context) => showSchedule(context, 'zzzz', { output: 'table' }));
    expect(none).toMatchObject({
      code: 1,
      err: expect.stringContaining('There is no schedule zzzz'),
    });
    const both = await run((context) => showSchedule(context, '0123', { output: 'table' }));
    expect(both).toMatchObject({ code: 2, err: expect.stringContaining(twin.id) });
  });

  it('list what ran', async () => {
    await answering(answers);
    const { out } = await run((context) => scheduleRuns(context, ID, { output: 'table' }));
    const rows = out
      .trim()
      .split('\n')
      .map((line) => line.split(/ {2,}/));
    expect(rows.slice(1)).toEqual([
      [last.planned, 'failed (asked for)', '1m ago', '1', '2', 'session_1', 'conflict: No.'],
      [last.planned, 'ok', '1m ago', '1', '2', 'session_1'],
    ]);
    const json = await run((context) => scheduleRuns(context, ID, { output: 'json' }));
    expect(JSON.parse(json.out)).toHaveLength(2);
    const none = await run((context) => scheduleRuns(context, ID, { limit: 5, output: 'table' }));
    expect(none).toMatchObject({ out: '', err: 'Nothing ran yet.\n' });
  });
});

describe('duragent schedules add', () => {
  const add = (options: Partial<AddOptions>) =>
    run((context) => addSchedule(context, { output: 'table', ...options }));
  const local = new Date('2026-07-01T07:00').toISOString();

  it.each<[Partial<AddOptions>, object]>([
    [
      { every: '1h', task: 'x' },
      { spec: { every: '1h' }, payload: { kind: 'task', text: 'x' } },
    ],
    [
      { cron: '0 7 * * *', task: 'x' },
      { spec: { cron: '0 7 * * *' }, payload: { kind: 'task', text: 'x' } },
    ],
    [
      { cron: '0 7 * * *', zone: 'UTC', message: 'x', deliver: ['telegram:-100:7', 'slack:C1'] },
      {
        spec: { cron: '0 7 * * *', zone: 'UTC' },
        payload: { kind: 'message', text: 'x' },
        deliver: [
          { gateway: 'telegram', account: 'telegram', chat_id: '-100', thread_id: '7' },
          { gateway: 'slack', account: 'slack', chat_id: 'C1' },
        ],
      },
    ],
    [
      {
        at: '2026-07-01T07:00',
        task: 'x',
        agent: 'a',
        name: 'n',
        key: 'k',
        misfire: 'skip',
        process: PROCESS,
      },
      {
        spec: { at: local },
        payload: { kind: 'task', text: 'x' },
        agent: 'a',
        name: 'n',
        target: { key: 'k' },
        misfire: 'skip',
        process: PROCESS,
      },
    ],
    [
      { at: '2026-07-01T07:00:00+02:00', task: 'x' },
      { spec: { at: '2026-07-01T05:00:00.000Z' }, payload: { kind: 'task', text: 'x' } },
    ],
  ])('sends %j', async (options, body) => {
    await answering({ 'POST /api/v1/schedules': view });
    expect(await add(options)).toMatchObject({
      code: 0,
      out: `${ID}\n`,
      err: `It runs next at ${view.next_run ?? ''}.\n`,
    });
    expect(sent()).toEqual(body);
    expect(server?.requests[0]?.headers['idempotency-key']).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('finds the session by the beginning of its id', async () => {
    const session = {
      session: 'session_0123456789abcdefghjkmnpqrs',
      agent: 'helper',
      labels: {},
      origin: { kind: 'http' },
      status: 'active',
      turn_state: 'idle',
      clients: 0,
      created_at: '',
      updated_at: '',
      turns: 0,
      usage: { input_tokens: 0, output_tokens: 0 },
      last_seq: 1,
      chats: [],
      owed: 0,
      dead: 0,
      settings: { queue: null, activation: null },
    };
    await answering({
      'GET /api/v1/sessions?limit=100': { sessions: [session], cursor: null },
      'POST /api/v1/schedules': view,
    });
    expect(await add({ every: '1h', message: 'x', session: '01234' })).toMatchObject({ code: 0 });
    expect(sent()).toMatchObject({ target: { session: session.session } });
  });

  it.each<[Partial<AddOptions>, string]>([
    [{ every: '1h' }, '--task'],
    [{ every: '1h', task: 'x', message: 'y' }, '--task'],
    [{ task: 'x' }, 'exactly one'],
    [{ task: 'x', every: '1h', at: '2026-07-01T07:00' }, 'exactly one'],
    [{ task: 'x', every: '1h', zone: 'UTC' }, '--zone'],
    [{ task: 'x', at: 'tomorrow' }, '--at'],
    [{ task: 'x', at: '1' }, '--at'],
    [{ message: 'x', every: '1h', deliver: ['telegram'] }, '--deliver'],
    [{ message: 'x', every: '1h', deliver: ['a:b:c:d'] }, '--deliver'],
    [{ message: 'x', every: '1h', key: 'k', session: 's' }, 'not both'],
  ])('refuses %j', async (options, words) => {
    await answering({});
    expect(await add(options)).toMatchObject({ code: 2, err: expect.stringContaining(words) });
    expect(asked()).toEqual([]);
  });
});

describe('duragent schedules remove and run', () => {
  it('remove takes several, broken ones too, and stops at the first that is refused', async () => {
    await answering({ 'GET /api/v1/schedules': list, 'DELETE /api/v1/schedules/bad': null });
    const { code, err } = await run((context) => removeSchedules(context, ['bad', 'zzzz', ID]));
    expect(code).toBe(1);
    expect(err).toContain('Removed bad.\n');
    expect(asked().filter((one) => one.startsWith('DELETE'))).toEqual([
      'DELETE /api/v1/schedules/bad',
    ]);
  });

  it('run says how the run is called', async () => {
    await answering({
      'GET /api/v1/schedules': list,
      [`POST /api/v1/schedules/${ID}/run`]: { id: ID, planned: last.planned },
    });
    const { code, err } = await run((context) => runSchedule(context, ID));
    expect(code).toBe(0);
    expect(err).toContain(`It runs now, as ${last.planned}`);
    expect(server?.requests.at(-1)?.headers['idempotency-key']).toMatch(/^[0-9a-f-]{36}$/);
  });
});
