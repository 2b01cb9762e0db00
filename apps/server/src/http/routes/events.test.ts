import net from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { memoryAgentCatalog } from '../../adapters/agent-catalog/memory.ts';
import { memorySessionStore } from '../../adapters/session-store/memory.ts';
import attacks from '../attacks.json' with { type: 'json' };
import { call, FILE_TOKEN, openSse, type Reply, until } from '../testing-client.ts';
import { answer, startTestServer, testAgent, type TestServer } from '../testing.ts';

let server: TestServer;
let id: string;
let path: string;
beforeEach(async () => {
  const agents = memoryAgentCatalog([testAgent('helper')]);
  server = await startTestServer({ store: memorySessionStore(), agents });
  id = String((await call(server.port, '/api/v1/sessions', { body: {} })).json['session']);
  path = `/api/v1/sessions/${id}/events`;
});
afterEach(async () => {
  expect(server.errors()).toEqual([]);
  await server[Symbol.asyncDispose]();
});

const say = (content: string, more: object = {}): Promise<Reply> =>
  call(server.port, `/api/v1/sessions/${id}/messages`, { body: { content, ...more } });
const clients = (): number => server.sessions.view(id).clients;
const lines = async (): Promise<string[]> => {
  const session = await server.sessions.open(id);
  return (await session.read(0, 1000)).map((record) => record.line);
};

