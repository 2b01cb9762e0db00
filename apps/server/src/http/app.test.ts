import net from 'node:net';
import { DuragentError } from '@duragent/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { memoryAgentCatalog } from '../adapters/agent-catalog/memory.ts';
import { memorySessionStore } from '../adapters/session-store/memory.ts';
import attacks from './attacks.json' with { type: 'json' };
import type { HttpDeps } from './context.ts';
import { problemOf } from './problem.ts';
import { call, FILE_TOKEN, raw, until } from './testing-client.ts';
import { startTestServer, testAgent, type TestServer } from './testing.ts';

function start(change?: (deps: HttpDeps) => Partial<HttpDeps>): Promise<TestServer> {
  const agents = memoryAgentCatalog([testAgent('helper')]);
  return startTestServer({ store: memorySessionStore(), agents }, change);
}

let server: TestServer;
beforeAll(async () => {
  server = await start();
});
afterAll(async () => {
  expect(server.errors()).toEqual([]);
  await server[Symbol.asyncDispose]();
});

/** A request line as it is. */
async function line(text: string): Promise<string> {
  const headers = `Host: localhost\r\nAuthorization: Bearer ${FILE_TOKEN}\r\nConnection: close`;
  return await raw(server.port, Buffer.from(`${text} HTTP/1.1\r\n${headers}\r\n\r\n`, 'latin1'));
}

describe('paths', () => {
  test.each(attacks.session_ids)('the session %j does not exist, for any method', async (id) => {
    const routes = [
      ['GET', ''],
      ['DELETE', ''],
      ['GET', '/events'],
      ['GET', '/messages'],
      ['POST', '/messages'],
      ['POST', '/stream'],
      ['POST', '/cancel'],
      ['POST', '/pause'],
      ['POST', '/resume'],
    ];
    for (const [method, rest] of routes) {
      const text = await line(
        `${method} /api/v1/sessions/${Buffer.from(id).toString('latin1')}${rest}`,
      );
      if (/[^\u0020-\u007e]/.test(id)) expect(text).toContain('400 Bad Request');
      else expect(text).toContain('"code":"session_not_found"');
    }
  });

  test.each([
    '..',
    '%2e%2e%2fx',
    'Helper',
    'helper%2f',
    'he%00lper',
    '-x',
    'x'.repeat(64),
    'nobody',
  ])('the agent %j does not exist', async (name) => {
    for (const rest of ['', '/spec']) {
      const text = await line(`GET /api/v1/agents/${name}${rest}`);
      expect(text).toContain('"code":"agent_not_found"');
    }
  });

  test.each(attacks.paths_not_found)('there is nothing at %j', async (path) => {
    const text = await line(`GET ${path}`);
    expect(text).toContain('404 Not Found');
    expect(text).toContain('"code":"not_found"');
    expect(text).toContain('application/problem+json');
  });

  test.each(attacks.targets_refused)('the target %j is refused', async (target) => {
    const text = await line(`GET ${target}`);
    expect(text).toContain('400 Bad Request');
    expect(text).toContain('"code":"invalid_request"');
    expect(text).toContain('application/problem+json');
  });
});

