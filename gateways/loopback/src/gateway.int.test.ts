import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { serveGateway } from '@duragent/protocol/node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../../../test/support/until.ts';
import { LoopbackGateway } from './gateway.ts';

interface Line {
  type: string;
  [field: string]: unknown;
}

/** A gateway in this process, and the server's end of its streams. */
class Harness {
  readonly lines: Line[] = [];
  readonly done: Promise<number>;
  readonly #stdin = new PassThrough();
  #rest = '';

  constructor() {
    const stdout = new PassThrough();
    stdout.setEncoding('utf8').on('data', (text: string) => {
      const parts = (this.#rest + text).split('\n');
      this.#rest = parts.pop() ?? '';
      this.lines.push(...parts.map((line) => JSON.parse(line) as Line));
    });
    this.done = serveGateway(new LoopbackGateway(), { stdin: this.#stdin, stdout });
  }

  send(command: object): void {
    this.#stdin.write(`${JSON.stringify(command)}\n`);
  }

  async line(type: string, at = 0): Promise<Line> {
    return (await until(
      `a ${type}`,
      () => this.lines.filter((it) => it.type === type)[at] ?? null,
    )) as Line;
  }

  async end(): Promise<number> {
    this.#stdin.end();
    return await this.done;
  }
}

let dir: string;
let harness: Harness;
let url: string;

beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'duragent-loopback-'));
});
afterEach(async () => {
  await harness.end();
  await rm(dir, { recursive: true, force: true });
});

async function start(config: object = {}, cursor: unknown = null): Promise<Line> {
  harness = new Harness();
  harness.send({
    type: 'configure',
    protocol: 'v1',
    name: 'loopback',
    account: 'loopback',
    config: { url_file: path.join(dir, 'url.json'), ...config },
    cursor,
    limits: { max_length: 2000, length_unit: 'chars' },
    media_dir: dir,
  });
  const ready = await harness.line('ready');
  ({ url } = JSON.parse(await readFile(path.join(dir, 'url.json'), 'utf8')) as { url: string });
  return ready;
}

interface Reply {
  status: number;
  body: Record<string, unknown>;
}

