import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type MemoryAgentCatalog,
  memoryAgentCatalog,
} from '../../adapters/agent-catalog/memory.ts';
import { memorySessionStore } from '../../adapters/session-store/memory.ts';
import attacks from '../attacks.json' with { type: 'json' };
import { call, type Reply, until } from '../testing-client.ts';
import { startTestServer, testAgent, type TestServer } from '../testing.ts';

let server: TestServer;
let agents: MemoryAgentCatalog;
beforeEach(async () => {
  agents = memoryAgentCatalog([testAgent('helper'), testAgent('other')]);
  agents.break('broken', [{ file: 'agent.yaml', line: 3, column: 1, message: 'unknown key' }]);
  server = await startTestServer({ store: memorySessionStore(), agents });
});
afterEach(async () => {
  expect(server.errors()).toEqual([]);
  await server[Symbol.asyncDispose]();
});

const create = (body: object = {}, headers: Record<string, string> = {}): Promise<Reply> =>
  call(server.port, '/api/v1/sessions', { body, headers });
const makeId = async (body: object = {}): Promise<string> =>
  String((await create(body)).json['session']);
const get = (path: string): Promise<Reply> => call(server.port, `/api/v1${path}`);
const say = (id: string, content: string, more: object = {}): Promise<Reply> =>
  call(server.port, `/api/v1/sessions/${id}/messages`, { body: { content, ...more } });
const idle = (id: string): Promise<void> =>
  until(() => server.sessions.view(id).turn_state === 'idle');

describe('agents', () => {
  test('are listed with those that do not load', async () => {
    expect((await get('/agents')).json).toEqual({
      agents: [
        {
          name: 'helper',
          description: 'The agent helper',
          version: '1.0.0',
          labels: {},
          hash: 'hash-of-helper',
          model: 'echo/echo',
          default: true,
        },
        expect.objectContaining({ name: 'other', default: false }),
      ],
      broken: [
        {
          name: 'broken',
          faults: [{ file: 'agent.yaml', line: 3, column: 1, message: 'unknown key' }],
        },
      ],
    });
  });

  test('are shown one by one; an unknown name lists the known', async () => {
    expect((await get('/agents/other')).json).toMatchObject({ name: 'other' });
    const unknown = await get('/agents/nobody');
    expect(unknown).toMatchObject({
      status: 404,
      json: { code: 'agent_not_found', known: ['helper', 'other'] },
    });
  });

  test('that do not load are 422 with every fault', async () => {
    for (const rest of ['', '/spec']) {
      const reply = await get(`/agents/broken${rest}`);
      expect(reply).toMatchObject({ status: 422, json: { code: 'agent_invalid' } });
      expect(reply.json['faults']).toHaveLength(1);
    }
  });

  test('have their definition as JSON, without where it lies', async () => {
    const reply = await get('/agents/helper/spec');
    expect(reply.json).toMatchObject({
      kind: 'Agent',
      metadata: { name: 'helper' },
      spec: {
        soul: 'A soul.',
        model: { provider: 'echo', max_output_tokens: 100, fallback: [] },
        session: { turn_timeout: '90s', context: { max_history_tokens: 1000 } },
        access: { dm: { policy: 'pairing' } },
        tools: [],
      },
    });
    expect(reply.text).not.toContain('/agents/helper');
  });
});