describe('methods', () => {
  test.each([
    ['PUT', '/livez', 'HEAD, GET, OPTIONS'],
    ['POST', '/version', 'HEAD, GET, OPTIONS'],
    ['PATCH', '/api/v1/sessions', 'POST, HEAD, GET, OPTIONS'],
    ['POST', '/api/v1/sessions/x', 'HEAD, GET, DELETE, OPTIONS'],
    ['GET', '/api/v1/sessions/x/stream', 'POST, OPTIONS'],
    ['HEAD', '/api/v1/sessions/x/cancel', 'POST, OPTIONS'],
    ['PROPFIND', '/api/v1/agents', 'HEAD, GET, OPTIONS'],
    ['TRACE', '/livez', 'HEAD, GET, OPTIONS'],
  ])('%s %s is 405 and tells what is allowed', async (method, path, allow) => {
    const reply = await call(server.port, path, { method });
    expect(reply.status).toBe(405);
    expect(reply.headers.allow?.split(', ').sort()).toEqual(allow.split(', ').sort());
    if (method !== 'HEAD') expect(reply.json['code']).toBe('method_not_allowed');
  });

  test('OPTIONS tells what is allowed, and nothing to other sites', async () => {
    const reply = await call(server.port, '/api/v1/sessions', { method: 'OPTIONS' });
    expect(reply).toMatchObject({ status: 204, text: '' });
    expect(reply.headers.allow).toBe('POST, HEAD, GET, OPTIONS');
    const foreign = await call(server.port, '/api/v1/sessions', {
      method: 'OPTIONS',
      token: null,
      headers: { origin: 'http://evil.example', 'access-control-request-method': 'POST' },
    });
    expect(foreign.status).toBe(403);
    expect((await call(server.port, '/nothing', { method: 'OPTIONS' })).status).toBe(404);
  });

  test('HEAD answers as GET without the body', async () => {
    const get = await call(server.port, '/version');
    const head = await call(server.port, '/version', { method: 'HEAD' });
    expect(head).toMatchObject({ status: 200, text: '' });
    expect(head.headers['content-length']).toBe(get.headers['content-length']);
    const missing = await call(server.port, '/nothing', { method: 'HEAD' });
    expect(missing).toMatchObject({ status: 404, text: '' });
  });

  test('HEAD of an event stream ends at once and attaches nobody', async () => {
    const made = await call(server.port, '/api/v1/sessions', { body: {} });
    const path = `/api/v1/sessions/${String(made.json['session'])}`;
    const head = await call(server.port, `${path}/events`, { method: 'HEAD' });
    expect(head).toMatchObject({ status: 200, text: '' });
    expect(head.headers['content-type']).toContain('text/event-stream');
    expect((await call(server.port, path)).json['clients']).toBe(0);
  });
});

describe('request ids', () => {
  test.each(['abc', 'A-b_9', 'x'.repeat(64)])('%j is taken and echoed', async (id) => {
    for (const path of ['/livez', '/nothing']) {
      const reply = await call(server.port, path, { headers: { 'x-request-id': id } });
      expect(reply.headers['x-request-id']).toBe(id);
      if (path === '/nothing') expect(reply.json['request_id']).toBe(id);
    }
  });

  test.each(['', 'a b', 'x'.repeat(65), 'a;b', '<b>', 'a\tb', 'caf\u00e9', '../x'])(
    '%j is replaced',
    async (id) => {
      const reply = await call(server.port, '/nothing', { headers: { 'x-request-id': id } });
      expect(reply.headers['x-request-id']).toMatch(/^[\w-]{36}$/);
      expect(reply.json['request_id']).toBe(reply.headers['x-request-id']);
    },
  );
});

