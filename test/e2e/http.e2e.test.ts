import type { MessageAccepted, SessionEvent, SessionView } from '@duragent/protocol';
import { access } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Api } from '../support/api.ts';
import { type Server, Workspace } from '../support/duragent.ts';
import { modelAgent, wordyAnswer } from '../support/model-agent.ts';
import { Gate, startModelServer, type ModelServer } from '../support/model-server.ts';
import { eventsOf, readAllLogs, readLog, settledFaults, textOf } from '../support/session-log.ts';
import { until } from '../support/until.ts';

// One server for the whole story; each test has sessions of its own.
let model: ModelServer;
let workspace: Workspace;
let server: Server;
let api: Api;
beforeAll(async () => {
  model = await startModelServer();
  workspace = await Workspace.create({ echo: 'model: echo', wordy: modelAgent(model.url) });
  await workspace.configure('default_agent: echo\nserver: { request_timeout_seconds: 1 }\n');
  server = await workspace.serve();
  ({ api } = server);
});
afterAll(async () => {
  await workspace.close();
  await model.close();
});

/** A session in which three messages have been answered. */
async function conversation(): Promise<string> {
  const { session } = await api.createSession();
  for (const text of ['one', 'two', 'three']) await api.ask(session, text);
  return session;
}

describe('sessions', () => {
  test('are made, shown, and listed newest first in pages', async () => {
    const made: SessionView[] = [];
    for (const number of [1, 2, 3]) {
      const labels = { story: 'list', number: String(number) };
      made.push(await api.createSession({ labels, on_disconnect: 'pause' }));
    }
    expect(made[0]).toMatchObject({
      agent: 'echo',
      status: 'running',
      turn_state: 'idle',
      clients: 0,
      turns: 0,
      last_seq: 1,
      origin: { kind: 'http' },
    });
    expect(await api.session(made[1]!.session)).toEqual(made[1]);
    const listed: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: { body: { sessions: SessionView[]; cursor: string | null } } = await api.get(
        `/sessions?label=story%3Dlist&limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`,
      );
      listed.push(...page.body.sessions.map((one) => one.session));
      cursor = page.body.cursor;
    }
    expect(listed).toEqual(made.map((one) => one.session).reverse());
  });

  test('hold a key until they end; who wants it meanwhile is told who has it', async () => {
    const first = await api.createSession({ key: 'the-key' });
    const taken = await api.refused('POST', '/api/v1/sessions', { body: { key: 'the-key' } });
    expect(taken).toMatchObject({ status: 409, code: 'conflict', session: first.session });
    await api.call('DELETE', `/api/v1/sessions/${first.session}`);
    const second = await api.createSession({ key: 'the-key' });
    expect(second.session).not.toBe(first.session);
  });

  test('that ended can be read, and take nothing more; purged ones are gone', async () => {
    const session = await conversation();
    const path = `/api/v1/sessions/${session}`;
    const reader = await api.events(session);
    expect((await api.call('DELETE', `${path}?reason=user`)).status).toBe(204);
    await reader.until('the reader is told', () => reader.of('session_ended').length === 1);
    expect(await api.session(session)).toMatchObject({ status: 'ended', end_reason: 'user' });
    const call = { body: { content: 'too late' } };
    for (const route of ['messages', 'stream']) {
      const refusal = await api.refused('POST', `${path}/${route}`, call);
      expect(refusal).toMatchObject({ status: 410, code: 'session_ended' });
    }
    expect((await api.get(`/sessions/${session}/messages`)).status).toBe(200);
    expect(settledFaults((await readLog(workspace.sessionDir(session))).events)).toEqual([]);

    expect((await api.call('DELETE', `${path}?purge=true`)).status).toBe(204);
    expect(await api.refused('GET', path)).toMatchObject({ code: 'session_not_found' });
    await expect(access(workspace.sessionDir(session))).rejects.toThrow('ENOENT');
  });
});