describe('making a session', () => {
  test('gives it back, with where it is', async () => {
    const body = { agent: 'other', key: 'k', labels: { team: 'ops' }, on_disconnect: 'pause' };
    const reply = await create({ ...body, origin: 'cli' });
    expect(reply.status).toBe(201);
    expect(reply.json).toMatchObject({
      agent: 'other',
      key: 'k',
      labels: { team: 'ops' },
      origin: { kind: 'cli' },
      turn_state: 'idle',
      last_seq: 1,
    });
    expect(reply.headers.location).toBe(`/api/v1/sessions/${String(reply.json['session'])}`);
    expect((await call(server.port, String(reply.headers.location))).status).toBe(200);
  });

  test('takes the default agent and origin http where nothing is said', async () => {
    expect((await create()).json).toMatchObject({ agent: 'helper', origin: { kind: 'http' } });
  });

  test('with an unknown agent is 404 with the known, with a broken one 422', async () => {
    expect(await create({ agent: 'nobody' })).toMatchObject({
      status: 404,
      json: { code: 'agent_not_found', known: ['helper', 'other'] },
    });
    expect(await create({ agent: 'broken' })).toMatchObject({ status: 422 });
    expect(await create({ agent: '../x' })).toMatchObject({
      status: 400,
      json: { errors: [{ pointer: '/agent' }] },
    });
  });

  test('with a key that is taken is 409 with who has it, until that one ends', async () => {
    const first = await makeId({ key: 'mine' });
    expect(await create({ key: 'mine' })).toMatchObject({
      status: 409,
      json: { code: 'conflict', session: first },
    });
    await call(server.port, `/api/v1/sessions/${first}`, { method: 'DELETE' });
    expect((await create({ key: 'mine' })).status).toBe(201);
  });

  test('with the same Idempotency-Key gives the first one again, but only to the same caller', async () => {
    const headers = { 'idempotency-key': 'once' };
    const first = await create({}, headers);
    const again = await create({}, headers);
    expect(again.json['session']).toBe(first.json['session']);
    const other = await call(server.port, '/api/v1/sessions', {
      token: 'canary-http-api-token-8wzr',
      body: {},
      headers,
    });
    expect(other.json['session']).not.toBe(first.json['session']);
  });

  test.each(attacks.idempotency_keys_refused)('the Idempotency-Key %j is refused', async (key) => {
    for (const path of ['', `/${await makeId()}/messages`, `/${await makeId()}/stream`]) {
      const reply = await call(server.port, `/api/v1/sessions${path}`, {
        body: path === '' ? {} : { content: 'a' },
        headers: { 'idempotency-key': key },
      });
      expect(reply).toMatchObject({ status: 400, json: { code: 'invalid_request' } });
    }
    expect((await create({}, { 'idempotency-key': 'x'.repeat(256) })).status).toBe(400);
    expect((await create({}, { 'idempotency-key': 'x'.repeat(255) })).status).toBe(201);
  });
});

describe('the list of sessions', () => {
  test('is newest first, and paged without missing or repeating one', async () => {
    const made: string[] = [];
    for (let i = 0; i < 7; i += 1) made.push(await makeId());
    const seen: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: Reply['json'] = (await get(`/sessions?limit=3&cursor=${cursor}`)).json;
      const sessions = page['sessions'] as { session: string }[];
      seen.push(...sessions.map((view) => view.session));
      cursor = page['cursor'] as string | null;
      // Deleting the last one seen does not lose the place.
      await call(server.port, `/api/v1/sessions/${seen.at(-1)}?purge=true`, { method: 'DELETE' });
    }
    expect(seen).toEqual([...made].sort().reverse());
  });

  test('is filtered', async () => {
    const a = await makeId({ labels: { team: 'ops', tier: 'a=b' } });
    const b = await makeId({ agent: 'other', labels: { team: 'dev' } });
    const ended = await makeId();
    await call(server.port, `/api/v1/sessions/${ended}`, { method: 'DELETE' });
    const find = async (query: string): Promise<string[]> => {
      const { sessions } = (await get(`/sessions?${query}`)).json;
      return (sessions as { session: string }[]).map((view) => view.session);
    };
    expect(await find('agent=other')).toEqual([b]);
    expect(await find('status=ended')).toEqual([ended]);
    expect(await find('label=team')).toEqual([b, a].sort().reverse());
    expect(await find('label=team%3Dops')).toEqual([a]);
    expect(await find('label=team=ops&label=tier=a=b')).toEqual([a]);
    expect(await find('label=team=ops&label=team=dev')).toEqual([]);
    expect(await find('label=__proto__')).toEqual([]);
    expect(await find('label=toString')).toEqual([]);
    expect(await find('nothing=known&x[y]=z')).toHaveLength(3);
  });

  test.each([
    'limit=0',
    'limit=-1',
    'limit=1001',
    'limit=abc',
    'limit=1e2',
    'limit=1.5',
    'limit=1&limit=2',
    'limit=%00',
    'status=alive',
    'status=ended&status=active',
    'agent=a&agent=b',
    `cursor=a&cursor=b`,
    Array.from({ length: 33 }, () => 'label=x').join('&'),
  ])('%s is 400', async (query) => {
    const reply = await get(`/sessions?${query}`);
    expect(reply).toMatchObject({ status: 400, json: { code: 'invalid_request' } });
    expect(reply.json['detail']).toContain(String(reply.json['parameter']));
  });
});

