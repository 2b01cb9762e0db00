import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { startFakeServer, type FakeRequest, type FakeServer } from './fake-server.ts';
import type { ClientFrame } from './event-reader.ts';
import { SessionClient } from './session-client.ts';

const session = 'session_01m7z1g27ff9ytsbd06mqg5an2';
const at = '2026-01-01T00:00:00.000Z';
const servers: FakeServer[] = [];

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function start(
  answer: (request: FakeRequest, response: ServerResponse) => void,
  port?: number,
) {
  const server = await startFakeServer(answer, port);
  servers.push(server);
  return server;
}

function event(seq: number, type = 'something_new'): string {
  return `id: ${seq}\nevent: ${type}\ndata: ${JSON.stringify({ seq, epoch: 1, at, type, reason: 'user' })}\n\n`;
}

const token = (offset: number, text: string): string =>
  `event: token\ndata: ${JSON.stringify({ turn: 't', step: 1, attempt: 1, offset, text })}\n\n`;

function stream(response: ServerResponse, text: string): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(text);
}

function problem(response: ServerResponse, status: number, code: string, headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/problem+json', ...headers });
  const type = `urn:duragent:problem:${code}`;
  response.end(
    JSON.stringify({
      type,
      title: code,
      status,
      detail: `Not now: ${code}.`,
      code,
      request_id: 'r',
    }),
  );
}

/** Short words for frames: an event's seq, a token's text, what happened to the connection. */
function word(frame: ClientFrame): string | number {
  if (frame.kind === 'event') return frame.event.seq;
  if (frame.kind === 'delta')
    return frame.delta.type === 'token' ? frame.delta.text : frame.delta.type;
  return frame.kind;
}

async function take(
  frames: AsyncGenerator<ClientFrame>,
  count: number,
): Promise<(string | number)[]> {
  const words: (string | number)[] = [];
  for await (const frame of frames) {
    words.push(word(frame));
    if (words.length === count) break;
  }
  return words;
}

