import { describe, expect, test } from 'vitest';
import { memoryAgentCatalog } from '../../adapters/agent-catalog/memory.ts';
import type { ProcessRecord } from '../../core/processes/process-record.ts';
import { testAgent } from '../testing.ts';
import { ScheduleDesk } from './schedule-desk.ts';
import { scheduleIdOf } from './schedule-id.ts';
import { aSchedule, HOUR, NOON, TestScheduling } from './testing.ts';

const payload = { kind: 'task', text: 'Look around.' } as const;
const SESSION = `session_${'1'.repeat(26)}`;
const PROCESS = `proc_${'1'.repeat(26)}`;
const aProcess = (change: Partial<ProcessRecord> = {}): ProcessRecord => ({
  id: PROCESS,
  session: SESSION,
  agent: 'assistant',
  call: 'call_1',
  command: 'make',
  name: null,
  interactive: false,
  started_at: new Date(NOON).toISOString(),
  state: 'running',
  pid: 1,
  birth: null,
  ended_at: null,
  exit_code: null,
  signal: null,
  fault: null,
  told: false,
  watches: [],
  ...change,
});
const at = (ms: number): string => new Date(NOON + ms).toISOString();

async function begin() {
  const rig = new TestScheduling();
  await rig.start();
  const agents = memoryAgentCatalog([testAgent(), testAgent({ name: 'other' })]);
  const desk = new ScheduleDesk({
    scheduler: rig.scheduler,
    agents,
    clock: rig.clock,
    timezone: () => 'Europe/Berlin',
    defaultAgent: () => 'assistant',
    gateways: () => ['telegram', 'chat'],
    process: (id) => Promise.resolve(rig.processes.get(id) ?? null),
  });
  return { rig, desk };
}

