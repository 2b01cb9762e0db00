import net from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { memoryAgentCatalog } from '../adapters/agent-catalog/memory.ts';
import { memorySessionStore } from '../adapters/session-store/memory.ts';
import attacks from './attacks.json' with { type: 'json' };
import { call, FILE_TOKEN, raw, type Reply, until } from './testing-client.ts';
import { startTestServer, testAgent, type TestServer } from './testing.ts';

let server: TestServer;
let path: string;
beforeAll(async () => {
  const agents = memoryAgentCatalog([testAgent('helper')]);
  server = await startTestServer({ store: memorySessionStore(), agents });
  const made = await call(server.port, '/api/v1/sessions', { body: {} });
  path = `/api/v1/sessions/${String(made.json['session'])}/messages`;
});
afterAll(() => server[Symbol.asyncDispose]());
afterEach(() => {
  expect(server.errors()).toEqual([]);
});

function post(
  body: object | string | Buffer,
  headers: Record<string, string> = {},
): Promise<Reply> {
  return call(server.port, path, {
    body,
    headers: { 'content-type': 'application/json', ...headers },
  });
}

const head = (...lines: string[]): string =>
  [
    `POST ${path} HTTP/1.1`,
    'Host: localhost',
    `Authorization: Bearer ${FILE_TOKEN}`,
    'Content-Type: application/json',
    ...lines,
    '',
    '',
  ].join('\r\n');

const chunk = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;

describe('a body full of replacement characters', () => {
  test('is text like any other, and is read once', async () => {
    const content = '\ufffd'.repeat(300_000);
    const reply = await post({ content, handling: 'silent' });
    expect(reply.status).toBe(202);
    const broken = Buffer.concat([Buffer.from(JSON.stringify({ content })), Buffer.of(0xff)]);
    const refused = await post(broken);
    expect(refused.status).toBe(400);
    expect(refused.json['detail']).toContain(`at byte ${broken.length - 1}`);
  });
});

describe('the content type', () => {
  test.each(attacks.content_types_refused)('%j is 415', async (type) => {
    const reply = await post('{"content":"a"}', { 'content-type': type });
    expect(reply).toMatchObject({ status: 415, json: { code: 'unsupported_media_type' } });
  });

  test.each([
    'application/json',
    'APPLICATION/JSON',
    'application/json;charset=utf-8',
    'application/json ; charset="UTF-8"',
  ])('%j is read', async (type) => {
    expect((await post('{"content":"a"}', { 'content-type': type })).status).toBe(202);
  });

  test('without a body none is needed', async () => {
    const reply = await call(server.port, '/api/v1/sessions', { method: 'POST' });
    expect(reply.status).toBe(201);
    expect((await call(server.port, '/api/v1/sessions', { body: '' })).status).toBe(201);
  });
});

describe('a body that is not JSON', () => {
  test.each(attacks.bad_json as [string, number][])('%j is 400 at %d', async (text, position) => {
    const reply = await post(text);
    expect(reply).toMatchObject({ status: 400, json: { code: 'invalid_request', position } });
    expect(reply.json['detail']).toMatch(/line \d+, column \d+/);
  });

  test.each([
    [[0x22, 0xff, 0x22], 1],
    [[0x22, 0x61, 0xc0, 0xaf, 0x22], 2],
    [[0x22, 0xed, 0xa0, 0x80, 0x22], 1],
    [[0x22, 0xef, 0xbf, 0xbd, 0xe2, 0x82, 0x22], 4],
    [[0xf8], 0],
  ])('bytes %j are not UTF-8 at %d', async (bytes, position) => {
    const reply = await post(Buffer.from(bytes));
    expect(reply).toMatchObject({ status: 400, json: { code: 'invalid_request', position } });
    expect(reply.json['detail']).toContain(`byte ${position}`);
  });

  test('a replacement character that was really sent is text', async () => {
    expect((await post('{"content":"\ufffd"}')).status).toBe(202);
  });

  test.each([
    ['arrays', `{"content":${'['.repeat(100)}${']'.repeat(100)}}`],
    ['objects', `${'{"content":'.repeat(65)}1${'}'.repeat(65)}`],
    ['half a million brackets', '['.repeat(500_000)],
  ])('%s nested too deep are 400', async (_name, text) => {
    const reply = await post(text);
    expect(reply).toMatchObject({ status: 400, json: { code: 'invalid_request' } });
    expect(reply.json['detail']).toContain('nested deeper than 64');
  });
});