describe('the stream of a session', () => {
  it('goes on after a lost connection where it stood, each event once, and says so', async () => {
    const server = await start((request, response) => {
      if (server.requests.length === 1) {
        stream(response, event(1) + event(2) + token(0, 'He'));
        setTimeout(() => response.destroy(), 30);
      } else {
        // One that repeats what was asked not to be sent.
        stream(response, event(2) + event(3) + token(0, 'Hello'));
      }
    });
    const client = new SessionClient(() => Promise.resolve({ url: server.url, token: 'secret' }));
    const leave = new AbortController();
    const words = await take(client.events(session, { after: 0, signal: leave.signal }), 7);
    leave.abort();
    expect(words).toEqual([1, 2, 'He', 'lost', 'mended', 3, 'Hello']);
    expect(server.requests.map((request) => request.path)).toEqual([
      `/api/v1/sessions/${session}/events?after=0`,
      `/api/v1/sessions/${session}/events?after=2`,
    ]);
  });

  it('finds a restarted server with another port and another token', async () => {
    const first = await start((_, response) => {
      stream(response, event(1));
      setTimeout(() => void first.close(), 30);
    });
    const second = await start((request, response) => {
      if (request.headers.authorization === 'Bearer new') stream(response, event(2));
      else problem(response, 401, 'unauthorized');
    });
    const addresses = [
      { url: first.url, token: 'old' },
      { url: second.url, token: 'new' },
    ];
    let asked = 0;
    const client = new SessionClient(() => Promise.resolve(addresses[Math.min(asked++, 1)]!));
    const leave = new AbortController();
    const words = await take(client.events(session, { after: 0, signal: leave.signal }), 4);
    leave.abort();
    expect(words).toEqual([1, 'lost', 'mended', 2]);
    expect(second.requests[0]?.path).toContain('after=1');
  });

  it('starts over after a reset', async () => {
    const server = await start((_, response) =>
      stream(response, 'event: reset\ndata: {"seq":5}\n\n' + event(4) + event(5)),
    );
    const client = new SessionClient(() => Promise.resolve({ url: server.url, token: 't' }));
    const leave = new AbortController();
    const words = await take(client.events(session, { after: 99, signal: leave.signal }), 3);
    leave.abort();
    expect(words).toEqual(['reset', 4, 5]);
  });

  it('ends with the session', async () => {
    const server = await start((_, response) => {
      stream(response, event(1) + event(2, 'session_ended'));
      response.end();
    });
    const client = new SessionClient(() => Promise.resolve({ url: server.url, token: 't' }));
    const words: unknown[] = [];
    for await (const frame of client.events(session, {
      after: 0,
      signal: new AbortController().signal,
    })) {
      words.push(word(frame));
    }
    expect(words).toEqual([1, 2]);
  });

  it('ends at once, and without an error, when its reader leaves', async () => {
    const server = await start((_, response) => stream(response, event(1)));
    const client = new SessionClient(() => Promise.resolve({ url: server.url, token: 't' }));
    const leave = new AbortController();
    const words: unknown[] = [];
    for await (const frame of client.events(session, { after: 0, signal: leave.signal })) {
      words.push(word(frame));
      leave.abort();
    }
    expect(words).toEqual([1]);
  });

  it('throws what trying again cannot mend', async () => {
    const server = await start((_, response) => problem(response, 404, 'session_not_found'));
    const client = new SessionClient(() => Promise.resolve({ url: server.url, token: 't' }));
    const frames = client.events(session, { after: 0, signal: new AbortController().signal });
    await expect(frames.next()).rejects.toMatchObject({ code: 'session_not_found' });
    expect(server.requests).toHaveLength(1);
  });

  it('throws the problem that ends a stream', async () => {
    const body = {
      type: 'x',
      title: 'x',
      status: 500,
      detail: 'Broken.',
      code: 'log_corrupt',
      request_id: 'r',
    };
    const server = await start((_, response) =>
      stream(response, `event: error\ndata: ${JSON.stringify(body)}\n\n`),
    );
    const client = new SessionClient(() => Promise.resolve({ url: server.url, token: 't' }));
    const frames = client.events(session, { after: 0, signal: new AbortController().signal });
    await expect(frames.next()).rejects.toMatchObject({ code: 'log_corrupt', message: 'Broken.' });
  });

  it('throws when the data is not what it should be', async () => {
    const server = await start((_, response) =>
      stream(response, 'id: 1\nevent: turn_started\ndata: {nope\n\n'),
    );
    const client = new SessionClient(() => Promise.resolve({ url: server.url, token: 't' }));
    const frames = client.events(session, { after: 0, signal: new AbortController().signal });
    await expect(frames.next()).rejects.toMatchObject({ code: 'failed' });
  });
});

describe('a message', () => {
  const accepted = JSON.stringify({ seq: 7, message_id: 'msg_1', turn: null });

  it('is sent again with the same key when the connection is lost before the answer', async () => {
    const server = await start((_, response) => {
      if (server.requests.length < 3) response.destroy();
      else response.writeHead(202).end(accepted);
    });
    const client = new SessionClient(() => Promise.resolve({ url: server.url, token: 't' }));
    const { signal } = new AbortController();
    await expect(client.post(session, { content: 'hi' }, { signal })).resolves.toMatchObject({
      seq: 7,
    });
    const keys = server.requests.map((request) => request.headers['idempotency-key']);
    expect(keys).toHaveLength(3);
    expect(new Set(keys).size).toBe(1);
    expect(keys[0]).toMatch(/^[\x21-\x7e]{16,255}$/);
  });

  it('has a key of its own', async () => {
    const server = await start((_, response) => response.writeHead(202).end(accepted));
    const client = new SessionClient(() => Promise.resolve({ url: server.url, token: 't' }));
    const { signal } = new AbortController();
    await client.post(session, { content: 'hi' }, { signal });
    await client.post(session, { content: 'hi' }, { signal });
    expect(new Set(server.requests.map((request) => request.headers['idempotency-key'])).size).toBe(
      2,
    );
  });

  it('is not sent again after a refusal', async () => {
    const server = await start((_, response) => problem(response, 410, 'session_ended'));
    const client = new SessionClient(() => Promise.resolve({ url: server.url, token: 't' }));
    const { signal } = new AbortController();
    await expect(client.post(session, { content: 'hi' }, { signal })).rejects.toMatchObject({
      code: 'session_ended',
      message: 'Not now: session_ended.',
    });
    expect(server.requests).toHaveLength(1);
  });

  it('is sent again after 503 with Retry-After', async () => {
    const server = await start((_, response) => {
      if (server.requests.length === 1) problem(response, 503, 'draining', { 'retry-after': '0' });
      else response.writeHead(202).end(accepted);
    });
    const client = new SessionClient(() => Promise.resolve({ url: server.url, token: 't' }));
    const { signal } = new AbortController();
    await expect(client.post(session, { content: 'hi' }, { signal })).resolves.toMatchObject({
      seq: 7,
    });
  });

  it('is given up after the patience, with what went wrong', async () => {
    const client = new SessionClient(() =>
      Promise.resolve({ url: 'http://127.0.0.1:9', token: 'canary-5512' }),
    );
    const { signal } = new AbortController();
    const failure = client.post(session, { content: 'hi' }, { signal, patienceMs: 300 });
    await expect(failure).rejects.toMatchObject({ code: 'no_server' });
    await expect(failure).rejects.not.toThrow('canary-5512');
  });

  it('is not waited for when its sender leaves', async () => {
    const server = await start(() => undefined);
    const client = new SessionClient(() => Promise.resolve({ url: server.url, token: 't' }));
    const leave = new AbortController();
    const sending = client.post(session, { content: 'hi' }, { signal: leave.signal });
    void sleep(20).then(() => leave.abort());
    await expect(sending).rejects.toMatchObject({ name: 'AbortError' });
  });
});

