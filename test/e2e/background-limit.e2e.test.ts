import { afterEach, beforeEach, expect, test } from 'vitest';
import { askFor, begun, busyWorkspace, eventsIn } from '../support/busy-agent.ts';
import type { Server, Workspace } from '../support/duragent.ts';
import { wordyAnswer } from '../support/model-agent.ts';
import { startModelServer, type ModelServer } from '../support/model-server.ts';
import { eventsOf, settledFaults, textOf } from '../support/session-log.ts';
import { until } from '../support/until.ts';

let model: ModelServer;
let workspace: Workspace;
let server: Server;
beforeEach(async () => {
  model = await startModelServer();
  workspace = await busyWorkspace(model, {
    session: { max_background_runtime: '2s' },
  });
  server = await workspace.serve();
});
afterEach(async () => {
  await workspace.close();
  await model.close();
});

const api = () => server.api;

/** The model asks for two commands: one of 3 s, and one more. */
function askForWork(): void {
  askFor(model, 'echo x >> first; sleep 3', 'echo x >> second');
}

const state = async (session: string) => (await api().session(session)).turn_state;

/** A turn that worked with nobody attached until its limit stopped it. */
async function stoppedTurn(): Promise<string> {
  const { session } = await api().createSession({ agent: 'busy' });
  askForWork();
  await api().say(session, 'work');
  await until('the limit stops it', async () => (await state(session)) === 'paused');
  return session;
}

test('a turn that works alone is stopped at its limit, and whoever attaches lets it go on', async () => {
  expect(server.run.stdout + server.run.stderr).not.toContain('max_background_runtime');
  const session = await stoppedTurn();
  const before = await eventsIn(workspace, session);
  expect(before.slice(-3)).toMatchObject([
    { type: 'tool_finished', outcome: 'ok' },
    { type: 'notice', text: expect.stringContaining('worked for 2 s with nobody') as string },
    { type: 'turn_paused', reason: 'background_limit' },
  ]);
  const counted = eventsOf(before, 'tool_finished')[0]?.unattended_ms;
  expect(counted).toBeGreaterThanOrEqual(2_000);
  expect([begun(workspace, 'first'), begun(workspace, 'second'), model.started]).toEqual([1, 0, 1]);
  await server.run.kill('SIGKILL');
  server = await workspace.serve();
  expect(await api().session(session)).toMatchObject({ status: 'paused', turn_state: 'paused' });

  const answer = wordyAnswer('done', 3);
  model.enqueue(answer);
  const reader = await api().events(session);
  await reader.untilFinished();
  reader.close();
  const events = await eventsIn(workspace, session);
  expect(eventsOf(events, 'notice')).toHaveLength(1);
  expect(eventsOf(events, 'turn_resumed')).toMatchObject([{ cause: 'attached', attempt: 1 }]);
  expect(eventsOf(events, 'assistant_message').map(textOf)).toEqual(['', answer.text]);
  expect(settledFaults(events)).toEqual([]);
  expect([begun(workspace, 'first'), begun(workspace, 'second'), model.started]).toEqual([1, 1, 2]);
});

test('a message lets it go on too, and a reader who stays keeps it from being stopped', async () => {
  const session = await stoppedTurn();
  model.enqueue(wordyAnswer('done', 3));
  await api().say(session, 'go on');
  // From here on somebody is there, however long it takes.
  const reader = await api().events(session);
  await until('it ends', async () => (await state(session)) === 'idle');
  const [resumed] = eventsOf(await eventsIn(workspace, session), 'turn_resumed');
  expect(resumed).toMatchObject({ cause: 'message' });

  askForWork();
  model.enqueue(wordyAnswer('done', 3));
  const { seq } = await api().say(session, 'again');
  await until('it ends', async () => (await state(session)) === 'idle');
  reader.close();
  const later = (await eventsIn(workspace, session)).slice(seq);
  expect(eventsOf(later, 'turn_paused')).toEqual([]);
  expect(eventsOf(later, 'turn_finished')).toMatchObject([{ outcome: 'completed' }]);
});
