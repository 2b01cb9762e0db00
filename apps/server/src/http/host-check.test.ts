import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { memoryAgentCatalog } from '../adapters/agent-catalog/memory.ts';
import { memorySessionStore } from '../adapters/session-store/memory.ts';
import attacks from './attacks.json' with { type: 'json' };
import { call, FILE_TOKEN, raw } from './testing-client.ts';
import { startTestServer, testAgent, type TestServer } from './testing.ts';

let server: TestServer;
beforeAll(async () => {
  const agents = memoryAgentCatalog([testAgent('helper')]);
  server = await startTestServer({ store: memorySessionStore(), agents });
});
afterAll(() => server[Symbol.asyncDispose]());

/** Sends exactly these header lines and gives the status and the body's code. */
async function send(path: string, ...lines: string[]): Promise<{ status: number; code: string }> {
  const text = await raw(
    server.port,
    Buffer.from(`GET ${path} HTTP/1.1\r\n${[...lines, 'Connection: close'].join('\r\n')}\r\n\r\n`),
  );
  const code = /"code":"(\w+)"/.exec(text)?.[1] ?? '';
  if (code !== '') expect(text).toContain('application/problem+json');
  return { status: Number(text.slice(9, 12)), code };
}

describe('the Host header', () => {
  test.each(attacks.hosts.allowed)('%j is one of ours', async (host) => {
    expect(await send('/livez', `Host: ${host}`)).toEqual({ status: 200, code: '' });
  });

  test.each(attacks.hosts.refused)('%j is refused', async (host) => {
    const { status, code } = await send('/livez', `Host: ${host}`);
    // Node's parser refuses control characters before we see them.
    expect([`421 misdirected_request`, `400 invalid_request`]).toContain(`${status} ${code}`);
    if (!/[\u0000-\u001f]/.test(host)) expect(status).toBe(421);
  });

  test('a request without one is refused, also as HTTP/1.0', async () => {
    expect((await send('/livez')).status).toBe(421);
    const text = await raw(server.port, 'GET /livez HTTP/1.0\r\n\r\n');
    expect(text).toContain('421 Misdirected Request');
  });

  test('two of them are refused, also when both are ours', async () => {
    expect((await send('/livez', 'Host: localhost', 'Host: localhost')).status).toBe(421);
    expect((await send('/livez', 'Host: localhost', 'hOsT: evil.example')).status).toBe(421);
  });

  test('it is checked before the token, and on every route', async () => {
    const token = `Authorization: Bearer ${FILE_TOKEN}`;
    for (const path of ['/livez', '/version', '/api/v1/sessions', '/nothing']) {
      expect(await send(path, 'Host: evil.example', token)).toEqual({
        status: 421,
        code: 'misdirected_request',
      });
    }
  });
});

describe('requests of other sites', () => {
  const host = 'Host: localhost:8080';

  test.each(attacks.origins.allowed)('the origin %j is ours', async (origin) => {
    expect((await send('/livez', host, `Origin: ${origin}`)).status).toBe(200);
  });

  test.each(attacks.origins.refused)('the origin %j is refused', async (origin) => {
    const reply = await send('/livez', host, `Origin: ${origin}`);
    expect(reply).toEqual({ status: 403, code: 'forbidden' });
  });

  test('the default port of a scheme is the same place', async () => {
    expect((await send('/livez', 'Host: localhost', 'Origin: http://localhost:80')).status).toBe(
      200,
    );
    expect((await send('/livez', 'Host: localhost:80', 'Origin: http://localhost')).status).toBe(
      200,
    );
    expect((await send('/livez', 'Host: [::1]:81', 'Origin: http://[::1]:81')).status).toBe(200);
  });

  test.each(attacks.fetch_sites.allowed)('Sec-Fetch-Site %j passes', async (site) => {
    expect((await send('/livez', host, `Sec-Fetch-Site: ${site}`)).status).toBe(200);
  });

  test.each(attacks.fetch_sites.refused)('Sec-Fetch-Site %j is refused', async (site) => {
    expect((await send('/livez', host, `Sec-Fetch-Site: ${site}`)).status).toBe(403);
  });

  test('a token does not help them', async () => {
    const reply = await call(server.port, '/api/v1/sessions', {
      headers: { origin: 'http://evil.example' },
    });
    expect(reply.json['code']).toBe('forbidden');
    expect(reply.headers['access-control-allow-origin']).toBeUndefined();
  });
});