it('a call with the token of a server before finds the new one', async () => {
  const server = await start((request, response) => {
    if (request.headers.authorization === 'Bearer two') response.end('{"agents":[],"broken":[]}');
    else if (server.requests.length === 1) response.end('{"agents":[],"broken":[]}');
    else problem(response, 401, 'unauthorized');
  });
  const tokens = ['one', 'two'];
  const client = new SessionClient(() =>
    Promise.resolve({ url: server.url, token: tokens.shift() ?? 'two' }),
  );
  const { signal } = new AbortController();
  await client.agents({ signal });
  await expect(client.agents({ signal })).resolves.toEqual({ agents: [], broken: [] });
});

it('an answer to a question, which is given once, goes to the server that is there now', async () => {
  const asked: string[] = [];
  const serve = (name: string): Promise<FakeServer> =>
    start(({ path }, response) => {
      asked.push(`${name} ${path.split('/').at(-1) ?? ''}`);
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end('{"approvals":[],"questions":[]}');
    });
  let now = await serve('first');
  const client = new SessionClient(() => Promise.resolve({ url: now.url, token: 'x' }));
  const { signal } = new AbortController();
  await client.questions({ signal });
  await now.close();
  now = await serve('second');
  await client.answer(session, 'q_1', 'yes', { signal });
  await client.decide(session, 'appr_1', 'deny', { signal });
  expect(asked).toEqual(['first questions', 'second q_1', 'second appr_1']);
});

it('a listing is read to its end', async () => {
  const view = (id: string) => ({
    session: id,
    agent: 'a',
    labels: {},
    origin: { kind: 'cli' },
    status: 'running',
    turn_state: 'idle',
    clients: 0,
    created_at: at,
    updated_at: at,
    turns: 0,
    usage: { input_tokens: 0, output_tokens: 0 },
    last_seq: 1,
    chats: [],
    owed: 0,
    dead: 0,
    settings: { queue: null, activation: null },
  });
  const server = await start((request, response) => {
    const more = !request.path.includes('cursor=');
    response.end(
      JSON.stringify({ sessions: [view(more ? 's2' : 's1')], cursor: more ? 's2' : null }),
    );
  });
  const client = new SessionClient(() => Promise.resolve({ url: server.url, token: 't' }));
  const { signal } = new AbortController();
  const found = await client.sessions({ agent: 'a' }, { signal });
  expect(found.map((one) => one.session)).toEqual(['s2', 's1']);
  expect(server.requests[1]?.path).toBe('/api/v1/sessions?agent=a&limit=100&cursor=s2');
});

it('what answers without being Duragent is named as such', async () => {
  const server = await start((_, response) => response.end('<html>'));
  const client = new SessionClient(() => Promise.resolve({ url: server.url, token: 't' }));
  const { signal } = new AbortController();
  await expect(client.agents({ signal })).rejects.toThrow(
    "does not speak this version of Duragent's API",
  );
});