describe('messages', () => {
  test('are answered at once with their place, and the answer follows', async () => {
    const { session } = await api.createSession();
    const accepted = await api.say(session, 'hello');
    expect(accepted).toMatchObject({ seq: 2, turn: expect.stringMatching(/^turn_/) });
    await until('the answer', async () => (await api.session(session)).turn_state === 'idle');
    const { events } = await readLog(workspace.sessionDir(session));
    expect(events.map((event) => event.type)).toEqual([
      'session_started',
      'user_message',
      'turn_started',
      'assistant_message',
      'turn_finished',
    ]);
    expect(textOf(eventsOf(events, 'assistant_message')[0]!)).toContain('hello');
  });

  test('with wait: true are answered with the answer, or after the time limit with the turn', async () => {
    const { session } = await api.createSession({ agent: 'wordy' });
    const answer = wordyAnswer('waited', 3);
    model.enqueue(answer);
    expect(await api.ask(session, 'now')).toMatchObject({
      outcome: 'completed',
      text: answer.text,
    });
    const gate = new Gate();
    model.enqueue({ ...answer, gate });
    const late = await api.post<MessageAccepted>(`/sessions/${session}/messages`, {
      content: 'later',
      wait: true,
    });
    expect(late).toMatchObject({ status: 202, body: { turn: expect.stringMatching(/^turn_/) } });
    gate.release();
    await until('the answer', async () => (await api.session(session)).turns === 2);
  });

  test('are paged newest first', async () => {
    const session = await conversation();
    const texts: string[] = [];
    for (let before: number | null = 0; before !== null;) {
      const query: string = before === 0 ? '' : `&before=${before}`;
      const page: { body: { messages: SessionEvent[]; before: number | null } } = await api.get(
        `/sessions/${session}/messages?limit=2${query}`,
      );
      expect(page.body.messages.length).toBeLessThanOrEqual(2);
      texts.push(...eventsOf(page.body.messages, 'user_message').map(textOf));
      before = page.body.before;
    }
    expect(texts).toEqual(['three', 'two', 'one']);
  });

  test('of one Idempotency-Key are one message, however often and at once they come', async () => {
    const { session } = await api.createSession({ agent: 'wordy' });
    const calls = Array.from({ length: 20 }, () => api.say(session, 'once', 'key-1'));
    const accepted = await Promise.all(calls);
    expect(new Set(accepted.map((one) => one.message_id)).size).toBe(1);
    expect(new Set(accepted.map((one) => one.seq)).size).toBe(1);
    const other = await api.say(session, 'twice', 'key-2');
    expect(other.message_id).not.toBe(accepted[0]?.message_id);
    await until('the answer', async () => (await api.session(session)).turn_state === 'idle');
    const { events } = await readLog(workspace.sessionDir(session));
    expect(eventsOf(events, 'user_message').map(textOf)).toEqual(['once', 'twice']);
    expect(settledFaults(events)).toEqual([]);
  });

  test('a repeated Idempotency-Key of a new session gives the same session', async () => {
    const call = { headers: { 'Idempotency-Key': 'make-1' } };
    const made = await Promise.all(Array.from({ length: 20 }, () => api.createSession({}, call)));
    expect(new Set(made.map((one) => one.session)).size).toBe(1);
  });
});

describe('a stream', () => {
  test('shows the turn that answers the message, and ends with it', async () => {
    const { session } = await api.createSession({ agent: 'wordy' });
    const answer = wordyAnswer('streamed', 20);
    model.enqueue({ ...answer, delayMs: 1 });
    const stream = await api.stream(session, 'go');
    await until('its end', () => stream.end === 'whole');
    const [start] = stream.of('start');
    expect(stream.frames[0]?.event).toBe('start');
    expect(stream.frames.at(-1)?.event).toBe('done');
    expect(stream.of('done')).toMatchObject([
      { outcome: 'completed', finish_reason: 'stop', text: answer.text, turn: start?.['turn'] },
    ]);
    expect(stream.text(String(start?.['turn']))).toBe(answer.text);
    const { lines } = await readLog(workspace.sessionDir(session));
    expect(stream.lines).toEqual(lines.slice(1));
  });

  test('that its reader leaves does not take the turn along', async () => {
    const { session } = await api.createSession({ agent: 'wordy' });
    const gate = new Gate();
    const answer = wordyAnswer('left', 10, { gate, holdAfter: 5 });
    model.enqueue(answer);
    const stream = await api.stream(session, 'go');
    await stream.until('tokens', () => stream.of('token').length > 0);
    stream.close();
    await until('nobody is attached', async () => (await api.session(session)).clients === 0);
    gate.release();
    await until('the answer', async () => (await api.session(session)).turn_state === 'idle');
    const { events } = await readLog(workspace.sessionDir(session));
    expect(eventsOf(events, 'assistant_message').map(textOf)).toEqual([answer.text]);
  });
});

