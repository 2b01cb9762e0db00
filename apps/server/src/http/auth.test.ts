import { describe, expect, test } from 'vitest';
import { memoryAgentCatalog } from '../adapters/agent-catalog/memory.ts';
import { memorySessionStore } from '../adapters/session-store/memory.ts';
import { Authenticator } from './auth.ts';
import type { HttpDeps } from './context.ts';
import { call, FILE_TOKEN, raw } from './testing-client.ts';
import {
  ADMIN_TOKEN,
  API_TOKEN,
  startTestServer,
  testAgent,
  TestClock,
  type TestServer,
} from './testing.ts';

function start(change?: (deps: HttpDeps) => Partial<HttpDeps>): Promise<TestServer> {
  const agents = memoryAgentCatalog([testAgent('helper')]);
  return startTestServer({ store: memorySessionStore(), agents }, change);
}

describe('tokens', () => {
  test('one is needed on loopback too, on everything but the probes', async () => {
    await using server = await start();
    for (const path of ['/api/v1/sessions', '/api/v1/agents', '/nothing', '/', '/api/v1/admin/x']) {
      const reply = await call(server.port, path, { token: null });
      expect(reply.status).toBe(401);
      expect(reply.headers['www-authenticate']).toBe('Bearer');
      expect(reply.json['code']).toBe('unauthorized');
    }
    for (const path of ['/livez', '/readyz', '/health', '/version']) {
      expect((await call(server.port, path, { token: null })).status).toBe(200);
    }
  });

  test.each([
    ['Basic', `Basic ${Buffer.from(`x:${FILE_TOKEN}`).toString('base64')}`],
    ['no scheme', FILE_TOKEN],
    ['nothing', ''],
    ['an empty token', 'Bearer '],
    ['one character less', `Bearer ${FILE_TOKEN.slice(0, -1)}`],
    ['one character more', `Bearer ${FILE_TOKEN}x`],
    ['another case', `Bearer ${FILE_TOKEN.toUpperCase()}`],
    ['two tokens', `Bearer ${FILE_TOKEN} ${FILE_TOKEN}`],
    ['a list', `Bearer x, Bearer ${FILE_TOKEN}`],
    ['very long', `Bearer ${'x'.repeat(8000)}`],
    ['not ASCII', 'Bearer \u00e9\u00e9'],
  ])('an Authorization with %s is 401', async (_name, authorization) => {
    await using server = await start();
    const reply = await call(server.port, '/api/v1/sessions', {
      token: null,
      headers: { authorization },
    });
    expect(reply.status).toBe(401);
    expect(reply.text).not.toContain(FILE_TOKEN);
  });

  test('two Authorization headers are 401, also when both are right', async () => {
    await using server = await start();
    const header = `Authorization: Bearer ${FILE_TOKEN}`;
    for (const other of [header, 'authorization: Bearer x', 'Authorization:']) {
      const lines = ['GET /api/v1/sessions HTTP/1.1', 'Host: localhost', header, other];
      const text = await raw(server.port, `${lines.join('\r\n')}\r\nConnection: close\r\n\r\n`);
      expect(text).toMatch(/^HTTP\/1\.1 401 /);
    }
  });

  test('the scheme is read in any case', async () => {
    await using server = await start();
    const headers = { authorization: `bearer ${FILE_TOKEN}` };
    expect((await call(server.port, '/api/v1/sessions', { token: null, headers })).status).toBe(
      200,
    );
  });

  test('a token in the URL, a cookie or another header is none', async () => {
    await using server = await start();
    const query = `?token=${FILE_TOKEN}&access_token=${FILE_TOKEN}&authorization=Bearer%20${FILE_TOKEN}`;
    const headers = {
      cookie: `token=${FILE_TOKEN}`,
      'x-api-key': FILE_TOKEN,
      'proxy-authorization': `Bearer ${FILE_TOKEN}`,
    };
    const reply = await call(server.port, `/api/v1/sessions${query}`, { token: null, headers });
    expect(reply.status).toBe(401);
    expect(JSON.stringify(server.log)).not.toContain(FILE_TOKEN);
  });

  test('no token is ever in the log', async () => {
    await using server = await start();
    for (const token of [FILE_TOKEN, API_TOKEN, ADMIN_TOKEN, 'canary-wrong-token']) {
      await call(server.port, `/api/v1/sessions?x=${token}`, { token });
    }
    const log = JSON.stringify(server.log);
    expect(server.log.length).toBeGreaterThan(3);
    for (const token of [FILE_TOKEN, API_TOKEN, ADMIN_TOKEN, 'canary-wrong-token']) {
      expect(log).not.toContain(token);
    }
  });
});

