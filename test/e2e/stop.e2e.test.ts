import { access, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Workspace } from '../support/duragent.ts';
import { Follower } from '../support/follower.ts';
import { modelAgent, wordyAnswer } from '../support/model-agent.ts';
import { Gate, startModelServer, type ModelServer } from '../support/model-server.ts';
import { eventsOf, readLog, settledFaults, textOf } from '../support/session-log.ts';
import { until } from '../support/until.ts';

let model: ModelServer;
let workspaces: Workspace[];
beforeEach(async () => {
  model = await startModelServer();
  workspaces = [];
});
afterEach(async () => {
  await Promise.all(workspaces.map((workspace) => workspace.close()));
  await model.close();
});

async function newWorkspace(): Promise<Workspace> {
  const workspace = await Workspace.create({ wordy: modelAgent(model.url) });
  workspaces.push(workspace);
  return workspace;
}

/** Nothing says that a server runs here. */
async function expectClean(workspace: Workspace): Promise<void> {
  for (const name of ['server.json', 'duragent.pid']) {
    await expect(access(join(workspace.dataDir, 'run', name))).rejects.toThrow('ENOENT');
  }
}

async function stopAndGoOn(signal: NodeJS.Signals): Promise<void> {
  const workspace = await newWorkspace();
  let server = await workspace.serve();
  const { session } = await server.api.createSession();
  const follower = new Follower(session, () => (server.run.isRunning ? server.api : null));
  const { turn } = await server.api.say(session, `stopped by ${signal}`);
  await follower.until('it streams', () => follower.texts.get(`${turn}/1/1`)?.includes('-2'));
  const stopping = server.run.kill(signal);
  // Whoever reads or comes back meanwhile wakes nothing.
  const path = `/sessions/${session}/messages`;
  const reads = until('nobody is there to read from', async () => {
    await server.api.get(path).catch(() => null);
    return !server.run.isRunning;
  });
  const stop = await stopping;
  await reads;
  expect(stop).toMatchObject({ code: 0, signal: null });
  expect(stop.afterMs).toBeLessThan(8_000);
  await expectClean(workspace);
  const stopped = await readLog(workspace.sessionDir(session));
  expect(stopped.events.at(-1)).toMatchObject({ type: 'turn_paused', turn, reason: 'drain' });
  expect(eventsOf(stopped.events, 'assistant_message')).toEqual([]);

  server = await workspace.serve();
  await follower.until('the turn ends', () => follower.events.at(-1)?.type === 'turn_finished');
  const { events, lines } = await readLog(workspace.sessionDir(session));
  expect(settledFaults(events)).toEqual([]);
  expect(eventsOf(events, 'turn_resumed')).toMatchObject([{ cause: 'drain', attempt: 2 }]);
  expect(eventsOf(events, 'assistant_message').map(textOf)).toEqual([`whole-${signal} `]);
  expect(follower.faults).toEqual([]);
  expect(follower.lines).toEqual(lines);
  await follower.close();
  const { code, afterMs } = await server.run.kill(signal);
  expect(code).toBe(0);
  expect(afterMs).toBeLessThan(3_000);
  await expectClean(workspace);
  expect(await readFile(join(workspace.dataDir, 'sessions', 'OPEN'), 'utf8')).toBe('');
}