describe('events', () => {
  let session: string;
  let lines: string[];
  beforeEach(async () => {
    session ??= await conversation();
    ({ lines } = await readLog(workspace.sessionDir(session)));
  });

  test('go on behind any Last-Event-ID, with the stored lines, each once', async () => {
    expect(lines.length).toBeGreaterThan(12);
    await Promise.all(
      Array.from({ length: lines.length + 1 }, async (_, id) => {
        const reader = await api.events(session, { lastEventId: String(id) });
        await reader.untilCaughtUp();
        expect(reader.lines).toEqual(lines.slice(id));
        expect(reader.of('reset')).toEqual([]);
        const ids = reader.frames.flatMap((frame) => (frame.id === null ? [] : [frame.id]));
        expect(ids).toEqual(lines.slice(id).map((_line, at) => String(id + at + 1)));
        reader.close();
      }),
    );
  });

  const garbage = ['-1', '1.5', 'abc', '99999', '1e3', '0x2', '007', '../1', 'é', '9'.repeat(40)];
  test.each(garbage)('with the Last-Event-ID %o begin with a reset and the tail', async (id) => {
    const lastEventId = Buffer.from(id).toString('latin1');
    const reader = await api.events(session, { lastEventId });
    await reader.untilCaughtUp();
    expect(reader.frames[0]?.event).toBe('reset');
    expect(reader.lines).toEqual(lines);
    reader.close();
  });

  test('by long poll come at once, or when there are some, or not in time', async () => {
    const get = async (query: string) =>
      await api.get<{ events: SessionEvent[]; last_seq: number }>(
        `/sessions/${session}/events?${query}`,
        { headers: { Accept: 'application/json' } },
      );
    const all = await get('after=0&wait=30');
    expect(all.body.events.map((event) => JSON.stringify(event))).toEqual(lines);
    const last = all.body.last_seq;
    const begun = performance.now();
    expect((await get(`after=${last}&wait=1`)).body).toEqual({ events: [], last_seq: last });
    expect(performance.now() - begun).toBeGreaterThan(900);
    const waiting = get(`after=${last}&wait=30`);
    await until('it waits', async () => (await api.session(session)).clients === 1);
    await api.say(session, 'four');
    const { events } = (await waiting).body;
    expect(events[0]).toMatchObject({ seq: last + 1, type: 'user_message' });
    await until('the answer', async () => (await api.session(session)).turn_state === 'idle');
  });
});

test('cancel ends the turn within a second, keeps what was shown, and lets go of the model', async () => {
  const { session } = await api.createSession({ agent: 'wordy' });
  const answer = wordyAnswer('cut', 10, { gate: new Gate(), holdAfter: 4 });
  model.enqueue(answer);
  const stream = await api.stream(session, 'go');
  const turn = String((await streamTurn(stream))['turn']);
  await stream.until('four words', () => stream.text(turn).includes('cut-3'));
  const begun = performance.now();
  const cancelled = await api.post(`/sessions/${session}/cancel`);
  expect(cancelled).toMatchObject({ status: 202, body: { turn } });
  await until('the stream ends', () => stream.end === 'whole');
  expect(performance.now() - begun).toBeLessThan(1000);
  expect(stream.frames.at(-1)?.event).toBe('cancelled');
  const shown = stream.text(turn);
  await until('the model is let go', () => model.requests.at(-1)?.closedEarly);
  const { events } = await readLog(workspace.sessionDir(session));
  expect(eventsOf(events, 'assistant_message')).toMatchObject([{ finish_reason: 'cancelled' }]);
  expect(eventsOf(events, 'assistant_message').map(textOf)).toEqual([shown]);
  expect(eventsOf(events, 'turn_finished')).toMatchObject([{ outcome: 'cancelled' }]);
  const again = await api.post(`/sessions/${session}/cancel`);
  expect(again).toMatchObject({ status: 202, body: { turn: null } });
  model.enqueue(wordyAnswer('after', 2));
  expect(await api.ask(session, 'go on')).toMatchObject({ outcome: 'completed' });
});

async function streamTurn(
  stream: Awaited<ReturnType<Api['stream']>>,
): Promise<Record<string, unknown>> {
  await stream.until('its start', () => stream.of('start').length === 1);
  return stream.of('start')[0] ?? {};
}

test('the probes need no token, and every log of this story is sound', async () => {
  for (const path of ['/livez', '/readyz', '/health', '/version']) {
    expect((await api.call('GET', path, { token: null })).status).toBe(200);
  }
  await until('all is at rest', async () => {
    const { body } = await api.get<{ sessions: SessionView[] }>('/sessions?limit=1000');
    return body.sessions.every((one) => one.turn_state === 'idle');
  });
  const logs = await readAllLogs(workspace.dataDir);
  expect(logs.length).toBeGreaterThan(10);
  expect(logs.flatMap(({ events }) => settledFaults(events))).toEqual([]);
});
