import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { memoryAgentCatalog } from '../../adapters/agent-catalog/memory.ts';
import { memorySessionStore } from '../../adapters/session-store/memory.ts';
import { call, openSse, type SseReader, until } from '../testing-client.ts';
import { answer, done, failure, startTestServer, testAgent, type TestServer } from '../testing.ts';

let server: TestServer;
let id: string;
beforeEach(async () => {
  const agents = memoryAgentCatalog([testAgent('helper')]);
  server = await startTestServer({ store: memorySessionStore(), agents });
  id = String((await call(server.port, '/api/v1/sessions', { body: {} })).json['session']);
});
afterEach(async () => {
  expect(server.errors()).toEqual([]);
  await server[Symbol.asyncDispose]();
});

const stream = (content: string, headers: Record<string, string> = {}): Promise<SseReader> =>
  openSse(server.port, `/api/v1/sessions/${id}/stream`, { body: { content }, headers });
const names = (sse: SseReader): string[] =>
  sse.frames
    .map((frame) => frame.event)
    .filter((name) => !['presence', 'caught_up'].includes(name));

describe('POST …/stream', () => {
  test('begins with start, shows events and tokens, and ends with done', async () => {
    const sse = await stream('hi');
    await sse.ended();
    expect(names(sse).filter((name) => name !== 'token')).toEqual([
      'start',
      'user_message',
      'turn_started',
      'assistant_message',
      'turn_finished',
      'done',
    ]);
    const [start] = sse.frames;
    expect(start).toMatchObject({ id: null, event: 'start', data: { seq: 2 } });
    expect(start?.data['turn']).toMatch(/^turn_/);
    expect(start?.data['message_id']).toMatch(/^msg_/);
    expect(sse.frames.at(-1)).toEqual({
      id: null,
      event: 'done',
      data: {
        turn: start?.data['turn'],
        outcome: 'completed',
        usage: { input_tokens: 3, output_tokens: 2 },
        text: 'Hello world',
        finish_reason: 'stop',
      },
    });
    const ids = sse.frames.map((frame) => frame.id).filter((one) => one !== null);
    expect(ids).toEqual(['2', '3', '4', '5']);
    await until(() => server.sessions.view(id).clients === 0);
  });

  test('shows the words of an answer that becomes durable along with its message', async () => {
    const disk = Promise.withResolvers<void>();
    const decided: string[] = [];
    const store = memorySessionStore();
    const slow: typeof store = {
      ...store,
      create: async (session) => {
        const log = await store.create(session);
        const append: typeof log.append = async (events, ...rest) => {
          const types = events.map(({ type }) => type);
          decided.push(...types);
          if (!types.includes('session_started')) await disk.promise;
          return log.append(events, ...rest);
        };
        return Object.assign(Object.create(log) as typeof log, { append });
      },
    };
    const agents = memoryAgentCatalog([testAgent('helper')]);
    await using other = await startTestServer({ store: slow, agents });
    const { json } = await call(other.port, '/api/v1/sessions', { body: {} });
    const path = `/api/v1/sessions/${String(json['session'])}/stream`;
    const opening = openSse(other.port, path, { body: { content: 'hi' } });
    await until(() => decided.includes('turn_finished'));
    disk.resolve();
    const sse = await opening;
    await sse.ended();
    const texts = sse.frames
      .filter((frame) => frame.event === 'token')
      .map(({ data }) => data['text']);
    expect(texts.join('')).toBe('Hello world');
    expect(names(sse).indexOf('token')).toBeLessThan(names(sse).indexOf('assistant_message'));
  });

  test('streams while the model speaks', async () => {
    const { release } = server.model.hold(['Hel', 'lo']);
    const sse = await stream('hi');
    const token = await sse.next('token');
    expect(token).toMatchObject({ id: null, data: { step: 1, attempt: 1, offset: 0 } });
    expect(sse.isEnded()).toBe(false);
    release();
    await sse.next('done');
    await sse.ended();
  });

  test('tells of tool calls and their results', async () => {
    let calls = 0;
    server.model.reply = async function* () {
      calls += 1;
      if (calls > 1) yield* answer(['done']);
      else {
        yield { type: 'text', text: 'calling' };
        yield done('calling', [
          { provider_call_id: 'p1', name: 'shout', arguments: { text: 'hey' } },
        ]);
      }
    };
    const sse = await stream('hi');
    await sse.ended();
    const asked = await sse.next('tool_call');
    expect(asked).toMatchObject({ id: null, data: { name: 'shout', arguments: { text: 'hey' } } });
    expect(asked.data['call']).toMatch(/^call_/);
    expect(await sse.next('tool_result')).toMatchObject({
      id: null,
      data: { call: asked.data['call'], outcome: 'ok', content: 'HEY' },
    });
    const order = names(sse).filter((name) => name !== 'token');
    expect(order.slice(3, -1)).toEqual([
      'assistant_message',
      'tool_call',
      'tool_started',
      'tool_finished',
      'tool_result',
      'assistant_message',
      'turn_finished',
    ]);
    expect(sse.frames.at(-1)).toMatchObject({ event: 'done', data: { text: 'done' } });
  });

  test('ends with cancelled when the turn is', async () => {
    server.model.hold(['Hel']);
    const sse = await stream('hi');
    await sse.next('token');
    await call(server.port, `/api/v1/sessions/${id}/cancel`, { method: 'POST' });
    await sse.ended();
    expect(sse.frames.at(-1)).toMatchObject({
      event: 'cancelled',
      data: { outcome: 'cancelled', text: 'Hel' },
    });
  });

  test('ends with error when the model fails', async () => {
    server.model.reply = async function* () {
      await Promise.resolve();
      yield failure('model_refused');
    };
    const sse = await stream('hi');
    await sse.ended();
    const last = sse.frames.at(-1);
    expect(last).toMatchObject({ id: null, event: 'error', data: { outcome: 'failed' } });
    expect(last?.data['detail']).toContain('It failed');
  });

  test('ends with error draining when the server stops first; the turn is kept', async () => {
    server.model.hold(['Hel']);
    const sse = await stream('hi');
    await sse.next('token');
    await server.stopSessions();
    await sse.ended();
    expect(sse.frames.at(-1)).toMatchObject({ event: 'error', data: { code: 'draining' } });
  });

  test('a client that leaves does not cancel the turn', async () => {
    const { release } = server.model.hold(['Hel']);
    const sse = await stream('hi');
    await sse.next('token');
    sse.leave();
    await until(() => server.sessions.view(id).clients === 0);
    release();
    await until(() => server.sessions.view(id).turn_state === 'idle');
    const reply = await call(server.port, `/api/v1/sessions/${id}/messages?limit=1`);
    expect(reply.json['messages']).toMatchObject([{ finish_reason: 'stop' }]);
  });

  test('a repeat with the same Idempotency-Key shows the same turn again', async () => {
    const headers = { 'idempotency-key': 'again' };
    const first = await stream('hi', headers);
    await first.ended();
    const second = await stream('hi', headers);
    await second.ended();
    expect(second.frames[0]?.data).toMatchObject({ seq: 2 });
    expect(second.frames.at(-1)).toMatchObject({ event: 'done', data: { text: 'Hello world' } });
    expect(server.sessions.view(id).turns).toBe(1);
  });

  test('a message that steers a running turn ends with that turn', async () => {
    const { release } = server.model.hold(['Hel']);
    const first = await stream('hi');
    await first.next('token');
    const second = await stream('and this');
    await second.next('user_message');
    server.model.reply = () => answer(['both']);
    release();
    await Promise.all([first.ended(), second.ended()]);
    expect(second.frames.at(-1)).toMatchObject({ event: 'done', data: { text: 'both' } });
    expect(server.sessions.view(id).turns).toBe(1);
  });

  test('a refusal is a problem and no stream', async () => {
    expect((await stream('')).status).toBe(400);
    await call(server.port, `/api/v1/sessions/${id}`, { method: 'DELETE' });
    const reply = await call(server.port, `/api/v1/sessions/${id}/stream`, {
      body: { content: 'a' },
    });
    expect(reply).toMatchObject({ status: 410, json: { code: 'session_ended' } });
    expect(reply.headers['content-type']).toContain('application/problem+json');
  });

  test.each([{ wait: true }, { handling: 'silent' }, { content: 1 }])(
    '%j is not known here',
    async (more) => {
      const body = { content: 'a', ...more };
      expect((await call(server.port, `/api/v1/sessions/${id}/stream`, { body })).status).toBe(400);
    },
  );
});
