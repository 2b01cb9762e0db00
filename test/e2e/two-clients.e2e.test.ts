import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Api } from '../support/api.ts';
import { Workspace } from '../support/duragent.ts';
import { modelAgent, wordyAnswer } from '../support/model-agent.ts';
import { Gate, startModelServer, type ModelServer } from '../support/model-server.ts';
import { eventsOf, readLog, settledFaults, textOf } from '../support/session-log.ts';

let model: ModelServer;
let workspace: Workspace;
let api: Api;
beforeAll(async () => {
  model = await startModelServer();
  workspace = await Workspace.create({ wordy: modelAgent(model.url) });
  await workspace.configure('session: { output_buffer_size: 8 }\n');
  ({ api } = await workspace.serve());
});
afterAll(async () => {
  await workspace.close();
  await model.close();
});

test("two clients of one session see each other's messages and the same tokens", async () => {
  const { session } = await api.createSession();
  const ann = await api.events(session);
  const bob = await api.events(session);
  await ann.until('both are there', () => ann.of('presence').at(-1)?.['clients'] === 2);
  expect(await api.session(session)).toMatchObject({ status: 'active', clients: 2 });

  const answers = [wordyAnswer('for-ann', 30), wordyAnswer('for-bob', 30)];
  for (const answer of answers) model.enqueue({ ...answer, delayMs: 1 });
  await api.say(session, 'from ann');
  await bob.untilFinished(1);
  await api.say(session, 'from bob');
  for (const client of [ann, bob]) await client.untilFinished(2);

  const { events, lines } = await readLog(workspace.sessionDir(session));
  expect(settledFaults(events)).toEqual([]);
  const turns = eventsOf(events, 'turn_started').map((event) => event.turn);
  for (const client of [ann, bob]) {
    expect(client.lines).toEqual(lines);
    expect(eventsOf(client.events, 'user_message').map(textOf)).toEqual(['from ann', 'from bob']);
    expect(turns.map((turn) => client.text(turn))).toEqual(answers.map((answer) => answer.text));
    client.close();
  }
});

test('who comes in the middle of an answer gets the text so far as one token, then the rest', async () => {
  const { session } = await api.createSession();
  const gate = new Gate();
  const answer = wordyAnswer('late', 20, { gate, holdAfter: 10 });
  model.enqueue({ ...answer, delayMs: 1 });
  const first = await api.events(session);
  const { turn } = await api.say(session, 'go');
  await first.until('half of it', () => first.text(turn ?? '').includes('late-9'));
  const second = await api.events(session);
  await second.untilCaughtUp();
  expect(second.of('token')).toHaveLength(1);
  expect(second.of('token')[0]).toMatchObject({ offset: 0, text: first.text(turn ?? '') });
  gate.release();
  for (const client of [first, second]) {
    await client.untilFinished();
    expect(client.text(turn ?? '')).toBe(answer.text);
    client.close();
  }
});

test('messages of two clients while a turn works enter it, and are answered in its next step', async () => {
  const { session } = await api.createSession();
  const gate = new Gate();
  const answers = [wordyAnswer('step1', 4, { gate, holdAfter: 2 }), wordyAnswer('step2', 4)];
  model.enqueue(...answers);
  const watcher = await api.events(session);
  const first = await api.say(session, 'first');
  await watcher.until('it works', () => watcher.of('token').length > 0);
  const others = await Promise.all(['second', 'third'].map((text) => api.say(session, text)));
  expect(others.map((one) => one.turn)).toEqual([first.turn, first.turn]);
  gate.release();
  await watcher.untilFinished();
  const { events } = await readLog(workspace.sessionDir(session));
  expect(settledFaults(events)).toEqual([]);
  expect(eventsOf(events, 'turn_started')).toHaveLength(1);
  expect(eventsOf(events, 'assistant_message').map(textOf)).toEqual(
    answers.map((answer) => answer.text),
  );
  const seen = model.requests.at(-1)?.text ?? '';
  for (const text of ['first', 'second', 'third']) expect(seen).toContain(text);
  watcher.close();
});

test('a client that reads nothing slows nobody, and has everything when it reads again', async () => {
  const { session } = await api.createSession();
  const slow = await api.events(session);
  const fast = await api.events(session);
  await slow.until('both are there', () => slow.of('presence').at(-1)?.['clients'] === 2);
  slow.pause();
  const turns = 12;
  // More than all buffers between the two processes hold: each answer comes as tokens and as a record.
  const word = 'x'.repeat(9_000);
  for (let turn = 1; turn <= turns; turn += 1) {
    model.enqueue({ type: 'answer', tokens: Array.from({ length: 90 }, () => word) });
    expect(await api.ask(session, `turn ${turn}`)).toMatchObject({ outcome: 'completed' });
  }
  await fast.untilFinished(turns);
  expect(slow.of('turn_finished').length).toBeLessThan(turns);
  slow.resume();
  await slow.untilFinished(turns);
  const { events, lines } = await readLog(workspace.sessionDir(session));
  expect(settledFaults(events)).toEqual([]);
  expect(fast.lines).toEqual(lines);
  expect(slow.lines).toEqual(lines);
  expect(slow.of('lagged').length).toBeGreaterThan(0);
  slow.close();
  fast.close();
});
