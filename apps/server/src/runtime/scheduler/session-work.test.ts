import { describe, expect, test } from 'vitest';
import { MAX_KEYS } from '../../core/session/state.ts';
import { defaultAccess } from '../../core/agent-access.ts';
import { TestRuntime, ticks, until } from '../testing.ts';
import { sessionWork } from './session-work.ts';

const { signal } = new AbortController();

const targetOf = (session: string) =>
  session === 'isolated' ? ('isolated' as const) : { session };

/** What schedules give to the sessions of a runtime. */
function given(runtime: TestRuntime) {
  const work = sessionWork(() => runtime.sessions);
  return {
    task: (session: string, planned: string, schedule = 'a') =>
      work.submitTask(
        {
          schedule,
          agent: 'assistant',
          target: targetOf(session),
          deliver: null,
          text: planned,
          identity: `${schedule}/${planned}`,
          planned,
        },
        { signal },
      ),
    message: (session: string, planned: string, schedule = 'm') =>
      work.sendMessage(
        {
          schedule,
          agent: 'assistant',
          target: targetOf(session),
          chats: null,
          text: planned,
          identity: `${schedule}/${planned}`,
          planned,
        },
        { signal },
      ),
  };
}

const access = { ...defaultAccess, queue: { ...defaultAccess.queue, mode: 'drop' as const } };

describe('a scheduled task', () => {
  test('is taken once, however much the session took before it is handed over again', async () => {
    const runtime = new TestRuntime();
    const { session } = await runtime.create();
    const { task, message } = given(runtime);
    const [at, later] = ['2026-01-01T00:00:00.000Z', '2026-01-01T01:00:00.000Z'];
    await task(session, at);
    await message(session, at);
    (await runtime.model.call(1)).done('Done.');
    for (let i = 0; i < MAX_KEYS + 1; i += 1) await message(session, later, `other${i}`);
    const actor = await runtime.sessions.open(session);
    await until(() => !actor.hasTurn);
    const { lastSeq } = actor;
    expect(await task(session, at)).toMatchObject({ session });
    expect(await message(session, at)).toMatchObject({ session });
    await ticks();
    expect(actor.lastSeq).toBe(lastSeq);
    expect(runtime.model.calls).toHaveLength(1);
  });

  test('is taken once also by a server that was down for days', async () => {
    const runtime = new TestRuntime();
    const { session } = await runtime.create();
    const { task } = given(runtime);
    const at = '2026-01-01T00:00:00.000Z';
    await task(session, at);
    const alone = await task('isolated', at, 'b');
    runtime.clock.suspend(3 * 24 * 60 * 60 * 1000);
    await runtime.restart();
    const again = given(runtime);
    await again.message(session, '2026-01-04T00:00:00.000Z', 'other');
    const { lastSeq } = await runtime.sessions.open(session);
    expect(await again.task(session, at)).toMatchObject({ session });
    expect((await runtime.sessions.open(session)).lastSeq).toBe(lastSeq);
    expect(await again.task('isolated', at, 'b')).toMatchObject({ session: alone.session });
    expect(runtime.sessions.list()).toHaveLength(2);
  });

  test('that a busy session leaves out is told as dropped, also when it is handed over again', async () => {
    const runtime = new TestRuntime({ agent: { access } });
    const { session } = await runtime.create();
    const { task } = given(runtime);
    const first = await task(session, '2026-01-01T00:00:00.000Z');
    expect(first).toMatchObject({ session, turn: expect.any(String) });
    const call = await runtime.model.call(1);
    const second = await task(session, '2026-01-01T01:00:00.000Z');
    expect(second).toEqual({ session, dropped: true });
    call.done('Done.');
    const actor = await runtime.sessions.open(session);
    await until(() => !actor.hasTurn);
    expect(await task(session, '2026-01-01T01:00:00.000Z')).toEqual({ session, dropped: true });
    expect(await task(session, '2026-01-01T00:00:00.000Z')).toEqual(first);
    await ticks();
    expect(runtime.model.calls).toHaveLength(1);
  });

  test('that waits in its session is not dropped', async () => {
    const queue = { ...defaultAccess.queue, mode: 'sequential' as const };
    const runtime = new TestRuntime({ agent: { access: { ...defaultAccess, queue } } });
    const { session } = await runtime.create();
    const { task } = given(runtime);
    await task(session, '2026-01-01T00:00:00.000Z');
    await runtime.model.call(1);
    const second = await task(session, '2026-01-01T01:00:00.000Z');
    expect(second).toEqual({ session, dropped: false });
  });
});