describe('a stop', () => {
  test('by SIGTERM or SIGINT parks a turn that still streams within 8 s; the next start goes on with it', async () => {
    // The first call of each is held for ever, the second is answered.
    model.respond = (request) => {
      const signal = /stopped by (\w+)/.exec(request.text)?.[1] ?? '';
      const calls = model.requests.filter((one) => one.text.includes(`stopped by ${signal}`));
      return calls.length === 1
        ? wordyAnswer('held', 5, { gate: new Gate(), holdAfter: 3 })
        : { type: 'answer', tokens: [`whole-${signal} `] };
    };
    await Promise.all([stopAndGoOn('SIGTERM'), stopAndGoOn('SIGINT')]);
  });

  test('lets a turn that is nearly done end, and meanwhile says so and takes nothing new', async () => {
    const workspace = await newWorkspace();
    const { run, api } = await workspace.serve();
    const { session } = await api.createSession();
    const gate = new Gate();
    const answer = wordyAnswer('nearly', 4, { gate, holdAfter: 3 });
    model.enqueue(answer);
    const stream = await api.stream(session, 'go');
    await stream.until('it streams', () => stream.of('token').length > 0);
    const stopping = run.kill('SIGTERM');
    const isStopping = async (): Promise<boolean> => {
      const { status } = await api.call('GET', '/readyz', { token: null });
      return status === 503;
    };
    await until('it says that it stops', isStopping, 4_000);
    const path = `/api/v1/sessions/${session}/messages`;
    const refusal = await api.refused('POST', path, { body: { content: 'too late' } });
    expect(refusal.code).toBe('draining');
    gate.release();
    await until('the stream ends', () => stream.end !== null);
    expect(stream.frames.at(-1)).toMatchObject({ event: 'done' });
    expect(await stopping).toMatchObject({ code: 0 });
    const { events } = await readLog(workspace.sessionDir(session));
    expect(eventsOf(events, 'assistant_message').map(textOf)).toEqual([answer.text]);
    expect(settledFaults(events)).toEqual([]);
    await expectClean(workspace);
  });

  test('asked for twice is at once, and nothing is lost', async () => {
    const workspace = await newWorkspace();
    const { run, api } = await workspace.serve();
    const { session } = await api.createSession();
    model.enqueue(wordyAnswer('held', 4, { gate: new Gate(), holdAfter: 2 }));
    const stream = await api.stream(session, 'go');
    await stream.until('it streams', () => stream.of('token').length > 0);
    run.child.kill('SIGTERM');
    await until('it stops', async () => {
      const ready = await api.call('GET', '/readyz', { token: null }).catch(() => null);
      return ready?.status !== 200;
    });
    const { code, afterMs } = await run.kill('SIGTERM');
    expect(code).not.toBe(0);
    expect(afterMs).toBeLessThan(2_000);
    const answer = wordyAnswer('whole', 3);
    model.enqueue(answer);
    const next = await workspace.serve();
    const reader = await next.api.events(session);
    await reader.untilFinished();
    const { events } = await readLog(workspace.sessionDir(session));
    expect(eventsOf(events, 'assistant_message').map(textOf)).toEqual([answer.text]);
    expect(settledFaults(events)).toEqual([]);
    reader.close();
  });

  test('over the API or by `duragent serve stop` is the same', async () => {
    const workspace = await newWorkspace();
    const first = await workspace.serve();
    expect((await first.api.post('/admin/shutdown')).status).toBe(202);
    expect(await first.run.exit()).toMatchObject({ code: 0 });
    await expectClean(workspace);
    const second = await workspace.serve();
    const stop = workspace.run(['serve', 'stop']);
    expect(await stop.exit()).toMatchObject({ code: 0 });
    expect(stop.stderr).toContain(`process ${second.run.pid}`);
    expect(await second.run.exit()).toMatchObject({ code: 0 });
    await expectClean(workspace);
    const status = workspace.run(['serve', 'status']);
    expect(await status.exit()).toMatchObject({ code: 69 });
  });

  test('is not what happens when nobody reads its output any more', async () => {
    const workspace = await newWorkspace();
    const { run, api } = await workspace.serve();
    run.child.stdout?.destroy();
    run.child.stderr?.destroy();
    // Each request is a line of log.
    const { session } = await api.createSession();
    for (let i = 0; i < 20; i += 1) await api.get(`/sessions/${session}`);
    expect(run.isRunning).toBe(true);
    expect(await run.kill('SIGTERM')).toMatchObject({ code: 0 });
  });

  test('finds a server whose run/server.json was lost: it writes it again', async () => {
    const workspace = await newWorkspace();
    const { run } = await workspace.serve();
    const file = join(workspace.dataDir, 'run', 'server.json');
    await writeFile(file, 'garbage');
    await until('it is written again', async () => (await readFile(file, 'utf8')).startsWith('{'));
    const stop = workspace.run(['serve', 'stop']);
    expect(await stop.exit()).toMatchObject({ code: 0 });
    expect(await run.exit()).toMatchObject({ code: 0 });
    await expectClean(workspace);
  });
});
