import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Server, Workspace } from '../support/duragent.ts';
import { Follower } from '../support/follower.ts';
import { modelAgent, wordyAnswer } from '../support/model-agent.ts';
import { Gate, startModelServer, type ModelServer } from '../support/model-server.ts';
import { eventsOf, readLog, settledFaults, textOf } from '../support/session-log.ts';
import { until } from '../support/until.ts';

let model: ModelServer;
let workspace: Workspace;
let server: Server | null;
beforeEach(async () => {
  model = await startModelServer();
  workspace = await Workspace.create({ wordy: modelAgent(model.url) });
  server = await workspace.serve();
});
afterEach(async () => {
  await workspace.close();
  await model.close();
});

const api = () => server!.api;

/** The model holds its next answer back after five words. */
function holdNext(name: string): void {
  model.enqueue(wordyAnswer(name, 10, { gate: new Gate(), holdAfter: 5 }));
}

/** Kills the server when those five words were seen. */
async function killWhileStreaming(name: string, watched: () => string): Promise<void> {
  await until('five words are shown', () => watched().includes(`${name}-4`));
  const killed = server!;
  server = null;
  expect(await killed.run.kill('SIGKILL')).toMatchObject({ signal: 'SIGKILL' });
  await until('the model is let go', () => model.requests.at(-1)?.closedEarly);
}

test('a turn whose server is killed while its answer streams finishes by itself, once', async () => {
  const { session } = await api().createSession();
  const follower = new Follower(session, () => server?.api ?? null);
  await follower.until('it is attached', () => follower.events.length === 1);
  holdNext('cut');
  const { turn } = await api().say(session, 'tell me');
  await killWhileStreaming('cut', () => follower.texts.get(`${turn}/1/1`) ?? '');

  const whole = wordyAnswer('whole', 10);
  model.enqueue({ ...whole, delayMs: 1 });
  server = await workspace.serve();
  await follower.until('the turn has ended', () =>
    follower.events.some((event) => event.type === 'turn_finished'),
  );

  const { events, lines } = await readLog(workspace.sessionDir(session));
  expect(events.map((event) => event.type)).toEqual([
    'session_started',
    'user_message',
    'turn_started',
    'turn_resumed',
    'assistant_message',
    'turn_finished',
  ]);
  expect(eventsOf(events, 'turn_resumed')).toMatchObject([{ turn, cause: 'crash', attempt: 2 }]);
  expect(eventsOf(events, 'assistant_message').map(textOf)).toEqual([whole.text]);
  expect(eventsOf(events, 'turn_finished')).toMatchObject([{ outcome: 'completed' }]);
  expect(settledFaults(events)).toEqual([]);
  expect(follower.faults).toEqual([]);
  expect(follower.connections).toBe(2);
  expect(follower.lines).toEqual(lines);
  expect(follower.texts.get(`${turn}/1/2`)).toBe(whole.text);
  // The truth outside: one call for each time, both with the one message.
  expect(model.requests.map((request) => request.finished)).toEqual([false, true]);
  const conversations = model.requests.map((request) => JSON.stringify(request.body['messages']));
  expect(conversations[1]).toBe(conversations[0]);
  expect(conversations[0]?.match(/tell me/g)).toHaveLength(1);
  await follower.close();
  // And it stays that way.
  model.enqueue(wordyAnswer('next', 3));
  expect(await api().ask(session, 'go on')).toMatchObject({ outcome: 'completed' });
});

test('a turn that three crashes cut is not tried again: it needs attention', async () => {
  const { session } = await api().createSession();
  const follower = new Follower(session, () => server?.api ?? null);
  await follower.until('it is attached', () => follower.events.length === 1);
  for (const name of ['try1', 'try2', 'try3']) holdNext(name);
  const { turn } = await api().say(session, 'tell me');
  for (const attempt of [1, 2, 3]) {
    const watched = (): string => follower.texts.get(`${turn}/1/${attempt}`) ?? '';
    await killWhileStreaming(`try${attempt}`, watched);
    server = await workspace.serve();
  }
  await follower.until('the turn has ended', () =>
    follower.events.some((event) => event.type === 'turn_finished'),
  );
  const { events } = await readLog(workspace.sessionDir(session));
  expect(eventsOf(events, 'turn_resumed').map((event) => event.attempt)).toEqual([2, 3]);
  expect(eventsOf(events, 'assistant_message')).toEqual([]);
  const [end, ...others] = eventsOf(events, 'turn_finished');
  expect(others).toEqual([]);
  expect(end).toMatchObject({ outcome: 'needs_attention', error: { code: 'crash_loop' } });
  expect(end?.error?.message).toContain('Send a message to go on');
  expect(model.started).toBe(3);
  expect(follower.faults).toEqual([]);
  await follower.close();

  const answer = wordyAnswer('after', 3);
  model.enqueue(answer);
  expect(await api().ask(session, 'go on')).toMatchObject({ text: answer.text });
  const after = await readLog(workspace.sessionDir(session));
  expect(settledFaults(after.events)).toEqual([]);
  // The model is told of the message that was never answered, too.
  expect(model.requests.at(-1)?.text).toContain('tell me');
});

test('with nobody attached it goes on by itself soon after the start', async () => {
  const { session } = await api().createSession();
  holdNext('cut');
  const { turn } = await api().say(session, 'tell me');
  const reader = await api().events(session, { query: '?presence=0' });
  await killWhileStreaming('cut', () => reader.text(turn ?? ''));
  const answer = wordyAnswer('whole', 4);
  model.enqueue(answer);
  server = await workspace.serve();
  // After at most 10 s of jitter; it is waited for twice as long.
  await until('the turn ends', async () => {
    const { body } = await api().get<{ sessions: { turn_state: string }[] }>('/sessions');
    return body.sessions[0]?.turn_state === 'idle';
  });
  const { events } = await readLog(workspace.sessionDir(session));
  expect(eventsOf(events, 'assistant_message').map(textOf)).toEqual([answer.text]);
  expect(settledFaults(events)).toEqual([]);
  expect(model.started).toBe(2);
});

test('messages that came before the crash and were not looked at yet are answered after it', async () => {
  const { session } = await api().createSession();
  const follower = new Follower(session, () => server?.api ?? null);
  holdNext('cut');
  const { turn } = await api().say(session, 'first');
  const watched = (): string => follower.texts.get(`${turn}/1/1`) ?? '';
  await until('the model is called', () => model.started === 1);
  await api().say(session, 'second', 'key');
  await killWhileStreaming('cut', watched);
  server = await workspace.serve();
  // Whoever did not hear the 202 asks again.
  await api().say(session, 'second', 'key');
  await until('all is at rest', async () => (await api().session(session)).turn_state === 'idle');
  const { events } = await readLog(workspace.sessionDir(session));
  expect(eventsOf(events, 'user_message').map(textOf)).toEqual(['first', 'second']);
  expect(settledFaults(events)).toEqual([]);
  expect(model.requests.at(-1)?.text).toContain('second');
  expect(follower.faults).toEqual([]);
  await follower.close();
});