describe('making a schedule', () => {
  test('fills in what is left out, and runs it', async () => {
    const { desk, rig } = await begin();
    const made = await desk.create({ spec: { cron: '30 14 * * *' }, payload }, { by: 'cli' });
    expect(made).toMatchObject({
      agent: 'assistant',
      created_at: at(0),
      created_by: 'cli',
      spec: { cron: '30 14 * * *', zone: 'Europe/Berlin' },
      target: 'isolated',
      misfire: 'run_once',
      state: 'waiting',
      next_run: at(1.5 * HOUR),
      last_run: null,
    });
    await rig.clock.advance(2 * HOUR);
    expect(rig.handed).toEqual([`${made.id}/${at(1.5 * HOUR)}`]);
    expect(await desk.show(made.id, 5)).toMatchObject({
      runs: [{ outcome: 'ok', session: 'session_x' }],
    });
    await desk.remove(made.id);
    expect(desk.list()).toEqual({ schedules: [], faults: [] });
  });

  test('with the same seed gives what the first made, also at once and after a restart', async () => {
    const { desk, rig } = await begin();
    const request = { spec: { at: at(HOUR) }, payload };
    const made = await Promise.all(
      [1, 2, 3].map(() => desk.create(request, { by: 'x', seed: 's' })),
    );
    expect(new Set(made.map(({ id }) => id)).size).toBe(1);
    await rig.clock.advance(2 * HOUR);
    expect((await desk.create(request, { by: 'x', seed: 's' })).state).toBe('done');
    expect(rig.kept.schedules.size).toBe(1);
    await desk.create({ ...request, spec: { every: '1h' } }, { by: 'x', seed: 'other' });
    expect(rig.kept.schedules.size).toBe(2);
  });

  test.each([
    ['a moment that is past', { spec: { at: at(0) } }, 'spec.at: it is past'],
    ['a rule of six fields', { spec: { cron: '* * * * * *' } }, 'spec.cron: expected five fields'],
    [
      'a zone of nowhere',
      { spec: { cron: '0 7 * * *', zone: 'Mars/Base' } },
      'spec.zone: expected',
    ],
    [
      'a message to nobody',
      { payload: { kind: 'message', text: 'x' } as const },
      'payload.kind: a message needs',
    ],
  ])('refuses %s', async (_, change, words) => {
    const { desk, rig } = await begin();
    const request = { spec: { every: '1h' }, payload, ...change };
    await expect(desk.create(request, { by: 'cli' })).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining(words),
    });
    expect(rig.kept.schedules.size).toBe(0);
  });

  test('can end with a process of its agent that runs', async () => {
    const { desk, rig } = await begin();
    rig.processes.set(PROCESS, aProcess());
    const request = { spec: { every: '1h' }, payload, process: PROCESS };
    const isolated = await desk.create(request, { by: 'cli' });
    const target = { session: SESSION };
    const there = await desk.create({ ...request, target }, { by: 'cli' });
    expect([isolated.process, there.process]).toEqual([PROCESS, PROCESS]);
    rig.over.add(PROCESS);
    await rig.clock.advance(6000);
    expect(desk.list()).toEqual({ schedules: [], faults: [] });
  });

  test.each([
    ['that is not there', null, 'there is no background process'],
    ['of another agent', { agent: 'other' }, 'it was started by the agent other'],
    ['of another session', { session: `session_${'2'.repeat(26)}` }, "not in the target's session"],
    ['that has ended', { state: 'lost' as const }, 'has ended'],
  ])('refuses a process %s', async (_, change, words) => {
    const { desk, rig } = await begin();
    if (change) rig.processes.set(PROCESS, aProcess(change));
    const target = { session: SESSION };
    const request = { spec: { every: '1h' }, payload, process: PROCESS, target };
    await expect(desk.create(request, { by: 'cli' })).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining(words),
      details: { errors: [{ pointer: '/process' }] },
    });
    expect(rig.kept.schedules.size).toBe(0);
  });

  test('refuses an agent that is not there, with those that are', async () => {
    const { desk } = await begin();
    const request = { agent: 'nobody', spec: { every: '1h' }, payload };
    await expect(desk.create(request, { by: 'cli' })).rejects.toMatchObject({
      code: 'agent_not_found',
      message: 'There is no agent nobody. There are: assistant, other.',
    });
  });

  test('refuses the hundred and first of an agent', async () => {
    const { desk, rig } = await begin();
    for (let i = 0; i < 98; i += 1) rig.put(aSchedule(`s${i}`));
    await rig.clock.advance(6000);
    const request = { spec: { every: '1h' }, payload };
    const made = await Promise.allSettled([1, 2, 3].map(() => desk.create(request, { by: 'cli' })));
    expect(made.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
    expect(made[2]).toMatchObject({ reason: { code: 'conflict' } });
    await desk.create({ ...request, agent: 'other' }, { by: 'cli' });
  });

  test('refuses the thousand and first, but takes the place of one that is done', async () => {
    const { desk, rig } = await begin();
    const done = scheduleIdOf('done');
    rig.put(aSchedule(done, { spec: { at: at(1000) } }));
    for (let i = 0; i < 999; i += 1) rig.put(aSchedule(`s${i}`, { agent: `a${i % 50}` }));
    await rig.clock.advance(6000);
    const request = { spec: { every: '1h' }, payload };
    await desk.create(request, { by: 'cli' });
    expect(rig.kept.schedules.has(done)).toBe(false);
    expect(rig.kept.schedules.size).toBe(1000);
    await expect(desk.create(request, { by: 'cli' })).rejects.toMatchObject({ code: 'conflict' });
  });
});

test('an id is of the pattern, and its seed’s own', () => {
  const ids = Array.from({ length: 200 }, (_, i) => scheduleIdOf(`seed ${i}`));
  for (const id of ids) expect(id).toMatch(/^sched_[0-9a-hjkmnp-tv-z]{26}$/);
  expect(new Set(ids).size).toBe(200);
  expect(scheduleIdOf('seed 0')).toBe(ids[0]);
});