describe('errors', () => {
  test('a fault of the inside is 500 with nothing of it, and logged once with its cause', async () => {
    const cause = new Error('canary: /secret/path and select * from x');
    await using broken = await start((deps) => ({
      agents: { ...deps.agents, list: () => Promise.reject(cause) },
    }));
    const reply = await call(broken.port, '/api/v1/agents');
    expect(reply).toMatchObject({ status: 500, json: { code: 'internal' } });
    expect(reply.text).not.toContain('canary');
    expect(reply.headers['x-request-id']).toBe(reply.json['request_id']);
    expect(broken.errors()).toEqual([
      {
        level: 'error',
        fields: { err: cause, request_id: reply.json['request_id'] },
        text: 'request failed',
      },
    ]);
  });

  test('a request that takes too long is 408, and its late error is logged', async () => {
    const late = Promise.withResolvers<never>();
    await using slow = await start((deps) => ({
      agents: { ...deps.agents, list: () => late.promise },
    }));
    const before = slow.clock.waiting;
    const reply = call(slow.port, '/api/v1/agents');
    await until(() => slow.clock.waiting > before);
    slow.clock.advance(60_000);
    expect(await reply).toMatchObject({ status: 408, json: { code: 'request_timeout' } });
    late.reject(new Error('much later'));
    await until(() => slow.errors().length === 1);
    expect(slow.errors()[0]?.text).toContain('after its time was up');
  });

  test('a right answer that comes too late is dropped quietly', async () => {
    const late = Promise.withResolvers<{ agents: []; broken: [] }>();
    await using slow = await start((deps) => ({
      agents: { ...deps.agents, list: () => late.promise },
    }));
    const before = slow.clock.waiting;
    const reply = call(slow.port, '/api/v1/agents');
    await until(() => slow.clock.waiting > before);
    slow.clock.advance(60_000);
    expect((await reply).status).toBe(408);
    late.resolve({ agents: [], broken: [] });
    expect((await call(slow.port, '/livez')).status).toBe(200);
    expect(slow.errors()).toEqual([]);
  });

  test('each code has its status; the rest are 500 without their words', () => {
    const statuses = {
      invalid_request: 400,
      unauthorized: 401,
      forbidden: 403,
      cli_disabled: 403,
      not_found: 404,
      session_not_found: 404,
      agent_not_found: 404,
      method_not_allowed: 405,
      request_timeout: 408,
      conflict: 409,
      draining: 409,
      session_quarantined: 409,
      log_corrupt: 409,
      log_newer: 409,
      session_ended: 410,
      payload_too_large: 413,
      record_too_large: 413,
      unsupported_media_type: 415,
      misdirected_request: 421,
      agent_invalid: 422,
      too_many_requests: 429,
      queue_full: 429,
      storage_full: 503,
      storage_failed: 503,
      locked: 503,
      epoch_lost: 503,
    } as const;
    for (const [code, status] of Object.entries(statuses)) {
      const error = new DuragentError(code as keyof typeof statuses, 'what to do', {
        details: { session: 's', status: 1, code: 'x', type: 'y', request_id: 'z' },
      });
      const answer = problemOf(error, 'rid');
      expect(answer).toMatchObject({ status, isInternal: false });
      expect(answer.body).toMatchObject({
        type: `urn:duragent:problem:${code}`,
        status,
        code,
        detail: 'what to do',
        request_id: 'rid',
        session: 's',
      });
      const waits = [
        'draining',
        'queue_full',
        'storage_full',
        'storage_failed',
        'locked',
        'epoch_lost',
      ];
      expect('Retry-After' in answer.headers).toBe(waits.includes(code));
    }
    for (const code of ['seq_conflict', 'port_in_use', 'failed', 'internal'] as const) {
      const answer = problemOf(new DuragentError(code, 'canary'), 'rid');
      expect(answer).toMatchObject({ status: 500, isInternal: true, body: { code: 'internal' } });
      expect(JSON.stringify(answer.body)).not.toContain('canary');
    }
    expect(problemOf('a string', 'rid').status).toBe(500);
  });
});

