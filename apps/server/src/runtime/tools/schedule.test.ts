import { describe, expect, test } from 'vitest';
import { memoryAgentCatalog } from '../../adapters/agent-catalog/memory.ts';
import type { ToolCaller } from '../../ports/tool.ts';
import { ScheduleDesk } from '../scheduler/schedule-desk.ts';
import { HOUR, NOON, TestScheduling } from '../scheduler/testing.ts';
import { testAgent } from '../testing.ts';
import { scheduleTool } from './schedule.ts';

const at = (ms: number): string => new Date(NOON + ms).toISOString();
const session = (n: number): string => `session_${String(n).repeat(26)}`;
const callerOf = (n: number, call = 'call_1', agent = 'assistant'): ToolCaller => ({
  session: session(n),
  turn: 'turn_1',
  call,
  agent: testAgent({ name: agent }),
});

async function begin() {
  const rig = new TestScheduling();
  await rig.start();
  const timezone = (): string => 'Europe/Berlin';
  const desk = new ScheduleDesk({
    scheduler: rig.scheduler,
    agents: memoryAgentCatalog([testAgent(), testAgent({ name: 'other' })]),
    clock: rig.clock,
    timezone,
    defaultAgent: () => null,
    gateways: () => ['telegram', 'chat'],
    process: (id) => Promise.resolve(rig.processes.get(id) ?? null),
  });
  const tool = scheduleTool({ desk, timezone });
  const run = (args: Record<string, unknown>, caller = callerOf(1)) =>
    tool.run(args, { signal: new AbortController().signal, onOutput: () => undefined, caller });
  return { rig, tool, run, desk };
}