describe('the stream of a session', () => {
  test('is an event stream that nothing keeps or holds back', async () => {
    const sse = await openSse(server.port, path);
    expect(sse.status).toBe(200);
    expect(sse.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    await sse.next('caught_up');
    expect(sse.text().startsWith('retry: 1000\n\n')).toBe(true);
    sse.leave();
  });

  test('gives stored lines with their seq as id, and deltas without one', async () => {
    await say('before');
    await until(() => server.sessions.view(id).turn_state === 'idle');
    const sse = await openSse(server.port, path);
    await sse.next('caught_up');
    const { release } = server.model.hold(['Hel', 'lo']);
    await say('after');
    await until(() => sse.text().includes('"text":"lo"') || sse.text().includes('"text":"Hello"'));
    release();
    await sse.next('turn_finished', 2);
    const stored = await lines();
    const events = sse.frames.filter((frame) => frame.id !== null);
    expect(events.map((frame) => frame.id)).toEqual(stored.map((_, i) => String(i + 1)));
    for (const line of stored) expect(sse.text()).toContain(`data: ${line}\n\n`);
    const tokens = sse.frames.filter((frame) => frame.event === 'token');
    expect(tokens.every((frame) => frame.id === null)).toBe(true);
    expect(tokens.map((frame) => frame.data['text']).join('')).toBe('Hello');
    expect(tokens[0]?.data).toEqual({
      turn: expect.stringMatching(/^turn_/) as string,
      step: 1,
      attempt: 1,
      offset: 0,
      text: expect.any(String) as string,
    });
    sse.leave();
  });

  test('shows two readers the same, also text that looks like frames', async () => {
    const nasty = 'a\n\nevent: evil\ndata: {}\n\n\r\r\u2028\u2029\0 "\\ 𝒳 \ud800';
    server.model.reply = () => answer([nasty.slice(0, 20), nasty.slice(20)]);
    const readers = [await openSse(server.port, path), await openSse(server.port, path)];
    for (const reader of readers) await reader.next('caught_up');
    await say(nasty);
    for (const reader of readers) {
      const last = await reader.next('turn_finished');
      expect(last.id).toBe('5');
      expect(reader.frames.some((frame) => frame.event === 'evil')).toBe(false);
    }
    const durable = readers.map((reader) => reader.frames.filter((frame) => frame.id !== null));
    expect(durable[0]).toEqual(durable[1]);
    for (const reader of readers) reader.leave();
  });

  test('is resumed behind ?after= or Last-Event-ID, which counts for more', async () => {
    await say('a', { handling: 'silent' });
    await say('b', { handling: 'silent' });
    const ids = async (query: string, headers: Record<string, string> = {}): Promise<unknown[]> => {
      const sse = await openSse(server.port, `${path}${query}`, { headers });
      await sse.next('caught_up');
      sse.leave();
      return sse.frames
        .map((frame) => (frame.event === 'reset' ? 'reset' : frame.id))
        .filter(Boolean);
    };
    expect(await ids('')).toEqual(['1', '2', '3']);
    expect(await ids('?after=')).toEqual(['1', '2', '3']);
    expect(await ids('?after=0')).toEqual(['1', '2', '3']);
    expect(await ids('?after=2')).toEqual(['3']);
    expect(await ids('?after=3')).toEqual([]);
    expect(await ids('?after=0', { 'last-event-id': '2' })).toEqual(['3']);
    expect(await ids('?after=2', { 'last-event-id': '' })).toEqual(['3']);
    expect(await ids('?after=abc', { 'last-event-id': '1' })).toEqual(['2', '3']);
    expect(await ids('?after=1', { 'last-event-id': 'abc' })).toEqual(['reset', '1', '2', '3']);
    expect(await ids('?after=1&after=2')).toEqual(['reset', '1', '2', '3']);
    expect(await ids('?after=4')).toEqual(['reset', '1', '2', '3']);
  });

  test.each(attacks.resume_ids)(
    'garbage to resume from, %j, gives reset and the tail',
    async (garbage) => {
      const asQuery = `${path}?after=${encodeURIComponent(garbage)}`;
      const header = Buffer.from(garbage).toString('latin1');
      const readers = [
        await openSse(server.port, asQuery),
        await openSse(server.port, path, { headers: { 'last-event-id': header } }),
      ];
      for (const sse of readers) {
        expect(sse.status).toBe(200);
        await sse.next('caught_up');
        expect(sse.frames.slice(0, 2).map((frame) => frame.event)).toEqual([
          'reset',
          'session_started',
        ]);
        sse.leave();
      }
      const headers = { accept: 'application/json' };
      const poll = await call(server.port, asQuery, { headers });
      expect(poll).toMatchObject({ status: 200, json: { reset: true, last_seq: 1 } });
    },
  );

  test('writes frames that are ready together in one piece', async () => {
    for (let i = 0; i < 50; i += 1) await say(`m${i}`, { handling: 'silent' });
    const socket = net.connect(server.port, '127.0.0.1');
    let text = '';
    socket.on('data', (bytes: Buffer) => (text += bytes.toString('latin1')));
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${FILE_TOKEN}\r\n\r\n`,
    );
    await until(() => text.includes('event: caught_up'));
    expect(text.match(/^id: /gm)).toHaveLength(51);
    expect(text.match(/^[0-9a-f]+\r$/gm)?.length).toBeLessThan(10);
    socket.destroy();
  });

  test('counts as a client while it is read, unless it says presence=0', async () => {
    const quiet = await openSse(server.port, `${path}?presence=0`);
    await quiet.next('caught_up');
    expect(clients()).toBe(0);
    const sse = await openSse(server.port, path);
    await until(() => clients() === 1);
    sse.leave();
    await until(() => clients() === 0);
    quiet.leave();
    expect((await call(server.port, `${path}?presence=no`)).status).toBe(400);
  });

  test('has a comment at every keep-alive interval', async () => {
    const sse = await openSse(server.port, path);
    await sse.next('caught_up');
    for (let i = 1; i <= 3; i += 1) {
      server.clock.advance(15_000);
      await until(() => (sse.text().match(/^:$/gm) ?? []).length === i);
    }
    sse.leave();
  });

  test('knows no request timeout', async () => {
    const sse = await openSse(server.port, path);
    await sse.next('caught_up');
    server.clock.advance(600_000);
    await say('still there?', { handling: 'silent' });
    await sse.next('user_message');
    sse.leave();
  });

  test('ends with the server, and its last frames arrive', async () => {
    const sse = await openSse(server.port, path);
    await sse.next('caught_up');
    await server.stopSessions();
    await sse.ended();
    expect(sse.text().endsWith('\n\n')).toBe(true);
  });

  test('a hundred readers that leave are neither errors nor kept', async () => {
    const waiting = server.clock.waiting;
    const readers = await Promise.all(Array.from({ length: 50 }, () => openSse(server.port, path)));
    await until(() => clients() === 50);
    for (const reader of readers.slice(0, 25)) reader.leave();
    await say('hello');
    for (const reader of readers.slice(25)) reader.leave();
    await until(() => clients() === 0);
    await until(() => server.sessions.view(id).turn_state === 'idle');
    await until(() => server.clock.waiting <= waiting + 1); // the session's own
    const lines = server.log.filter((line) => line.fields['path'] === path);
    await until(() => server.log.filter((line) => line.fields['path'] === path).length === 50);
    expect(lines.every((line) => line.level === 'info')).toBe(true);
  });
});

describe('a slow reader', () => {
  /** A reader that stops reading after the headers; the events behind it do not fit its socket. */
  async function stuck(megabytes: number): Promise<net.Socket> {
    const text = 'x'.repeat(500_000);
    for (let i = 0; i < megabytes * 2; i += 1) await say(text, { handling: 'silent' });
    const socket = net.connect(server.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${FILE_TOKEN}\r\n\r\n`,
    );
    await new Promise((resolve) => socket.once('readable', resolve));
    return socket;
  }

  /** Bytes that the server holds for its connections. */
  function held(): number {
    return Math.max(0, ...connections().map((connection) => connection.writableLength));
  }
  const sockets = new Set<net.Socket>();
  const connections = (): net.Socket[] => [...sockets].filter((socket) => !socket.destroyed);
  beforeEach(() => {
    sockets.clear();
    server.server.on('connection', (socket) => sockets.add(socket));
  });

  test('holds a bounded part of its backlog, delays nobody, and is cut after 30 s', async () => {
    const socket = await stuck(24);
    await until(() => held() >= 256 * 1024);
    expect(held()).toBeLessThan(512 * 1024);
    const other = await openSse(server.port, `${path}?after=48`);
    await other.next('caught_up');
    await say('quick', { handling: 'silent' });
    await other.next('user_message');
    other.leave();
    await until(() => clients() === 1);
    server.clock.advance(29_000);
    expect(clients()).toBe(1);
    server.clock.advance(2_000);
    await until(() => clients() === 0);
    await until(() => connections().every((connection) => connection.writableLength === 0));
    socket.destroy();
  });

  test('that goes on gets everything, in order', async () => {
    const socket = await stuck(16);
    await until(() => held() >= 256 * 1024);
    server.clock.advance(29_000);
    let text = '';
    socket.on('data', (bytes: Buffer) => (text += bytes.toString('latin1')));
    await until(() => text.includes('event: caught_up'));
    server.clock.advance(60_000);
    expect(clients()).toBe(1);
    const ids = [...text.matchAll(/^id: (\d+)$/gm)].map((match) => Number(match[1]));
    expect(ids).toEqual(Array.from({ length: 33 }, (_, i) => i + 1));
    socket.destroy();
  });
});

describe('a long poll', () => {
  const poll = (query: string): Promise<Reply> =>
    call(server.port, `${path}${query}`, { headers: { accept: 'application/json' } });

  test('gives what there is at once, as it is stored', async () => {
    await say('a', { handling: 'silent' });
    const reply = await poll('?wait=30');
    expect(reply.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(reply.text).toBe(`{"events":[${(await lines()).join(',')}],"last_seq":2}`);
    expect((await poll('?after=1&wait=30')).json['events']).toHaveLength(1);
  });

  test('waits for the next event', async () => {
    const reply = poll('?after=1&wait=30');
    await until(() => clients() === 1);
    await say('now', { handling: 'silent' });
    expect((await reply).json).toMatchObject({ events: [{ seq: 2 }], last_seq: 2 });
    await until(() => clients() === 0);
  });

  test('is empty after its time, which is at most a minute', async () => {
    for (const [wait, ms] of [
      ['5', 5_000],
      ['86400', 60_000],
    ] as const) {
      const reply = poll(`?after=1&wait=${wait}`);
      await until(() => clients() === 1);
      server.clock.advance(ms - 1);
      expect(clients()).toBe(1);
      server.clock.advance(1);
      expect((await reply).json).toEqual({ events: [], last_seq: 1 });
    }
  });

  test('does not wait where it is not asked to', async () => {
    expect((await poll('?after=1')).json).toEqual({ events: [], last_seq: 1 });
    expect((await poll('?after=1&wait=0')).json).toEqual({ events: [], last_seq: 1 });
  });

  test('does not count with presence=0', async () => {
    const before = server.clock.waiting;
    const reply = poll('?after=1&wait=5&presence=0');
    await until(() => server.clock.waiting > before);
    for (let i = 0; i < 10; i += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(clients()).toBe(0);
    await say('a', { handling: 'silent' });
    expect((await reply).json).toMatchObject({ last_seq: 2 });
  });

  test('gives a thousand events at most, and last_seq leads to the rest', async () => {
    for (let i = 0; i < 1010; i += 1) {
      const session = await server.sessions.open(id);
      await session.receive({
        content: [{ type: 'text', text: `${i}` }],
        handling: 'silent',
        source: { kind: 'http' },
      });
    }
    const first = (await poll('')).json;
    expect(first['events']).toHaveLength(1000);
    expect(first['last_seq']).toBe(1000);
    expect((await poll('?after=1000')).json).toMatchObject({ last_seq: 1011 });
  });

  test('a client that leaves is neither an error nor kept', async () => {
    const socket = net.connect(server.port, '127.0.0.1');
    socket.write(
      `GET ${path}?after=1&wait=60 HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nAuthorization: Bearer ${FILE_TOKEN}\r\n\r\n`,
    );
    await until(() => clients() === 1);
    socket.destroy();
    await until(() => clients() === 0);
  });

  test.each(['-1', 'abc', '1.5', '1e1', '99999999999999999999'])('wait=%s is 400', async (wait) => {
    expect((await poll(`?wait=${wait}`)).status).toBe(400);
  });
});
