import { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { type FakeServer, startFakeServer } from '../client/fake-server.ts';
import { findChat, readChatName } from '../client/find-chat.ts';
import { SessionClient } from '../client/session-client.ts';
import { runProgram, type Surroundings } from '../program.ts';
import { reportError } from '../report-error.ts';
import { overlap } from './gateway.ts';

let server: FakeServer | null = null;
afterEach(async () => {
  await server?.close();
  server = null;
});

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
    if (answer === undefined) problem(response, 404, 'not_found', `nothing at ${path}`);
    else if (answer instanceof Refusal)
      problem(response, answer.status, answer.code, answer.detail);
    else send(response, answer === null ? 204 : 200, 'application/json', answer);
  });
}

class Refusal {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  constructor(status: number, code: string, detail: string) {
    this.status = status;
    this.code = code;
    this.detail = detail;
  }
}

function problem(response: ServerResponse, status: number, code: string, detail: string): void {
  const body = { type: `urn:duragent:problem:${code}`, title: code, status, detail, code };
  send(response, status, 'application/problem+json', { ...body, request_id: 'r' });
}

function send(response: ServerResponse, status: number, type: string, body: unknown): void {
  response.writeHead(status, { 'content-type': type });
  response.end(status === 204 ? undefined : JSON.stringify(body));
}

async function run(...argv: string[]) {
  const out = new Sink();
  const err = new Sink();
  const surroundings = { env: {}, cwd: '/', stdin: process.stdin, stdout: out, stderr: err };
  const words = [...argv, '--server', server?.url ?? 'http://127.0.0.1:1', '--token', 'canary-cli'];
  let code: number;
  try {
    const options = { version: '1.2.3', onGlobals: () => undefined };
    code = await runProgram(words, surroundings as unknown as Surroundings, options);
  } catch (error) {
    code = reportError(error, err, { verbose: 0, token: null });
  }
  return { code, out: out.text, err: err.text };
}

const asked = (): string[] => (server?.requests ?? []).map((one) => `${one.method} ${one.path}`);

const gateway = {
  name: 'telegram',
  state: 'ready',
  reason: null,
  since: new Date(Date.now() - 90_000).toISOString(),
  pid: 71,
  restarts: 2,
  dropped: 0,
  unknown: 0,
  ready: {
    gateway: 'telegram',
    version: '1.0.0',
    protocol: 'v1',
    capabilities: [],
    identity: { id: '5', username: 'bot\x1b[2J' },
  },
};

describe('duragent gateway', () => {
  it('list shows each in a row, without control sequences', async () => {
    const broken = { ...gateway, name: 'slack', state: 'fatal', reason: 'unauthorized', pid: null };
    await answering({
      'GET /api/v1/admin/gateways': { gateways: [gateway, { ...broken, ready: null }] },
    });
    const { code, out } = await run('gateway', 'list');
    expect(code).toBe(0);
    expect(out.split('\n').map((line) => line.trim().split(/ {2,}/))).toEqual([
      ['GATEWAY', 'STATE', 'SINCE', 'PID', 'RESTARTS', 'WHO', 'ABOUT'],
      ['telegram', 'ready', '1m ago', '71', '2', 'bot', 'telegram 1.0.0'],
      ['slack', 'fatal', '1m ago', '2', 'unauthorized'],
      [''],
    ]);
    const json = await run('gateway', 'list', '-o', 'json');
    expect(JSON.parse(json.out)).toHaveLength(2);
  });

  it('list says when there is none, or no Admin API', async () => {
    await answering({ 'GET /api/v1/admin/gateways': { gateways: [] } });
    expect(await run('gateway', 'list')).toMatchObject({ code: 0, out: '' });
    await server?.close();
    await answering({});
    const { code, err } = await run('gateway', 'list');
    expect(code).toBe(1);
    expect(err).toContain('admin.enabled');
  });

  const restartOf = (...views: unknown[]) => ({
    'POST /api/v1/admin/gateways/telegram/restart': { name: 'telegram' },
    'GET /api/v1/admin/gateways': { gateways: views },
  });

  it('restart asks for it once, and says when it is ready', async () => {
    await answering(restartOf(gateway));
    const { code, out, err } = await run('gateway', 'restart', 'telegram');
    expect({ code, out }).toEqual({ code: 0, out: '' });
    expect(err).toContain('Restarted telegram; it is ready');
    expect(asked().filter((request) => request.startsWith('POST'))).toEqual([
      'POST /api/v1/admin/gateways/telegram/restart',
    ]);
    expect((await run('gateway', 'restart', 'nobody')).code).toBe(1);
  });

  it('restart of one that cannot be started fails with the reason', async () => {
    const reason = 'cannot be started: there is no command "gone\x1b[2J"';
    await answering(restartOf({ ...gateway, state: 'fatal', reason, pid: null, ready: null }));
    const { code, err } = await run('gateway', 'restart', 'telegram');
    expect(code).toBe(1);
    expect(err).toContain('telegram does not run (fatal): cannot be started: there is no command');
    expect(err).not.toContain('Restarted');
    expect(err).not.toContain('\x1b');
  });

  it('restart waits a moment for one that starts', async () => {
    let looks = 0;
    server = await startFakeServer(({ method }, response) => {
      if (method === 'GET') looks += 1;
      const view = looks < 3 ? { ...gateway, state: 'starting', ready: null } : gateway;
      const body = method === 'GET' ? { gateways: [view] } : { name: 'telegram' };
      send(response, 200, 'application/json', body);
    });
    const { code, err } = await run('gateway', 'restart', 'telegram');
    expect({ code, looks }).toEqual({ code: 0, looks: 3 });
    expect(err).toContain('it is ready');
  });

  it('restart is not asked for again when the answer was lost', async () => {
    server = await startFakeServer((_, response) => void response.destroy());
    expect((await run('gateway', 'restart', 'telegram')).code).toBe(69);
    expect(asked()).toHaveLength(1);
  });

  it('logs shows the newest lines, each on one line', async () => {
    await answering({
      'GET /api/v1/admin/gateways/telegram/logs?lines=2': { lines: ['one\x1b[2J', 'two'] },
    });
    const { code, out } = await run('gateway', 'logs', 'telegram', '--lines', '2');
    expect({ code, out }).toEqual({ code: 0, out: 'one\ntwo\n' });
  });

  it('logs -f goes on with what is new', async () => {
    const logs = [
      ['a', 'b'],
      ['a', 'b', 'c'],
      ['c', 'd', 'd'],
    ];
    let at = 0;
    server = await startFakeServer((_, response) => {
      const lines = logs[Math.min(at, logs.length - 1)];
      at += 1;
      send(response, 200, 'application/json', { lines });
    });
    const running = run('gateway', 'logs', 'telegram', '-f', '--lines', '1');
    const deadline = Date.now() + 10_000;
    while (at < 4 && Date.now() < deadline) await delay(10);
    process.emit('SIGINT');
    expect(await running).toMatchObject({ code: 0, out: 'b\nc\nd\nd\n' });
  });

  it.each([
    [[], ['a'], 0],
    [['a'], ['a', 'b'], 1],
    [['a', 'b', 'c'], ['b', 'c', 'd'], 2],
    [['a', 'b'], ['x', 'y'], 0],
    [['a', 'a'], ['a', 'a', 'a'], 2],
    [['a', 'b', 'c'], ['c'], 1],
  ])('of %j and %j the log has %i lines in common', (before, now, count) => {
    expect(overlap(before, now)).toBe(count);
  });
});