describe('scopes', () => {
  const id = 'session_01jd0000000000000000000000';
  const routes: [method: string, path: string, scope: 'read' | 'chat' | 'admin'][] = [
    ['GET', '/api/v1/agents', 'read'],
    ['GET', '/api/v1/agents/helper', 'read'],
    ['GET', '/api/v1/agents/helper/spec', 'read'],
    ['GET', '/api/v1/sessions', 'read'],
    ['GET', `/api/v1/sessions/${id}`, 'read'],
    ['GET', `/api/v1/sessions/${id}/messages`, 'read'],
    ['GET', `/api/v1/sessions/${id}/events`, 'read'],
    ['POST', '/api/v1/sessions', 'chat'],
    ['POST', `/api/v1/sessions/${id}/messages`, 'chat'],
    ['POST', `/api/v1/sessions/${id}/stream`, 'chat'],
    ['POST', `/api/v1/sessions/${id}/cancel`, 'chat'],
    ['POST', `/api/v1/sessions/${id}/pause`, 'chat'],
    ['POST', `/api/v1/sessions/${id}/resume`, 'chat'],
    ['DELETE', `/api/v1/sessions/${id}`, 'admin'],
    ['DELETE', `/api/v1/sessions/${id}?purge=true`, 'admin'],
    ['POST', '/api/v1/admin/shutdown', 'admin'],
  ];
  const granted = {
    [FILE_TOKEN]: ['read', 'chat', 'admin'],
    [API_TOKEN]: ['read', 'chat'],
    [ADMIN_TOKEN]: ['admin'],
  };

  test.each(routes)('%s %s needs %s', async (method, path, scope) => {
    await using server = await start();
    for (const [token, scopes] of Object.entries(granted)) {
      const reply = await call(server.port, path, { method, token });
      if (scopes.includes(scope)) {
        expect(reply.status).not.toBe(403);
      } else {
        expect(reply.json).toMatchObject({ status: 403, code: 'forbidden', scope });
        expect(reply.json['detail']).toContain(`"${scope}"`);
      }
    }
  });

  test('the file token is refused by name when the command line is disabled; others are not', async () => {
    await using server = await start((deps) => ({ auth: { ...deps.auth, cliEnabled: false } }));
    const reply = await call(server.port, '/api/v1/sessions');
    expect(reply).toMatchObject({ status: 403, json: { code: 'cli_disabled' } });
    expect((await call(server.port, '/api/v1/sessions', { token: API_TOKEN })).status).toBe(200);
  });

  test('without an API or admin token, nothing stands in for it', async () => {
    await using server = await start((deps) => ({
      auth: { ...deps.auth, apiToken: '', adminToken: null },
    }));
    for (const token of ['', 'null', 'undefined', API_TOKEN, ADMIN_TOKEN]) {
      const headers = { authorization: `Bearer ${token}` };
      const reply = await call(server.port, '/api/v1/sessions', { token: null, headers });
      expect(reply.status).toBe(401);
    }
  });

  test('one word used as two tokens grants what both do', () => {
    const settings = { fileToken: 'a', apiToken: 'b', adminToken: 'b', cliEnabled: true };
    const caller = new Authenticator(settings, new TestClock()).authenticate(request('b', '::1'));
    expect([...caller.scopes].sort()).toEqual(['admin', 'chat', 'read']);
  });
});

describe('wrong tokens', () => {
  test('ten a minute from one address are 401, then 429 until the minute is over', async () => {
    await using server = await start();
    const fail = (): ReturnType<typeof call> =>
      call(server.port, '/api/v1/sessions', { token: 'wrong' });
    for (let i = 0; i < 10; i += 1) expect((await fail()).status).toBe(401);
    server.clock.advance(20_000);
    const refused = await fail();
    expect(refused).toMatchObject({ status: 429, json: { code: 'too_many_requests' } });
    expect(refused.headers['retry-after']).toBe('40');
    expect((await call(server.port, '/api/v1/sessions')).status).toBe(200);
    expect((await call(server.port, '/livez', { token: 'wrong' })).status).toBe(200);
    server.clock.advance(40_000);
    expect((await fail()).status).toBe(401);
  });

  test('sixty in all are refused whatever the address, and a right token never is', () => {
    const clock = new TestClock();
    const auth = new Authenticator({ fileToken: 'right', cliEnabled: true }, clock);
    const codes: string[] = [];
    for (let i = 0; i < 5_000; i += 1) {
      try {
        auth.authenticate(request('wrong', `10.0.${i >> 8}.${i & 255}`));
      } catch (error) {
        codes.push((error as { code: string }).code);
      }
    }
    expect(codes.filter((code) => code === 'unauthorized')).toHaveLength(60);
    expect(codes.slice(60).every((code) => code === 'too_many_requests')).toBe(true);
    expect(auth.authenticate(request('right', '10.0.0.1')).name).toBe('file');
    clock.advance(60_000);
    expect(() => auth.authenticate(request('wrong', '10.9.9.9'))).toThrow('not known');
  });
});

function request(
  token: string,
  remoteAddress: string,
): Parameters<Authenticator['authenticate']>[0] {
  const authorization = `Bearer ${token}`;
  return {
    headers: { authorization },
    rawHeaders: ['Authorization', authorization],
    socket: { remoteAddress },
  } as Parameters<Authenticator['authenticate']>[0];
}