describe('the tool schedule', () => {
  test('makes a schedule of the session it is called in', async () => {
    const { desk, rig, run } = await begin();
    const made = await run({
      action: 'create',
      at: '2026-03-01T14:00',
      task: 'Look.',
      name: 'tea',
    });
    const [schedule] = desk.list().schedules;
    expect(made).toEqual({
      outcome: 'ok',
      content: `Made the schedule ${schedule?.id ?? ''}: once, at ${at(HOUR)}. Next run: ${at(HOUR)}.`,
    });
    expect(schedule).toMatchObject({
      name: 'tea',
      agent: 'assistant',
      created_by: session(1),
      target: { session: session(1) },
      payload: { kind: 'task', text: 'Look.' },
    });
    await rig.clock.advance(HOUR);
    expect(rig.handed).toEqual([`${schedule?.id ?? ''}/${at(HOUR)}`]);
  });

  test.each([
    [{ at: '2026-07-01T07:00' }, { at: '2026-07-01T05:00:00.000Z' }],
    [{ at: '2026-07-01T07:00', zone: 'America/New_York' }, { at: '2026-07-01T11:00:00.000Z' }],
    [{ at: '2026-07-01T07:00:00+05:00' }, { at: '2026-07-01T02:00:00.000Z' }],
    [{ every: '15m' }, { every: '15m' }],
    [{ cron: '0 7 * * *' }, { cron: '0 7 * * *', zone: 'Europe/Berlin' }],
    [
      { cron: '0 7 * * *', zone: 'UTC' },
      { cron: '0 7 * * *', zone: 'UTC' },
    ],
  ])('reads %j', async (when, spec) => {
    const { desk, run } = await begin();
    await run({ action: 'create', message: 'Tea!', ...when });
    expect(desk.list().schedules).toMatchObject([
      { spec, payload: { kind: 'message', text: 'Tea!' } },
    ]);
  });

  test('makes no second one when its call is repeated', async () => {
    const { desk, run } = await begin();
    const args = { action: 'create', every: '1h', task: 'Look.' };
    expect(await run(args)).toEqual(await run(args));
    expect(desk.list().schedules).toHaveLength(1);
    await run(args, callerOf(1, 'call_2'));
    await run(args, callerOf(2));
    expect(desk.list().schedules).toHaveLength(3);
  });

  test('lists and cancels what was made here, and nothing else', async () => {
    const { desk, run, tool } = await begin();
    await run({ action: 'create', every: '1h', task: 'Mine.' });
    await run({ action: 'create', every: '1h', task: 'Yours.' }, callerOf(2));
    await desk.create(
      { agent: 'assistant', spec: { every: '1h' }, payload: { kind: 'task', text: 'Theirs.' } },
      { by: 'cli' },
    );
    const [mine, yours] = desk
      .list()
      .schedules.filter(({ created_by }) => created_by !== 'cli')
      .sort((a) => (a.payload.text === 'Mine.' ? -1 : 1));
    const { content } = await run({ action: 'list' });
    expect(content.split('\n')).toHaveLength(1);
    expect(JSON.parse(content)).toMatchObject({
      id: mine?.id,
      when: 'every 1h',
      task: 'Mine.',
      next_run: at(HOUR),
    });
    const other = callerOf(1, 'call_1', 'other');
    expect((await run({ action: 'list' }, other)).content).toBe('There is no schedule here.');
    const cancel = { action: 'cancel', id: yours?.id };
    expect(tool.plan(cancel, callerOf(1))).toMatchObject({
      fault: expect.stringContaining('no schedule'),
    });
    expect(await run(cancel)).toMatchObject({ outcome: 'error' });
    expect(await run({ action: 'cancel', id: mine?.id }, other)).toMatchObject({
      outcome: 'error',
    });
    expect(await run({ action: 'cancel', id: mine?.id })).toMatchObject({ outcome: 'ok' });
    expect(desk.list().schedules).toHaveLength(2);
  });

  test('plans what it would do, whole, the same each time, and does nothing by that', async () => {
    const { desk, rig, run, tool } = await begin();
    const text = `Look ${'around '.repeat(1000)}`;
    const args = { action: 'create', cron: '0 7 * * 1-5', task: text, name: 'morning' };
    const plan = tool.plan(args, callerOf(1));
    expect(plan).toEqual({
      policy: { kind: 'builtin', name: 'schedule', action: 'create', args, harmless: false },
      shown: `Make a schedule "morning": by the cron rule "0 7 * * 1-5" in Europe/Berlin. Then assistant is given this task here:\n${text}`,
      command: null,
      writesTrusted: true,
    });
    await rig.clock.advance(HOUR);
    expect(tool.plan(args, callerOf(1))).toEqual(plan);
    expect(rig.kept.schedules.size).toBe(0);
    expect(tool.plan({ action: 'list' }, callerOf(1))).toMatchObject({
      policy: { action: 'list', harmless: true },
    });
    await run(args);
    const [made] = desk.list().schedules;
    const cancel = tool.plan({ action: 'cancel', id: made?.id }, callerOf(1));
    expect(cancel).toMatchObject({
      policy: { action: 'cancel', harmless: false },
      shown: expect.stringContaining(
        `"morning": by the cron rule "0 7 * * 1-5" in Europe/Berlin.\n${text}`,
      ),
      writesTrusted: true,
    });
  });

  test.each([
    [{}, 'action'],
    [{ action: 'create', task: 'x' }, 'exactly one of at, every and cron'],
    [
      { action: 'create', task: 'x', every: '1h', cron: '* * * * *' },
      'exactly one of at, every and cron',
    ],
    [{ action: 'create', every: '1h' }, 'either task or message'],
    [{ action: 'create', every: '1h', task: 'x', message: 'y' }, 'either task or message'],
    [{ action: 'create', every: '5s', task: 'x' }, 'from 10s'],
    [{ action: 'create', every: 'often', task: 'x' }, 'expected a duration'],
    [{ action: 'create', at: 'tomorrow', task: 'x' }, 'expected an ISO 8601 time'],
    [{ action: 'create', at: '2026-02-30T07:00', task: 'x' }, 'expected an ISO 8601 time'],
    [{ action: 'create', at: '2026-07-01T07:00', zone: 'Mars/Base', task: 'x' }, 'zone'],
    [{ action: 'create', cron: '* * * * * *', task: 'x' }, 'five fields'],
    [{ action: 'create', cron: '0 0 30 2 *', task: 'x' }, 'no such day'],
    [{ action: 'create', every: '1h', task: ' ' }, 'nothing to say'],
    [{ action: 'create', every: '1h', task: 'ä'.repeat(20_000) }, 'shorten'],
    [{ action: 'create', every: '1h', task: 'x', agent: 'other' }, 'agent'],
    [{ action: 'cancel' }, 'id'],
    [{ action: 'cancel', id: '../x' }, 'no schedule'],
  ])('says what is wrong with %j', async (args, words) => {
    const { rig, run, tool } = await begin();
    expect(tool.plan(args, callerOf(1))).toEqual({ fault: expect.stringContaining(words) });
    expect(await run(args)).toMatchObject({
      outcome: 'error',
      content: expect.stringContaining(words),
    });
    expect(rig.kept.schedules.size).toBe(0);
  });

  test('says when a time is past', async () => {
    const { run } = await begin();
    expect(await run({ action: 'create', at: '2026-03-01T07:00', task: 'x' })).toMatchObject({
      outcome: 'error',
      content: expect.stringContaining(`it is past: now it is ${at(0)}`),
    });
  });
});