/** An instant that is a minute ago for a while. */
const minuteAgo = (): string => new Date(Date.now() - 75_000).toISOString();

const entry = {
  out: 'out_1',
  session: 'session_1',
  gateway: 'telegram',
  chat_id: '-100',
  thread_id: '7',
  state: 'dead',
  part: 1,
  parts: 2,
  attempt: 3,
  since: minuteAgo(),
  expires_at: new Date().toISOString(),
  code: 'blocked',
  message: 'The user\x1b[2J blocked it.',
  preview: 'Hello',
};

describe('duragent outbox', () => {
  it('list reads every page, and says which sessions cannot be read', async () => {
    const unreadable = [{ session: 'session_9', code: 'log_newer', message: 'Newer.' }];
    await answering({
      'GET /api/v1/admin/outbox?gateway=telegram&limit=1000': {
        deliveries: [entry],
        unreadable,
        cursor: 'session_1',
      },
      'GET /api/v1/admin/outbox?gateway=telegram&limit=1000&cursor=session_1': {
        deliveries: [{ ...entry, out: 'out_2', thread_id: undefined }],
        unreadable: [],
        cursor: null,
      },
    });
    const { code, out, err } = await run('outbox', 'list', '--gateway', 'telegram');
    expect(code).toBe(0);
    expect(err).toBe('session_9: Newer.\n');
    const [, first, second] = out.split('\n').map((line) => line.split(/ {2,}/));
    const why = 'blocked: The user blocked it.';
    expect(first).toEqual(['out_1', 'dead', 'telegram:-100:7', '1/2', '3', '1m ago', why, 'Hello']);
    expect(second?.slice(0, 3)).toEqual(['out_2', 'dead', 'telegram:-100']);
  });

  it('list says when there is nothing', async () => {
    const nothing = { deliveries: [], unreadable: [], cursor: null };
    await answering({ 'GET /api/v1/admin/outbox?limit=1000': nothing });
    const { code, out, err } = await run('outbox', 'list');
    expect({ code, out }).toEqual({ code: 0, out: '' });
    expect(err).toContain('Nothing is owed');
  });

  it('retry and drop take several, and stop at the first that is refused', async () => {
    await answering({
      'POST /api/v1/admin/outbox/out_1/retry': { out: 'out_1', session: 's' },
      'POST /api/v1/admin/outbox/out_2/retry': new Refusal(409, 'conflict', 'out_2 is still owed.'),
    });
    const { code, err } = await run('outbox', 'retry', 'out_1', 'out_2', 'out_3');
    expect(code).toBe(1);
    expect(err).toContain('out_2 is still owed.');
    expect(asked()).toHaveLength(2);
  });
});

