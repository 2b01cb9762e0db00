import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { askFor, begun, busyWorkspace, eventsIn } from '../support/busy-agent.ts';
import type { Server, Workspace } from '../support/duragent.ts';
import { wordyAnswer } from '../support/model-agent.ts';
import { Gate, startModelServer, type ModelServer } from '../support/model-server.ts';
import { eventsOf, settledFaults } from '../support/session-log.ts';
import { until } from '../support/until.ts';

let model: ModelServer;
let workspace: Workspace;
let server: Server;
beforeEach(async () => {
  model = await startModelServer();
  workspace = await busyWorkspace(model);
  server = await workspace.serve();
});
afterEach(async () => {
  await workspace.close();
  await model.close();
});

const api = () => server.api;

const file = (name: string): string => path.join(workspace.dir, name);

/** A command that notes that it begins, and goes on when the file `go` is there. */
const waiting = (name: string): string => `echo x >> ${name}; until [ -e go ]; do sleep 0.05; done`;

/** Kills the server, and starts it again. */
async function restart(): Promise<void> {
  await server.run.kill('SIGKILL');
  server = await workspace.serve();
}

test('a turn that is paused stays so over kill -9, and goes on with nothing repeated', async () => {
  const { session } = await api().createSession({ agent: 'busy' });
  askFor(model, waiting('first'), 'echo x >> second');
  const { turn } = await api().say(session, 'work');
  await until('the first command runs', () => begun(workspace, 'first') === 1);

  const paused = await api().post(`/sessions/${session}/pause`);
  expect(paused).toMatchObject({
    status: 202,
    body: { status: 'paused', paused_by: 'http:file', turn_state: 'working' },
  });
  writeFileSync(file('go'), '');
  const state = async () => (await api().session(session)).turn_state;
  await until('the turn stops behind it', async () => (await state()) === 'paused');
  await restart();
  expect(await api().session(session)).toMatchObject({ status: 'paused', turn_state: 'paused' });

  // Neither a message nor a reader lets it go on, nor another crash.
  const said = await api().say(session, 'hurry');
  const reader = await api().events(session);
  await reader.until('it is caught up', () => reader.of('user_message').length === 2);
  await restart();
  reader.close();
  expect(await api().session(session)).toMatchObject({ status: 'paused', turn_state: 'paused' });
  const before = await eventsIn(workspace, session);
  expect(eventsOf(before, 'turn_paused')).toMatchObject([{ turn, reason: 'operator' }]);
  expect(eventsOf(before, 'turn_resumed')).toEqual([]);
  expect(before.at(-1)).toMatchObject({ message_id: said.message_id });
  expect(begun(workspace, 'second')).toBe(0);
  expect(model.started).toBe(1);

  model.enqueue(wordyAnswer('done', 3));
  expect(await api().post(`/sessions/${session}/resume`)).toMatchObject({ status: 202 });
  await until('the turn ends', async () => (await state()) === 'idle');
  const events = await eventsIn(workspace, session);
  expect(eventsOf(events, 'turn_resumed')).toMatchObject([{ cause: 'operator', attempt: 1 }]);
  expect(eventsOf(events, 'tool_finished').map(({ outcome }) => outcome)).toEqual(['ok', 'ok']);
  expect(eventsOf(events, 'turn_finished')).toMatchObject([{ outcome: 'completed' }]);
  expect(settledFaults(events)).toEqual([]);
  expect([begun(workspace, 'first'), begun(workspace, 'second'), model.started]).toEqual([1, 1, 2]);
  // What waited was steered into the turn.
  expect(model.requests.at(-1)?.text).toContain('hurry');
  const view = await api().session(session);
  expect(view.status).toBe('running');
  expect(view).not.toHaveProperty('paused_by');
});

test('a server that is killed before the safe point stops the turn there when it is back', async () => {
  const { session } = await api().createSession({ agent: 'busy' });
  model.enqueue(wordyAnswer('cut', 10, { gate: new Gate(), holdAfter: 5 }));
  await api().say(session, 'tell me');
  await until('the model is called', () => model.started === 1);
  await api().post(`/sessions/${session}/pause`);
  await restart();
  await until('the turn is stopped', async () => {
    return (await api().session(session)).turn_state === 'paused';
  });
  expect(model.started).toBe(1);
  const answer = wordyAnswer('whole', 3);
  model.enqueue(answer);
  await api().post(`/sessions/${session}/resume`);
  await until('the turn ends', async () => (await api().session(session)).turn_state === 'idle');
  const events = await eventsIn(workspace, session);
  expect(events.map(({ type }) => type)).toEqual([
    'session_started',
    'user_message',
    'turn_started',
    'session_paused',
    'turn_resumed',
    'turn_paused',
    'session_resumed',
    'turn_resumed',
    'assistant_message',
    'turn_finished',
  ]);
  expect(model.started).toBe(2);
});

test('a session that is paused without a turn keeps messages, and can be cancelled and ended', async () => {
  const { session } = await api().createSession({ agent: 'busy' });
  const pause = () => api().post(`/sessions/${session}/pause`);
  expect((await pause()).status).toBe(202);
  expect((await pause()).status).toBe(202);
  await api().say(session, 'first');
  await restart();
  const view = await api().session(session);
  expect(view).toMatchObject({ status: 'paused', turn_state: 'idle', last_seq: 3 });
  expect(await api().post(`/sessions/${session}/cancel`)).toMatchObject({ body: { turn: null } });
  const answer = wordyAnswer('now', 3);
  model.enqueue(answer);
  await api().post(`/sessions/${session}/resume`);
  await until('it is answered', async () => (await api().session(session)).turns === 1);
  await pause();
  expect((await api().call('DELETE', `/api/v1/sessions/${session}`)).status).toBe(204);
  expect(await api().session(session)).toMatchObject({ status: 'ended' });
  expect(await api().refused('POST', `/api/v1/sessions/${session}/resume`)).toMatchObject({
    code: 'session_ended',
  });
});
