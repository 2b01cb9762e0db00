import { describe, expect, test } from 'vitest';
import { defaultAccess } from '../../core/agent-access.ts';
import { TestRuntime, ticks, until } from '../testing.ts';
import { sessionWork } from './session-work.ts';

const { signal } = new AbortController();

/** What schedules give to the sessions of a runtime. */
function given(runtime: TestRuntime) {
  const work = sessionWork(() => runtime.sessions);
  return {
    task: (session: string, planned: string, schedule = 'a') =>
      work.submitTask(
        {
          schedule,
          agent: 'assistant',
          target: { session },
          deliver: null,
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