describe('a body that does not fit', () => {
  test.each([
    [{}, ['/content']],
    [[], ['']],
    ['null', ['']],
    ['1', ['']],
    [{ content: 1 }, ['/content']],
    [{ content: '' }, ['/content']],
    [{ content: [] }, ['/content']],
    [{ content: [{ type: 'text' }] }, ['/content/0/text']],
    [{ content: [{ type: 'image', text: 'a' }] }, ['/content/0/type']],
    [{ content: 'a', handling: 'x' }, ['/handling']],
    [{ content: 'a', wait: 'yes' }, ['/wait']],
    [{ content: 'a', 'a/b~c': 1, other: 2 }, ['/a~1b~0c', '/other']],
    [{ content: 'a', sender: { name: '' } }, ['/sender/name']],
    [{ content: 'a', handling: 'passive', wait: true }, ['/wait']],
    ['{"content":"a","__proto__":{"wait":true}}', ['/__proto__']],
    ['{"content":"a","constructor":{"prototype":{"x":1}}}', ['/constructor']],
  ])('%j names %j', async (body, pointers) => {
    const reply = await post(body);
    expect(reply).toMatchObject({ status: 400, json: { code: 'invalid_request' } });
    const errors = reply.json['errors'] as { pointer: string; message: string }[];
    expect(errors.map((error) => error.pointer)).toEqual(pointers);
    expect(errors.every((error) => error.message.length > 5)).toBe(true);
  });

  test('a thousand faults are not all told', async () => {
    const keys = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`k${i}`, i]));
    const reply = await post({ content: 'a', ...keys });
    expect(reply.json['errors']).toHaveLength(20);
  });

  test('keys of prototypes change nothing', async () => {
    const body = '{"labels":{"__proto__":"x","constructor":"y","toString":"z"}}';
    const headers = { 'content-type': 'application/json' };
    const reply = await call(server.port, '/api/v1/sessions', { body, headers });
    expect(reply.status).toBe(201);
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
    expect(reply.json['labels']).toMatchObject({ constructor: 'y', toString: 'z' });
  });
});

