import { once } from 'node:events';
import net from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Fetched, FetchOptions, WebFailure } from '../../ports/web.ts';
import { createGuardedFetch, type FetchSurroundings } from './guarded-fetch.ts';
import { openStage, PUBLIC, rules, type Stage } from './stage.testing.ts';

let stage: Stage;
let connected: number;
beforeEach(async () => {
  stage = await openStage();
  connected = 0;
});
afterEach(async () => {
  await stage[Symbol.asyncDispose]();
});

function post(
  url: string,
  options: Partial<FetchOptions> = {},
  surroundings: Partial<FetchSurroundings> = {},
): Promise<Fetched | WebFailure> {
  const guardedFetch = createGuardedFetch(rules, { ...stage.surroundings, ...surroundings });
  return guardedFetch(url, {
    signal: new AbortController().signal,
    post: { type: 'text/plain', body: 'grüß', onConnect: () => (connected += 1) },
    ...options,
  });
}

test('a posting goes out whole, and its status is its answer', async () => {
  const bodies: Promise<string>[] = [];
  stage.answer = (request, response) => {
    bodies.push(text(request));
    response.writeHead(429, { 'retry-after': '7' }).end('slow down');
  };
  const answer = await post(`http://${PUBLIC}/hook?a=1`, { headers: { 'x-one': '1' } });
  expect(answer).toMatchObject({ ok: true, status: 429, retryAfter: '7', redirects: 0 });
  expect(answer.ok && answer.body.length).toBe(0);
  expect(await Promise.all(bodies)).toEqual(['grüß']);
  expect(stage.requests).toHaveLength(1);
  expect(stage.requests[0]).toMatchObject({ method: 'POST', url: '/hook?a=1' });
  expect(stage.requests[0]?.headers).toMatchObject({
    'content-type': 'text/plain',
    'content-length': '6',
    'accept-encoding': 'identity',
    'x-one': '1',
  });
  expect(connected).toBe(1);
});

test('a redirect is its answer, and nobody follows it', async () => {
  stage.answer = (_, response) => response.writeHead(307, { location: '/other' }).end();
  expect(await post(`http://${PUBLIC}/`)).toMatchObject({ ok: true, status: 307 });
  expect(stage.requests).toHaveLength(1);
});

test('what is not public is refused before a connection stands, unless it may be private', async () => {
  const url = `http://127.0.0.1:${stage.canaryPort}/`;
  expect(await post(url)).toMatchObject({ ok: false, code: 'address_refused' });
  expect([connected, stage.caught]).toEqual([0, 0]);
  expect(await post(url, { allowPrivate: true })).toMatchObject({ ok: true, status: 200 });
  expect([connected, stage.caught]).toEqual([1, 1]);
});

test('of a body that is huge only a little is read', async () => {
  let written = 0;
  let isDone = false;
  stage.answer = (_, response) => {
    response.on('close', () => (isDone = true));
    const write = (): void => {
      while (!isDone) {
        written += 64 * 1024;
        if (!response.write(Buffer.alloc(64 * 1024))) break;
      }
    };
    response.on('drain', write);
    response.writeHead(200);
    write();
  };
  expect(await post(`http://${PUBLIC}/`)).toMatchObject({
    ok: true,
    status: 200,
    truncated: false,
  });
  // What fits between the two, and no more.
  expect(written).toBeLessThan(32 * 1024 * 1024);
});

test.each([
  ['never ends', 200],
  ['breaks off', 202],
])('a body that %s takes nothing from the status', async (kind, status) => {
  stage.answer = (_, response) => {
    response.writeHead(status, { 'content-length': '100' });
    response.write('x', () => {
      if (kind === 'breaks off') response.destroy();
    });
  };
  expect(await post(`http://${PUBLIC}/`, {}, { timeoutMs: 200 })).toMatchObject({
    ok: true,
    status,
  });
});

test('what was not connected to was not sent; what breaks later may have arrived', async () => {
  const closed = net.createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port } = closed.address() as net.AddressInfo;
  closed.close();
  const nowhere = () => net.connect(port, '127.0.0.1');
  expect(await post(`http://${PUBLIC}/`, {}, { connect: nowhere })).toMatchObject({
    code: 'unreachable',
    reason: 'ECONNREFUSED',
  });
  expect(connected).toBe(0);
  stage.answer = (request) => request.socket.destroy();
  expect(await post(`http://${PUBLIC}/`)).toMatchObject({
    code: 'unreachable',
    reason: 'ECONNRESET',
  });
  expect(connected).toBe(1);
  stage.answer = () => undefined;
  expect(await post(`http://${PUBLIC}/`, {}, { timeoutMs: 200 })).toMatchObject({
    code: 'timed_out',
  });
  expect(connected).toBe(2);
});