describe('duragent access', () => {
  const pairing = {
    agent: 'helper',
    sender: 'telegram:5',
    name: 'Ann\x1b[2J',
    at: minuteAgo(),
    by: 'cli',
  };

  it('list shows who asks with the code, and who was let in', async () => {
    const request = { ...pairing, sender: 'telegram:6', code: 'ABCDEFGH', expires_at: pairing.at };
    await answering({
      'GET /api/v1/admin/access': { pairings: [pairing], requests: [request] },
    });
    const { out } = await run('access', 'list');
    const rows = out
      .trim()
      .split('\n')
      .map((line) => line.split(/ {2,}/));
    expect(rows[1]).toEqual(['asks', 'helper', 'telegram:6', 'Ann', 'code ABCDEFGH']);
    expect(rows[2]).toEqual(['let in', 'helper', 'telegram:5', 'Ann', '1m ago by cli']);
  });

  it('approve says who was let in; revoke that they are out', async () => {
    await answering({
      'POST /api/v1/admin/access/approve/ABCD-EFGH': pairing,
      'DELETE /api/v1/admin/access/helper/telegram%3A5': null,
    });
    const approved = await run('access', 'approve', 'ABCD-EFGH');
    expect(approved).toMatchObject({
      code: 0,
      err: 'Ann (telegram:5) may now speak with helper.\n',
    });
    expect((await run('access', 'revoke', 'helper', 'telegram:5')).code).toBe(0);
    expect((await run('access', 'revoke', 'helper', 'telegram:6')).code).toBe(1);
  });
});

describe('duragent serve reload', () => {
  it('says what was applied, and what needs a restart', async () => {
    await answering({
      'POST /api/v1/admin/reload': {
        applied: ['routes', 'gateways.external'],
        restart_needed: ['server.port'],
        gateways: { started: ['a'], stopped: [], restarted: ['b'] },
        warnings: ['duragent.yaml:1:1: odd'],
      },
    });
    const { code, out, err } = await run('serve', 'reload');
    expect(code).toBe(0);
    expect(out).toBe(
      'applied: routes, gateways.external\nstarted: a\nrestarted: b\nneeds a restart of the server: server.port\n',
    );
    expect(err).toBe('duragent.yaml:1:1: odd\n');
  });

  it('ends with 78 when the file is broken', async () => {
    const detail = 'duragent.yaml:3:1: unknown key';
    await answering({ 'POST /api/v1/admin/reload': new Refusal(409, 'config_invalid', detail) });
    const { code, err } = await run('serve', 'reload');
    expect(code).toBe(78);
    expect(err).toContain(detail);
  });
});

describe('duragent attach <gateway>:<chat>', () => {
  const view = {
    session: 'session_1',
    agent: 'helper',
    labels: {},
    origin: { kind: 'gateway' },
    status: 'ended',
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

  it('asks for the chat, then for a thread of it, and names the chats there are', async () => {
    const address = { gateway: 'telegram', account: 'telegram', chat_type: 'dm' };
    const chats = [
      { ...address, chat_id: '9' },
      { ...address, chat_id: '8', thread_id: '2' },
    ];
    await answering({
      'GET /api/v1/sessions?limit=100': { sessions: [], cursor: null },
      'GET /api/v1/sessions?gateway=telegram&limit=100': {
        sessions: [{ ...view, chats }],
        cursor: null,
      },
    });
    const { code, err } = await run('attach', 'telegram:-100:7');
    expect(code).toBe(1);
    expect(asked().slice(0, 2)).toEqual([
      'GET /api/v1/chats/telegram/-100%3A7',
      'GET /api/v1/chats/telegram/-100?thread=7',
    ]);
    expect(err).toContain('telegram:-100:7 shows no session');
    expect(err).toContain('\n  telegram:9\n  telegram:8:2');
  });

  it('takes a session by a key that looks so, rather one that has not ended', async () => {
    const other = { ...view, session: 'session_2', status: 'running', key: 'ci:main' };
    await answering({
      'GET /api/v1/sessions?limit=100': {
        sessions: [{ ...view, key: 'ci:main' }, other],
        cursor: null,
      },
    });
    const address = { url: server?.url ?? '', token: 'canary-cli' };
    const client = new SessionClient(() => Promise.resolve(address));
    const { signal } = new AbortController();
    const found = await findChat(client, { gateway: 'ci', rest: 'main' }, { signal });
    expect(found.session).toBe('session_2');
  });

  it.each([
    ['telegram:-100', { gateway: 'telegram', rest: '-100' }],
    ['telegram:-100:7', { gateway: 'telegram', rest: '-100:7' }],
    ['telegram:', null],
    ['session_01', null],
    [':x', null],
    ['No:x', null],
  ])('reads %j', (text, name) => {
    expect(readChatName(text)).toEqual(name);
  });
});