describe('ending a session', () => {
  const remove = (id: string, query = ''): Promise<Reply> =>
    call(server.port, `/api/v1/sessions/${id}${query}`, { method: 'DELETE' });

  test('is said with its reason, twice is once, and its messages are 410', async () => {
    const id = await makeId();
    expect(await remove(id, '?reason=user')).toMatchObject({ status: 204, text: '' });
    expect((await remove(id, '?reason=reset')).status).toBe(204);
    expect((await get(`/sessions/${id}`)).json).toMatchObject({
      status: 'ended',
      end_reason: 'user',
    });
    expect(await say(id, 'hello')).toMatchObject({ status: 410, json: { code: 'session_ended' } });
  });

  test('and deleting it leaves nothing', async () => {
    const id = await makeId();
    expect((await remove(id, '?purge=true')).status).toBe(204);
    expect(await get(`/sessions/${id}`)).toMatchObject({ status: 404 });
    expect((await remove(id, '?purge=true')).status).toBe(404);
    expect((await remove(id)).status).toBe(404);
  });

  test.each(['?purge=yes', '?purge=', '?purge=true&purge=false', '?reason=expired', '?reason=x'])(
    '%s does not delete anything',
    async (query) => {
      const id = await makeId();
      const reply = await remove(id, query);
      expect(reply.status).toBe(query === '?purge=' ? 204 : 400);
      expect((await get(`/sessions/${id}`)).status).toBe(200);
    },
  );
});

describe('messages', () => {
  test('are accepted at once with seq and turn, and answered by the agent', async () => {
    const id = await makeId();
    const reply = await say(id, 'hi', { sender: { name: 'Ann' }, origin: 'cli' });
    expect(reply.status).toBe(202);
    expect(reply.json).toMatchObject({ seq: 2 });
    expect(reply.json['turn']).toMatch(/^turn_/);
    await idle(id);
    const { messages, before } = (await get(`/sessions/${id}/messages`)).json;
    expect(before).toBeNull();
    expect(messages).toMatchObject([
      { type: 'assistant_message', content: [{ type: 'text', text: 'Hello world' }] },
      {
        type: 'user_message',
        message_id: reply.json['message_id'],
        content: [{ type: 'text', text: 'hi' }],
        source: { kind: 'cli', sender: { name: 'Ann' } },
      },
    ]);
  });

  test('may be lists of parts, and may want no answer', async () => {
    const id = await makeId();
    const parts = [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ];
    const reply = await call(server.port, `/api/v1/sessions/${id}/messages`, {
      body: { content: parts, handling: 'silent' },
    });
    expect(reply).toMatchObject({ status: 202, json: { turn: null } });
    const { messages } = (await get(`/sessions/${id}/messages`)).json;
    expect(messages).toMatchObject([{ content: parts, handling: 'silent' }]);
  });

  test('with wait are answered when the turn has ended', async () => {
    const id = await makeId();
    const reply = await say(id, 'hi', { wait: true });
    expect(reply.status).toBe(200);
    expect(reply.json).toMatchObject({
      outcome: 'completed',
      text: 'Hello world',
      usage: { input_tokens: 3, output_tokens: 2 },
    });
  });

  test('with wait are 202 with the turn after the request timeout, and the turn goes on', async () => {
    const id = await makeId();
    const { release } = server.model.hold(['Hel']);
    const reply = say(id, 'hi', { wait: true });
    await until(() => server.sessions.view(id).clients === 1);
    server.clock.advance(59_999);
    server.clock.advance(1);
    expect(await reply).toMatchObject({ status: 202, json: { seq: 2 } });
    expect((await reply).json['turn']).toMatch(/^turn_/);
    release();
    await idle(id);
    expect((await get(`/sessions/${id}`)).json).toMatchObject({ clients: 0, turns: 1 });
  });

  test('with wait and a client that leaves: the turn goes on, and nothing is an error', async () => {
    const id = await makeId();
    const { release } = server.model.hold(['Hel']);
    const controller = new AbortController();
    const left = fetch(`http://127.0.0.1:${server.port}/api/v1/sessions/${id}/messages`, {
      method: 'POST',
      signal: controller.signal,
      headers: {
        authorization: 'Bearer canary-http-file-token-5kq2',
        'content-type': 'application/json',
      },
      body: JSON.stringify({ content: 'hi', wait: true }),
    }).catch((error: unknown) => (error as Error).name);
    await until(() => server.sessions.view(id).clients === 1);
    controller.abort();
    expect(await left).toBe('AbortError');
    await until(() => server.sessions.view(id).clients === 0);
    release();
    await idle(id);
    const { messages } = (await get(`/sessions/${id}/messages?limit=1`)).json;
    expect(messages).toMatchObject([{ type: 'assistant_message', finish_reason: 'stop' }]);
  });

  test('with an Idempotency-Key are taken once', async () => {
    const id = await makeId();
    const send = (): Promise<Reply> =>
      call(server.port, `/api/v1/sessions/${id}/messages`, {
        body: { content: 'a' },
        headers: { 'idempotency-key': 'one' },
      });
    const first = await send();
    expect((await send()).json).toMatchObject({
      seq: first.json['seq'],
      message_id: first.json['message_id'],
    });
    await idle(id);
    expect((await get(`/sessions/${id}`)).json['turns']).toBe(1);
  });

  test('are paged backwards without missing one, whatever lies between them', async () => {
    const id = await makeId();
    for (let i = 0; i < 130; i += 1) await say(id, `m${i}`, { handling: 'silent' });
    const seen: string[] = [];
    for (let before: string | number | null = ''; before !== null;) {
      const page: Reply['json'] = (await get(`/sessions/${id}/messages?limit=40&before=${before}`))
        .json;
      const messages = page['messages'] as { content: { text: string }[] }[];
      seen.push(...messages.map((message) => String(message.content[0]?.text)));
      before = page['before'] as number | null;
    }
    expect(seen).toEqual(Array.from({ length: 130 }, (_, i) => `m${129 - i}`));
    expect((await get(`/sessions/${id}/messages?limit=500`)).json['messages']).toHaveLength(130);
    expect((await get(`/sessions/${id}/messages?before=1`)).json['messages']).toEqual([]);
    const late = (await get(`/sessions/${id}/messages?before=999999&limit=1`)).json['messages'];
    expect(late).toMatchObject([{ content: [{ text: 'm129' }] }]);
  });

  test.each(['before=0', 'before=-1', 'before=x', 'before=1&before=2', 'limit=0', 'limit=501'])(
    'a page with %s is 400',
    async (query) => {
      expect((await get(`/sessions/${await makeId()}/messages?${query}`)).status).toBe(400);
    },
  );

  test('a server that stops takes no more: 409 with Retry-After', async () => {
    const id = await makeId();
    await server.sessions.open(id);
    const closing = server.sessions.close();
    const reply = await create();
    expect(reply).toMatchObject({ status: 409, json: { code: 'draining' } });
    expect(reply.headers['retry-after']).toBe('5');
    await closing;
  });
});