async function call(
  method: string,
  place: string,
  body?: unknown,
  more: object = {},
): Promise<Reply> {
  const response = await fetch(url + place, {
    method,
    headers: { 'content-type': 'application/json', ...more },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

/** A request whose headers `fetch` would not let be chosen. */
async function raw(headers: Record<string, string>): Promise<number | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  httpRequest(`${url}/chats`, { headers }, resolve).once('error', reject).end();
  const response = await promise;
  response.resume();
  return response.statusCode;
}

function post(content: string, more: object = {}): void {
  const type = 'send_message';
  harness.send({ type, request_id: content, chat_id: 'c', content, format: 'text', ...more });
}

describe('the gateway', () => {
  test('announces what its config left on, and its address in a file for its owner', async () => {
    const ready = await start({ max_length: 100, length_unit: 'utf16', edit: false });
    expect(ready).toMatchObject({
      gateway: 'loopback',
      limits: { max_length: 100, length_unit: 'utf16' },
    });
    expect(ready['capabilities']).not.toContain('edit');
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    const file = path.join(dir, 'url.json');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await harness.end()).toBe(0);
    await expect(stat(file)).rejects.toThrow('ENOENT');
  });

  test('says fatally what is wrong with its config', async () => {
    harness = new Harness();
    const config = { colour: 'blue' };
    const limits = { max_length: 2000, length_unit: 'chars' };
    const about = { protocol: 'v1', name: 'l', account: 'l', cursor: null, media_dir: dir };
    harness.send({ type: 'configure', ...about, config, limits });
    const error = await harness.line('error');
    expect(error).toMatchObject({ code: 'invalid_config', fatal: true });
    expect(error['message']).toContain('config.colour');
    expect(await harness.done).toBe(1);
  });
});

describe('a message', () => {
  test('is answered when the server has it, and not before', async () => {
    await start();
    let answered = false;
    const said = call('POST', '/messages', { chat_id: 'c', text: 'hi', event_id: 'e1' });
    void said.finally(() => (answered = true));
    const event = await harness.line('message_received');
    expect(event).toMatchObject({ event_id: 'e1', chat_id: 'c', cursor: { received: 1 } });
    // Once this came, an answer that did not wait for the ack would have come, too.
    await call('GET', '/chats');
    expect(answered).toBe(false);
    harness.send({ type: 'ack', event_ids: ['e1'] });
    const { status, body } = await said;
    expect([status, body['event_id']]).toEqual([200, 'e1']);
  });

  test('that the server does not confirm in time is to be sent again', async () => {
    await start({ ack_timeout_ms: 1 });
    const { status, body } = await call('POST', '/messages', { chat_id: 'c', text: 'x' });
    expect(status).toBe(504);
    expect(body).toMatchObject({ code: 'request_timeout', event_id: expect.any(String) });
  });

  test('that waits when the gateway ends is to be sent again', async () => {
    await start();
    const said = call('POST', '/messages', { chat_id: 'c', text: 'x', event_id: 'e9' });
    await harness.line('message_received');
    await harness.end();
    expect(await said).toMatchObject({ status: 503, body: { code: 'draining', event_id: 'e9' } });
  });

  test('that makes too long a line for the protocol is refused', async () => {
    await start();
    const text = 'x'.repeat(1024 * 1024 - 100);
    expect(await call('POST', '/messages', { chat_id: 'c', text })).toMatchObject({
      status: 400,
      body: { code: 'invalid_request' },
    });
    expect(harness.lines.some(({ type }) => type === 'message_received')).toBe(false);
  });

  test('counts on from the cursor', async () => {
    await start({ ack: false }, { received: 41 });
    await call('POST', '/messages', { chat_id: 'c', text: 'x' });
    expect(await harness.line('message_received')).toMatchObject({ cursor: { received: 42 } });
  });

  test('has a cursor of its own, in the order of the lines, also with files', async () => {
    await start({ ack: false });
    const media = [{ text: 'file' }];
    const bodies = Array.from({ length: 8 }, (_, n) => ({ chat_id: 'c', text: `${n}`, media }));
    await Promise.all(bodies.map((body) => call('POST', '/messages', body)));
    await harness.line('message_received', 7);
    const cursors = harness.lines.flatMap(({ cursor }) => (cursor === undefined ? [] : [cursor]));
    expect(cursors).toEqual(bodies.map((_, n) => ({ received: n + 1 })));
  });

  test('that is wrong is refused with the name of the field', async () => {
    await start();
    const { status, body } = await call('POST', '/messages', { chat_id: 'c' });
    expect([status, body['code']]).toEqual([400, 'invalid_request']);
    expect(body['message']).toContain('text');
  });
});

describe('a press', () => {
  test('is passed on, and its answer can be waited for', async () => {
    await start();
    const press = { chat_id: 'c', message_id: 'm', data: 'yes', sender: 'ann' };
    const pressed = call('POST', '/presses', press);
    const event = await harness.line('callback_query');
    harness.send({ type: 'ack', event_ids: [event['event_id']] });
    const id = String((await pressed).body['callback_query_id']);
    expect(id).toBe(event['callback_query_id']);
    expect((await call('GET', `/presses/${id}`)).body).toEqual({ answered: false, text: null });
    const waiting = call('GET', `/presses/${id}?wait=20`);
    const answer = { type: 'answer_callback_query', callback_query_id: id, text: 'Done' };
    harness.send({ ...answer, request_id: 'r' });
    expect((await waiting).body).toEqual({ answered: true, text: 'Done' });
  });
});

describe('what the bot posts', () => {
  test('is waited for, by chat', async () => {
    await start();
    const waiting = call('GET', '/chats/c/messages?wait=20');
    post('elsewhere', { chat_id: 'd' });
    post('here');
    const { body } = await waiting;
    expect(body).toMatchObject({ messages: [{ text: 'here' }], last: 2 });
    const { body: rest } = await call('GET', `/chats/c/messages?after=2`);
    expect(rest).toEqual({ messages: [], last: 2 });
    expect((await call('GET', '/chats')).body['chats']).toMatchObject([
      { chat_id: 'd', messages: 1 },
      { chat_id: 'c', messages: 1 },
    ]);
  });

  test('of a chat with an odd name is there under its encoded name', async () => {
    await start();
    post('x', { chat_id: 'a/b c?' });
    await harness.line('command_ok');
    const { body } = await call('GET', `/chats/${encodeURIComponent('a/b c?')}/messages`);
    expect(body).toMatchObject({ messages: [{ chat_id: 'a/b c?' }] });
  });

  test('is streamed, previews and edits too, and a reader goes on where it was', async () => {
    await start();
    const abort = new AbortController();
    const response = await fetch(`${url}/events`, { signal: abort.signal });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    let text = '';
    const reading = (async () => {
      for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString();
    })().catch(() => undefined);
    const preview = { type: 'preview_message', preview_id: 'p', chat_id: 'c', content: 'He' };
    harness.send(preview);
    expect(await harness.line('preview_posted')).toMatchObject({ preview_id: 'p' });
    harness.send({ type: 'send_typing', chat_id: 'c', duration: 1000 });
    post('Hello', { replaces: { preview_id: 'p' } });
    await until('both are there', () => text.includes('"Hello"'));
    expect(text).toMatch(/id: 1\nevent: message\n.*"text":"He"/);
    expect(text).toContain('event: typing\ndata: {"chat_id":"c","duration":1000}');
    abort.abort();
    await reading;
    const later = await fetch(`${url}/events`, { headers: { 'last-event-id': '1' } });
    const reader = later.body?.getReader();
    let seen = '';
    while (!seen.includes('id: 2'))
      seen += Buffer.from((await reader?.read())?.value ?? []).toString();
    expect(seen).not.toContain('id: 1\n');
    await reader?.cancel();
  });

  test('goes to the webhook, with its token', async () => {
    const seen: { auth: string | undefined; body: string }[] = [];
    const hook = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      request.on('end', () => {
        seen.push({ auth: request.headers.authorization, body });
        // The first try fails.
        response.writeHead(seen.length === 1 ? 500 : 200).end();
      });
    });
    await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = hook.address() as AddressInfo;
      await start({ webhook_url: `http://127.0.0.1:${port}/`, webhook_token: 'canary-hook' });
      post('out');
      await until('two tries', () => seen.length === 2);
      expect(seen[1]?.auth).toBe('Bearer canary-hook');
      expect(JSON.parse(seen[1]?.body ?? '')).toMatchObject({ message: { text: 'out' } });
    } finally {
      hook.close();
      hook.closeAllConnections();
    }
  });
});