describe('what is no HTTP', () => {
  test.each([
    ['nonsense', 'hello\r\n\r\n', '400 Bad Request'],
    ['TLS', '\u0016\u0003\u0001\u0002\u0000\u0001', '400 Bad Request'],
    ['a bad version', 'GET / HTTP/9.9\r\n\r\n', '400 Bad Request'],
    ['a header without a name', 'GET / HTTP/1.1\r\n: x\r\n\r\n', '400 Bad Request'],
    ['a folded header', 'GET / HTTP/1.1\r\nHost: localhost\r\n x\r\n\r\n', '400 Bad Request'],
    ['a bad length', 'GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n', '400 Bad Request'],
    ['huge headers', `GET / HTTP/1.1\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`, '431 '],
    ['a huge path', `GET /${'x'.repeat(40_000)} HTTP/1.1\r\n\r\n`, '431 '],
  ])('%s is answered as a problem and closed', async (_name, bytes, status) => {
    const text = await raw(server.port, Buffer.from(bytes, 'latin1'));
    expect(text).toContain(`HTTP/1.1 ${status}`);
    expect(text).toContain('application/problem+json');
    const body = JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)) as Record<string, unknown>;
    expect(body).toMatchObject({ code: 'invalid_request', status: Number(status.slice(0, 3)) });
    expect(text).toContain(`X-Request-ID: ${String(body['request_id'])}`);
  });

  test('nonsense behind a response that is being written cuts it, and adds nothing to it', async () => {
    const made = await call(server.port, '/api/v1/sessions', { body: {} });
    const id = String(made.json['session']);
    const lines = ['Host: localhost', `Authorization: Bearer ${FILE_TOKEN}`];
    const socket = net.connect(server.port, '127.0.0.1');
    let text = '';
    let isClosed = false;
    socket.on('data', (bytes) => (text += bytes.toString()));
    socket.on('error', () => undefined);
    socket.on('close', () => (isClosed = true));
    socket.write(`GET /api/v1/sessions/${id}/events HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    await until(() => text.includes('caught_up'));
    socket.write('hello\r\n\r\n');
    await until(() => isClosed);
    expect(text).toContain('200 OK');
    expect(text).not.toContain('400 Bad Request');
    await until(() => server.sessions.view(id).clients === 0);
  });

  test('a stream queued behind another response ends with its connection', async () => {
    const made = await call(server.port, '/api/v1/sessions', { body: {} });
    const id = String(made.json['session']);
    const lines = ['Host: localhost', `Authorization: Bearer ${FILE_TOKEN}`];
    const get = `GET /api/v1/sessions/${id}/events HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
    const socket = net.connect(server.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(get.repeat(3));
    await until(() => server.sessions.view(id).clients === 3);
    socket.destroy();
    await until(() => server.sessions.view(id).clients === 0);
  });
});

describe('the access log', () => {
  test('has one line for each request, without its query', async () => {
    await using own = await start();
    await call(own.port, '/livez?secret=canary', { headers: { 'x-request-id': 'one' } });
    await call(own.port, '/nothing?secret=canary', { headers: { 'x-request-id': 'two' } });
    await call(own.port, '/api/v1/agents', { token: null, headers: { 'x-request-id': 'three' } });
    await until(() => own.log.length === 3);
    expect(own.log).toEqual([
      info({ method: 'GET', path: '/livez', status: 200, ms: 0, request_id: 'one' }),
      info({ method: 'GET', path: '/nothing', status: 404, ms: 0, request_id: 'two' }),
      info({ method: 'GET', path: '/api/v1/agents', status: 401, ms: 0, request_id: 'three' }),
    ]);
  });

  const info = (fields: Record<string, unknown>): object => ({
    level: 'info',
    fields,
    text: 'request',
  });
});

describe('probes', () => {
  test('tell who is there, to anyone', async () => {
    expect((await call(server.port, '/version', { token: null })).json).toEqual({
      version: '0.1.0',
      commit: 'abc',
      build_hash: 'def',
      started_at: '2026-01-01T00:00:00.000Z',
      node: process.versions.node,
    });
    expect((await call(server.port, '/readyz', { token: null })).json).toEqual({
      status: 'ready',
      workspace: '0123456789abcdef',
      instance: 'test-instance',
    });
  });

  test('readyz is 503 with the reason while the server is not ready', async () => {
    await using stopping = await start(() => ({
      ready: () => ({ ready: false, reason: 'stopping' }),
    }));
    const reply = await call(stopping.port, '/readyz', { token: null });
    expect(reply).toMatchObject({ status: 503, json: { status: 'not_ready', reason: 'stopping' } });
    expect((await call(stopping.port, '/livez', { token: null })).status).toBe(200);
  });
});

describe('shutdown', () => {
  test('is answered, then done, once', async () => {
    let calls = 0;
    await using own = await start(() => ({ onShutdown: () => void (calls += 1) }));
    const reply = await call(own.port, '/api/v1/admin/shutdown', { method: 'POST' });
    expect(reply).toMatchObject({ status: 202, json: { status: 'stopping' } });
    await until(() => calls === 1);
  });

  test('does not exist when admin is disabled', async () => {
    await using own = await start((deps) => ({ auth: { ...deps.auth, adminEnabled: false } }));
    const reply = await call(own.port, '/api/v1/admin/shutdown', { method: 'POST' });
    expect(reply).toMatchObject({ status: 404, json: { code: 'not_found' } });
  });
});