describe('cancel', () => {
  test('stops the turn and names it; without one it is null', async () => {
    const id = await makeId();
    server.model.hold(['Hel']);
    const accepted = await say(id, 'hi');
    const cancel = (): Promise<Reply> =>
      call(server.port, `/api/v1/sessions/${id}/cancel`, { method: 'POST' });
    expect(await cancel()).toMatchObject({ status: 202, json: { turn: accepted.json['turn'] } });
    expect(await cancel()).toMatchObject({ status: 202, json: { turn: null } });
  });

  test.each(['cancel', 'pause', 'resume'])('(%s) takes no body but an empty one', async (what) => {
    const path = `/api/v1/sessions/${await makeId()}/${what}`;
    expect((await call(server.port, path, { body: {} })).status).toBe(202);
    expect((await call(server.port, path, { body: { turn: 'x' } })).status).toBe(400);
  });
});

describe('pause', () => {
  test('holds the session before its next step until it is resumed', async () => {
    const id = await makeId();
    const held = server.model.hold(['Hel']);
    await say(id, 'hi');
    const post = (what: string): Promise<Reply> =>
      call(server.port, `/api/v1/sessions/${id}/${what}`, { method: 'POST' });
    const working = { status: 'paused', turn_state: 'working', paused_by: 'http:file' };
    expect(await post('pause')).toMatchObject({ status: 202, json: working });
    held.release();
    await until(() => server.sessions.view(id).turn_state === 'idle');
    await say(id, 'more');
    expect(server.sessions.view(id)).toMatchObject({
      status: 'paused',
      turn_state: 'idle',
      turns: 1,
    });
    expect(await post('resume')).toMatchObject({ status: 202, json: { status: 'running' } });
    await until(() => server.sessions.view(id).turns === 2);
  });
});