describe('the door', () => {
  test('lets in who has the token', async () => {
    await start({ token: 'canary-loopback-token' });
    expect((await call('GET', '/chats')).status).toBe(401);
    const authorization = 'Bearer canary-loopback-token';
    expect(
      (await call('GET', '/chats', undefined, { authorization: `${authorization}x` })).status,
    ).toBe(401);
    expect((await call('GET', '/chats', undefined, { authorization })).status).toBe(200);
  });

  test.each([
    [{ host: 'localhost:1' }, 200],
    [{ host: '[::1]:80' }, 200],
    [{ host: '10.0.0.1' }, 200],
    [{ host: 'evil.example' }, 421],
    [{ host: 'localhost.evil.example' }, 421],
    [{ host: 'evil@127.0.0.1' }, 421],
    [{ host: '127.0.0.1', origin: 'http://evil.example' }, 403],
    [{ host: '127.0.0.1', 'sec-fetch-site': 'cross-site' }, 403],
  ])('answers a request with %j with %i', async (headers, status) => {
    await start();
    expect(await raw(headers)).toBe(status);
  });

  test('takes JSON only, and at most 1 MiB of it', async () => {
    await start();
    const form = { 'content-type': 'text/plain' };
    expect((await call('POST', '/messages', {}, form)).status).toBe(415);
    expect((await call('POST', '/messages', { text: 'x'.repeat(1024 * 1024) })).status).toBe(413);
    const garbage = await fetch(`${url}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{',
    });
    expect(garbage.status).toBe(400);
  });

  test.each([
    ['GET', '/messages', 405],
    ['POST', '/chats', 405],
    ['GET', '/nothing', 404],
    ['GET', '/chats/c/messages/more', 404],
    ['GET', '/chats/%ff/messages', 400],
    ['GET', '/chats/c/messages?after=x', 400],
    ['GET', '/chats/c/messages?wait=61', 400],
  ])('answers %s %s with %i', async (method, place, status) => {
    await start();
    expect((await call(method, place, method === 'POST' ? {} : undefined)).status).toBe(status);
  });
});