describe('a body that is too large', () => {
  const big = JSON.stringify({ content: 'x'.repeat(2 * 1024 * 1024) });

  test('2 MB are 413, and the client gets the answer', async () => {
    expect(await post(big)).toMatchObject({ status: 413, json: { code: 'payload_too_large' } });
  });

  test('1 MiB exactly is read, one byte more is not', async () => {
    const wrap = (length: number): string => {
      const empty = JSON.stringify({ content: '', handling: 'silent' }).length;
      return JSON.stringify({ content: 'x'.repeat(length - empty), handling: 'silent' });
    };
    // Read, and then too large for a record: the message is refused by its own rule.
    expect(await post(wrap(1024 * 1024))).toMatchObject({
      status: 413,
      json: { code: 'record_too_large' },
    });
    expect(await post(wrap(1024 * 1024 + 1))).toMatchObject({
      json: { code: 'payload_too_large' },
    });
  });

  test('chunks are counted, whatever the client says', async () => {
    const piece = chunk('x'.repeat(64 * 1024));
    const text = await raw(
      server.port,
      head('Transfer-Encoding: chunked'),
      piece.repeat(20),
      '0\r\n\r\n',
    );
    expect(text).toContain('413 Payload Too Large');
    expect(text).toContain('"code":"payload_too_large"');
    expect(text.toLowerCase()).toContain('connection: close');
  });

  test('one that never ends is answered at once, read on for a while, and cut', async () => {
    const socket = net.connect(server.port, '127.0.0.1');
    let text = '';
    let isClosed = false;
    socket.on('data', (bytes) => (text += bytes.toString()));
    socket.on('error', () => undefined);
    socket.on('close', () => (isClosed = true));
    socket.write(head('Transfer-Encoding: chunked'));
    const piece = chunk('x'.repeat(256 * 1024));
    const feed = (): void => {
      while (!isClosed && socket.write(piece));
      if (!isClosed) socket.once('drain', feed);
    };
    feed();
    await until(() => isClosed);
    expect(text).toContain('413 Payload Too Large');
    expect(text).toContain('"request_id"');
    expect(socket.bytesWritten).toBeLessThan(64 * 1024 * 1024);
    expect(server.log.at(-1)?.fields).toMatchObject({ status: 413 });
  });

  test('one that is declared and not sent is refused at once, and cut after 5 s', async () => {
    const socket = net.connect(server.port, '127.0.0.1');
    let text = '';
    let isClosed = false;
    socket.on('data', (bytes) => (text += bytes.toString()));
    socket.on('close', () => (isClosed = true));
    socket.write(head('Content-Length: 99999999') + '{');
    await until(() => text.includes('payload_too_large'));
    expect(isClosed).toBe(false);
    server.clock.advance(5_000);
    await until(() => isClosed);
  });

  test('a refusal before the body was read reaches a client that still sends', async () => {
    const reply = await call(server.port, path, {
      token: null,
      body: big,
      headers: { 'content-type': 'application/json' },
    });
    expect(reply.status).toBe(401);
    expect((await post(big, { 'content-type': 'text/plain' })).status).toBe(415);
    const missing = await call(server.port, '/nothing', { body: big });
    expect(missing.status).toBe(404);
  });
});

describe('a body that lies about its length', () => {
  test('longer than declared: what is over is no request', async () => {
    const text = await raw(
      server.port,
      `${head('Content-Length: 15')}{"content":"a"}${'x'.repeat(99)}`,
    );
    // The first may be answered or not; what follows it is refused and ends the connection.
    expect(text.match(/HTTP\/1\.1 \d+/g)?.at(-1)).toBe('HTTP/1.1 400');
  });

  test('both lengths at once are refused', async () => {
    const text = await raw(
      server.port,
      `${head('Content-Length: 15', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
    );
    expect(text).toContain('400 Bad Request');
    expect(text).toContain('application/problem+json');
  });

  test('chunks that are none are refused', async () => {
    const text = await raw(server.port, `${head('Transfer-Encoding: chunked')}zz\r\n{}\r\n`);
    expect(text).toContain('400 Bad Request');
  });

  test('shorter than declared: leaving records nothing and is no error', async () => {
    const before = server.log.length;
    const seq = await lastSeq();
    const socket = net.connect(server.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(`${head('Content-Length: 16')}{"content":"a"}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.destroy();
    await until(() => server.log.length > before);
    expect(await lastSeq()).toBe(seq);
  });

  test('slower than the request may take: 408, and what comes late is not recorded', async () => {
    const seq = await lastSeq();
    const waiting = server.clock.waiting;
    const socket = net.connect(server.port, '127.0.0.1');
    let text = '';
    let isClosed = false;
    socket.on('data', (bytes) => (text += bytes.toString()));
    socket.on('close', () => (isClosed = true));
    socket.write(`${head('Content-Length: 15')}{"content":`);
    await until(() => server.clock.waiting > waiting);
    server.clock.advance(60_000);
    await until(() => text.includes('408 Request Timeout'));
    expect(text).toContain('"code":"request_timeout"');
    expect(text.toLowerCase()).toContain('connection: close');
    socket.write('"a"}');
    await until(() => isClosed);
    expect(await lastSeq()).toBe(seq);
  });
});

async function lastSeq(): Promise<number> {
  const reply = await call(server.port, path.replace('/messages', ''));
  return Number(reply.json['last_seq']);
}
