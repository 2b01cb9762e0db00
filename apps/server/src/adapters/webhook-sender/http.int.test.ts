import { once } from 'node:events';
import http from 'node:http';
import type net from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { addressFault } from '../../core/net/public-address.ts';
import { hostFault, urlFault } from '../../core/net/public-url.ts';
import type { WebhookRequest } from '../../ports/webhook-sender.ts';
import { createGuardedFetch } from '../web/guarded-fetch.ts';
import { httpWebhookSender } from './http.ts';

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const rules = { addressFault, hostFault, urlFault };
const SECRET = `whsec_${Buffer.from('a key that nobody else has, 32 b').toString('base64')}`;

interface Received {
  method: string | undefined;
  url: string | undefined;
  headers: http.IncomingHttpHeaders;
  body: string;
}

let server: http.Server;
let origin: string;
let received: Received[];
/** How the receiver answers; it hangs unless it is set. */
let answer: (response: http.ServerResponse) => void;
const sockets = new Set<net.Socket>();

beforeEach(async () => {
  received = [];
  answer = () => undefined;
  server = http.createServer((request, response) => {
    const { method, url, headers } = request;
    text(request).then(
      (body) => {
        received.push({ method, url, headers, body });
        answer(response);
      },
      () => undefined,
    );
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`;
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  server.close();
  if (server.listening) await once(server, 'close');
});

const answering = (status: number, headers: http.OutgoingHttpHeaders = {}, body = ''): void => {
  answer = (response) => void response.writeHead(status, headers).end(body);
};

function send(change: Partial<WebhookRequest> = {}, options: { timeoutMs?: number } = {}) {
  const guardedFetch = createGuardedFetch(rules, { timeoutMs: options.timeoutMs ?? 10_000 });
  const clock = { now: () => NOW, monotonic: () => 0, after: () => () => undefined };
  const request = {
    url: `${origin}/hook?a=1`,
    allowPrivate: true,
    secret: SECRET,
    id: 'out_1',
    body: '{"text":"grüß ✓"}',
    ...change,
  };
  return httpWebhookSender({ guardedFetch, clock }).send(request, {
    signal: new AbortController().signal,
  });
}

/** As Standard Webhooks says that a receiver verifies, with the browser's cryptography. */
async function isSigned({ headers, body }: Received, secret = SECRET): Promise<boolean> {
  const bytes = Uint8Array.from(atob(secret.replace('whsec_', '')), (c) => c.charCodeAt(0));
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', bytes, algorithm, false, ['verify']);
  const [version, mac = ''] = String(headers['webhook-signature']).split(',');
  const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`;
  const signature = Uint8Array.from(atob(mac), (c) => c.charCodeAt(0));
  const content = new TextEncoder().encode(signed);
  return version === 'v1' && (await crypto.subtle.verify('HMAC', key, signature, content));
}

describe('a request', () => {
  test('says whose message it is, and proves it', async () => {
    answering(204);
    expect(await send()).toEqual({ type: 'answered', status: 204, retryAfterMs: null });
    const [got] = received;
    if (!got) throw new Error('nothing came');
    expect(got).toMatchObject({ method: 'POST', url: '/hook?a=1', body: '{"text":"grüß ✓"}' });
    expect(got.headers).toMatchObject({
      'content-type': 'application/cloudevents+json',
      'webhook-id': 'out_1',
      'webhook-timestamp': String(Math.floor(NOW / 1_000)),
    });
    expect(await isSigned(got)).toBe(true);
    expect(await isSigned(got, SECRET.replace('YSB', 'YSC'))).toBe(false);
    expect(await isSigned({ ...got, body: `${got.body} ` })).toBe(false);
    expect(JSON.stringify(got)).not.toContain(SECRET.slice(6));
  });

  test('is signed as the example of Standard Webhooks is', async () => {
    answering(200);
    const guardedFetch = createGuardedFetch(rules);
    const clock = {
      now: () => 1_614_265_330_999,
      monotonic: () => 0,
      after: () => () => undefined,
    };
    await httpWebhookSender({ guardedFetch, clock }).send(
      {
        url: origin,
        allowPrivate: true,
        secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
        id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
        body: '{"test": 2432232314}',
      },
      { signal: new AbortController().signal },
    );
    expect(received[0]?.headers['webhook-signature']).toBe(
      'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    );
  });
});

describe('an answer', () => {
  test.each([
    ['in seconds', '7', 7_000],
    ['as a date', new Date(NOW + 90_000).toUTCString(), 89_322],
    ['as a date that is over', new Date(0).toUTCString(), 0],
    ['in nonsense', 'soon', null],
    ['below zero', '-1', null],
    ['of no number', '', null],
    ['without end', '9'.repeat(400), null],
  ])('asks for a pause %s', async (_, header, retryAfterMs) => {
    answering(429, { 'retry-after': header });
    expect(await send()).toEqual({ type: 'answered', status: 429, retryAfterMs });
  });

  test.each([200, 202, 302, 400, 404, 410, 500, 503])('is its status, %i', async (status) => {
    answering(status, { location: '/other' }, 'private words');
    expect(await send()).toEqual({ type: 'answered', status, retryAfterMs: null });
    expect(received).toHaveLength(1);
  });

  test('that is huge is not waited for', async () => {
    let written = 0;
    answer = (response) => {
      response.writeHead(200);
      const write = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(64 * 1024))) written += 1;
      };
      response.on('drain', write);
      write();
    };
    expect(await send()).toMatchObject({ status: 200 });
    expect(written).toBeLessThan(1_000);
  });
});

describe('what fails', () => {
  test('before it was sent is known not to have arrived', async () => {
    const port = Number(new URL(origin).port);
    server.close();
    await once(server, 'close');
    expect(await send({ url: `http://127.0.0.1:${port}/token-in-path` })).toEqual({
      type: 'unsent',
      code: 'not_connected',
      reason: 'It could not be reached (ECONNREFUSED).',
    });
    const unknown = await send({ url: 'http://nowhere.invalid/' });
    expect(unknown).toMatchObject({ type: 'unsent', code: 'not_connected' });
  });

  test('at an address that is not public is not sent, unless that is allowed', async () => {
    answering(200);
    for (const url of [origin, origin.replace('127.0.0.1', 'localhost'), 'http://[::1]/']) {
      expect(await send({ url, allowPrivate: false })).toEqual({
        type: 'unsent',
        code: 'refused',
        reason: expect.stringContaining('webhooks.allow_private'),
      });
    }
    expect(await send({ url: 'ftp://example.com/' })).toMatchObject({ code: 'refused' });
    expect(received).toEqual([]);
  });

  test('after it was sent may have arrived', async () => {
    expect(await send({}, { timeoutMs: 200 })).toEqual({
      type: 'lost',
      reason: 'It did not answer within 15 s.',
    });
    answer = (response) => void response.socket?.destroy();
    expect(await send()).toEqual({
      type: 'lost',
      reason: 'The connection broke before it answered (ECONNRESET).',
    });
    answer = (response) => void response.socket?.end('no HTTP at all\r\n\r\n');
    expect(await send()).toMatchObject({ type: 'lost' });
    expect(received).toHaveLength(3);
  });

  test('because it was cancelled ends soon', async () => {
    const stop = new AbortController();
    const guardedFetch = createGuardedFetch(rules);
    const clock = { now: () => NOW, monotonic: () => 0, after: () => () => undefined };
    answer = () => stop.abort();
    const outcome = await httpWebhookSender({ guardedFetch, clock }).send(
      { url: origin, allowPrivate: true, secret: SECRET, id: 'out_1', body: '{}' },
      { signal: stop.signal },
    );
    expect(outcome).toMatchObject({ type: 'lost' });
  });
});
