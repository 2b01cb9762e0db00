import { DuragentError } from '@duragent/protocol';
import { describe, expect, test } from 'vitest';
import { handOver, type ScheduledRun, type ScheduledWork } from './scheduled-work.ts';
import { aSchedule, HOUR, MINUTE, NOON, SECOND, TestScheduling, ticks } from './testing.ts';

const at = (ms: number): string => new Date(NOON + ms).toISOString();

describe('a scheduler', () => {
  test('runs what is planned when it is, by its identity, and never before', async () => {
    const rig = new TestScheduling();
    await rig.start(
      aSchedule('hourly'),
      aSchedule('once', { spec: { at: at(90 * MINUTE) } }),
      aSchedule('daily', { spec: { cron: '30 13 * * *', zone: 'UTC' } }),
    );
    await rig.clock.advance(HOUR - 1);
    expect(rig.handed).toEqual([]);
    await rig.clock.advance(1);
    expect(rig.handed).toEqual([`hourly/${at(HOUR)}`]);
    await rig.clock.advance(30 * MINUTE);
    expect(rig.handed.slice(1).sort()).toEqual([
      `daily/${at(90 * MINUTE)}`,
      `once/${at(90 * MINUTE)}`,
    ]);
    await rig.clock.advance(24 * HOUR);
    expect(rig.handed.filter((identity) => identity.startsWith('once'))).toHaveLength(1);
    expect(rig.handed.filter((identity) => identity.startsWith('daily'))).toHaveLength(2);
    expect(rig.handed.filter((identity) => identity.startsWith('hourly'))).toHaveLength(25);
    expect(rig.records('once').at(-1)).toMatchObject({
      type: 'finished',
      outcome: 'ok',
      session: 'session_x',
      turn: 'turn_x',
    });
    expect(rig.warnings()).toEqual([]);
  });

  test('shows a run that its session left out as dropped', async () => {
    const rig = new TestScheduling();
    rig.answer = () => ({ session: 'session_x', dropped: true });
    await rig.start(aSchedule('hourly'));
    await rig.clock.advance(HOUR);
    expect(rig.records('hourly').at(-1)).toMatchObject({ type: 'finished', outcome: 'dropped' });
    expect(rig.scheduler.find('hourly')?.last_run).toMatchObject({
      outcome: 'dropped',
      failures: 0,
    });
  });

  test('hands a run over only once it is durable that it was started', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('hourly'));
    const { append } = rig.store;
    const durable = Promise.withResolvers<void>();
    rig.store = { ...rig.store, append: (...args) => durable.promise.then(() => append(...args)) };
    await rig.clock.advance(HOUR);
    expect(rig.handed).toEqual([]);
    durable.resolve();
    await ticks();
    expect(rig.handed).toHaveLength(1);
    expect(rig.types('hourly')).toBe('begun started finished');
  });

  test('hands a run over again, by the same identity, when a crash hid its end', async () => {
    const rig = new TestScheduling();
    rig.answer = null;
    await rig.start(aSchedule('hourly'));
    await rig.clock.advance(HOUR);
    expect(rig.types('hourly')).toBe('begun started');
    for (let crash = 0; crash < 3; crash += 1) await rig.restart();
    rig.held.at(-1)?.done();
    await ticks();
    expect(new Set(rig.handed)).toEqual(new Set([`hourly/${at(HOUR)}`]));
    expect(rig.handed).toHaveLength(4);
    expect(rig.types('hourly')).toBe('begun started finished');
    await rig.restart();
    expect(rig.handed).toHaveLength(4);
  });

  test('makes up for what was missed while it was down', async () => {
    const rig = new TestScheduling();
    const { misfire: _, ...hourly } = aSchedule('x');
    await rig.start(
      { ...hourly, id: 'once', misfire: 'run_once' },
      { ...hourly, id: 'skip', misfire: 'skip' },
      { ...hourly, id: 'all', misfire: 'run_all' },
    );
    rig.clock.wall += 12.5 * HOUR;
    await rig.restart();
    expect(rig.handed.sort()).toEqual([
      ...Array.from({ length: 10 }, (_, i) => `all/${at((3 + i) * HOUR)}`),
      `once/${at(12 * HOUR)}`,
    ]);
    expect(rig.records('once').filter(({ type }) => type === 'started')).toMatchObject([
      { skipped: 11 },
    ]);
    expect(rig.records('skip').at(-1)).toMatchObject({
      type: 'skipped',
      count: 12,
      planned: at(12 * HOUR),
    });
    await rig.restart();
    expect(rig.handed).toHaveLength(11);
  });

  test('hands over at most four at once, those that wait longest first', async () => {
    const rig = new TestScheduling();
    rig.answer = null;
    const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
    await rig.start(
      ...ids.map((id, i) => aSchedule(id, { spec: { at: at(MINUTE - i * SECOND) } })),
    );
    rig.clock.wall += HOUR;
    await rig.clock.advance(MINUTE);
    expect(rig.held.map(({ run }) => run.schedule.id)).toEqual(['g', 'f', 'e', 'd']);
    rig.held[1]?.done();
    await ticks();
    rig.held[0]?.fail();
    await ticks();
    expect(rig.held.map(({ run }) => run.schedule.id).slice(4)).toEqual(['c', 'b']);
  });

  test('has one run of a schedule at a time; those planned meanwhile come after it by its rule', async () => {
    const rig = new TestScheduling();
    rig.answer = null;
    await rig.start(
      aSchedule('once', { spec: { every: '1m' } }),
      aSchedule('all', { spec: { every: '1m' }, misfire: 'run_all' }),
    );
    await rig.clock.advance(4 * MINUTE);
    expect(rig.held).toHaveLength(2);
    rig.answer = () => ({});
    for (const { done } of rig.held) done();
    await ticks();
    expect(rig.handed.slice(2).sort()).toEqual([
      ...[2, 3, 4].map((n) => `all/${at(n * MINUTE)}`),
      `once/${at(4 * MINUTE)}`,
    ]);
  });

  test('gives a hand-over five minutes', async () => {
    const rig = new TestScheduling();
    rig.answer = null;
    await rig.start(aSchedule('hourly'));
    await rig.clock.advance(HOUR + 5 * MINUTE);
    expect(rig.held[0]?.signal.aborted).toBe(true);
    expect(rig.records('hourly').at(-1)).toMatchObject({
      type: 'failed',
      error: { code: 'request_timeout' },
    });
  });
});

describe('a run that fails', () => {
  test('is tried again after 1, 2, 4 … minutes, at most an hour, and is named in the log', async () => {
    const rig = new TestScheduling();
    rig.answer = () => {
      throw new DuragentError('agent_not_found', 'There is no agent assistant.');
    };
    await rig.start(aSchedule('once', { spec: { at: at(0 + MINUTE) } }));
    const tries: number[] = [];
    for (let minute = 0; minute < 400; minute += 1) {
      const before = rig.handed.length;
      await rig.clock.advance(MINUTE);
      if (rig.handed.length > before) tries.push(minute);
    }
    expect(tries).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363]);
    expect(new Set(rig.handed).size).toBe(1);
    expect(rig.warnings()).toHaveLength(12);
    expect(rig.scheduler.find('once')).toMatchObject({
      state: 'retrying',
      retry_at: at(424 * MINUTE),
      last_run: { outcome: 'retrying', failures: 12, error: { code: 'agent_not_found' } },
    });
    // After a restart at once, and then as late as before.
    await rig.restart();
    expect(rig.handed).toHaveLength(13);
    rig.answer = () => ({});
    await rig.clock.advance(59 * MINUTE);
    expect(rig.handed).toHaveLength(13);
    await rig.clock.advance(MINUTE);
    expect(rig.scheduler.find('once')).toMatchObject({
      state: 'done',
      next_run: null,
      last_run: { outcome: 'ok', failures: 13 },
    });
  });

  test('gives way to the next one, which comes when it is planned', async () => {
    const rig = new TestScheduling();
    let isBroken = true;
    rig.answer = () => {
      if (isBroken) throw new Error('broken');
      return {};
    };
    await rig.start(aSchedule('hourly'));
    await rig.clock.advance(2 * HOUR - 1);
    const [first] = rig.handed;
    expect(new Set(rig.handed).size).toBe(1);
    isBroken = false;
    await rig.clock.advance(1);
    expect(rig.handed.at(-1)).toBe(`hourly/${at(2 * HOUR)}`);
    expect(rig.records('hourly').filter(({ type }) => type === 'finished')).toMatchObject([
      { planned: first?.slice(7), outcome: 'failed', error: { message: 'broken' } },
      { planned: at(2 * HOUR), outcome: 'ok' },
    ]);
  });

  test('keeps its place where all are made up for', async () => {
    const rig = new TestScheduling();
    let isBroken = true;
    rig.answer = () => {
      if (isBroken) throw new Error('broken');
      return {};
    };
    await rig.start(aSchedule('all', { misfire: 'run_all' }));
    await rig.clock.advance(3.5 * HOUR);
    isBroken = false;
    await rig.clock.advance(HOUR);
    expect([...new Set(rig.handed)]).toEqual([1, 2, 3, 4].map((n) => `all/${at(n * HOUR)}`));
  });

  test('of a schedule that comes often is not tried more than once a minute', async () => {
    const rig = new TestScheduling();
    rig.answer = () => {
      throw new Error('broken');
    };
    await rig.start(aSchedule('often', { spec: { every: '10s' } }));
    await rig.clock.advance(10 * MINUTE);
    expect(rig.handed.length).toBeGreaterThanOrEqual(9);
    expect(rig.handed.length).toBeLessThanOrEqual(10);
  });

  test('is not begun while that cannot be written, and no run is lost by it', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('hourly'));
    const whole = rig.store;
    const full = (): Promise<never> => Promise.reject(new DuragentError('storage_full', 'full'));
    rig.store = { ...whole, append: full };
    await rig.clock.advance(HOUR + 30 * SECOND);
    expect(rig.handed).toEqual([]);
    expect(rig.warnings()).toHaveLength(1);
    rig.store = whole;
    await rig.clock.advance(MINUTE);
    expect(rig.handed).toEqual([`hourly/${at(HOUR)}`]);
  });

  test('is begun once where nobody knew whether that was written', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('hourly'));
    const whole = rig.store;
    const append: typeof whole.append = async (...args) => {
      await whole.append(...args);
      throw new DuragentError('storage_failed', 'the sync failed');
    };
    rig.store = { ...whole, append };
    await rig.clock.advance(HOUR);
    expect(rig.handed).toEqual([]);
    rig.store = whole;
    await rig.clock.advance(MINUTE);
    expect(rig.handed).toEqual([`hourly/${at(HOUR)}`]);
    expect(rig.types('hourly')).toBe('begun started finished');
  });

  test('is handed over again by its identity where its end could not be written', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('hourly'));
    const whole = rig.store;
    const full = (): Promise<never> => Promise.reject(new DuragentError('storage_full', 'full'));
    const append: typeof whole.append = (id, record) =>
      record.type === 'finished' ? full() : whole.append(id, record);
    rig.store = { ...whole, append };
    await rig.clock.advance(HOUR + 30 * SECOND);
    rig.store = whole;
    await rig.clock.advance(MINUTE);
    expect(rig.handed).toEqual([`hourly/${at(HOUR)}`, `hourly/${at(HOUR)}`]);
    expect(rig.types('hourly')).toBe('begun started finished');
  });
});

describe('clocks that are set', () => {
  test('back run nothing twice', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('hourly'));
    await rig.clock.advance(2 * HOUR);
    rig.clock.wall -= 1.5 * HOUR;
    await rig.clock.advance(1.4 * HOUR);
    expect(rig.handed).toHaveLength(2);
    await rig.clock.advance(1.2 * HOUR);
    expect(rig.handed).toEqual([1, 2, 3].map((n) => `hourly/${at(n * HOUR)}`));
  });

  test('forward count as missed, and are seen within a minute', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('hourly'));
    rig.clock.wall += 5.5 * HOUR;
    await rig.clock.advance(MINUTE);
    expect(rig.handed).toEqual([`hourly/${at(5 * HOUR)}`]);
  });

  test('keep what was made while they were ahead', async () => {
    const rig = new TestScheduling();
    await rig.start(
      aSchedule('hourly', {
        created_at: at(1000 * HOUR),
        spec: { cron: '0 * * * *', zone: 'UTC' },
      }),
    );
    await rig.clock.advance(HOUR);
    expect(rig.handed).toEqual([`hourly/${at(HOUR)}`]);
  });
});

describe('a file that changes while the server runs', () => {
  test('counts within five seconds', async () => {
    const rig = new TestScheduling();
    await rig.start();
    await rig.clock.advance(7 * SECOND);
    rig.put(aSchedule('new', { spec: { at: at(12 * SECOND) } }));
    await rig.clock.advance(5 * SECOND);
    expect(rig.handed).toEqual([`new/${at(12 * SECOND)}`]);
  });

  test('begins with its change: its new times before that were not missed', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('x', { spec: { cron: '0 11 * * *', zone: 'UTC' } }));
    await rig.clock.advance(8 * HOUR);
    rig.put(aSchedule('x', { spec: { cron: '0 * * * *', zone: 'UTC' } }));
    await rig.clock.advance(59 * MINUTE);
    expect(rig.handed).toEqual([]);
    await rig.clock.advance(MINUTE);
    expect(rig.handed).toEqual([`x/${at(9 * HOUR)}`]);
  });

  test('while the server is down begins with its change too', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('x', { spec: { cron: '0 11 * * *', zone: 'UTC' } }));
    rig.clock.wall += 2.5 * HOUR;
    rig.put(aSchedule('x', { spec: { cron: '0 * * * *', zone: 'UTC' } }));
    rig.clock.wall += HOUR;
    await rig.restart();
    expect(rig.handed).toEqual([`x/${at(3 * HOUR)}`]);
    expect(rig.records('x').at(-2)).toMatchObject({ skipped: 0 });
  });

  test('but not in its times keeps what was missed', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('x', { misfire: 'run_all' }));
    rig.clock.wall += 2.5 * HOUR;
    rig.put(aSchedule('x', { misfire: 'run_all', payload: { kind: 'task', text: 'Better.' } }));
    await rig.restart();
    expect(rig.handed).toHaveLength(2);
  });

  test('pauses it; what was planned meanwhile is not made up for', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('x', { misfire: 'run_all' }));
    rig.put(aSchedule('x', { misfire: 'run_all', paused: true }));
    await rig.clock.advance(3.5 * HOUR);
    expect(rig.handed).toEqual([]);
    expect(rig.scheduler.find('x')).toMatchObject({ state: 'paused', next_run: null });
    rig.put(aSchedule('x', { misfire: 'run_all' }));
    await rig.clock.advance(HOUR);
    expect(rig.handed).toEqual([`x/${at(4 * HOUR)}`]);
  });

  test('and breaks is named once, while the others work, and runs again when it is mended', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('bad'), aSchedule('good'));
    const { list } = rig.store;
    const fault = {
      id: 'bad',
      file: '/s/bad.yaml',
      line: 3,
      column: 7,
      message: 'spec.zone is missing',
    };
    rig.store = {
      ...rig.store,
      list: async () => ({
        schedules: (await list()).schedules.filter(({ schedule }) => schedule.id !== 'bad'),
        faults: [fault],
      }),
    };
    await rig.clock.advance(1.5 * HOUR);
    expect(rig.handed).toEqual([`good/${at(HOUR)}`]);
    expect(rig.warnings()).toEqual([
      'a schedule does not run: /s/bad.yaml:3:7: spec.zone is missing',
    ]);
    expect(rig.scheduler.list()).toMatchObject({ schedules: [{ id: 'good' }], faults: [fault] });
    await expect(rig.scheduler.runNow('bad')).rejects.toMatchObject({ code: 'config_invalid' });
    rig.store = { ...rig.store, list };
    await rig.clock.advance(5 * SECOND);
    expect(rig.handed).toContain(`bad/${at(HOUR)}`);
    expect(rig.scheduler.list().faults).toEqual([]);
  });

  test('has a run log that cannot be trusted: then it does not run', async () => {
    const rig = new TestScheduling();
    const { runLog } = rig.store;
    const details = { file: '/s/bad.runs.jsonl' };
    rig.store = {
      ...rig.store,
      runLog: (id) =>
        id === 'bad'
          ? Promise.reject(
              new DuragentError('log_corrupt', 'bad.runs.jsonl is damaged', { details }),
            )
          : runLog(id),
    };
    await rig.start(aSchedule('bad'), aSchedule('good'));
    await rig.clock.advance(HOUR);
    expect(rig.handed).toEqual([`good/${at(HOUR)}`]);
    expect(rig.scheduler.list().faults).toMatchObject([{ id: 'bad', ...details }]);
    expect(rig.warnings()).toHaveLength(1);
    await rig.scheduler.remove('bad');
    expect(rig.scheduler.list().faults).toEqual([]);
  });
});

describe('a schedule ends', () => {
  test('when it is removed, also by hand, and a run of it that is under way writes nothing more', async () => {
    const rig = new TestScheduling();
    rig.answer = null;
    await rig.start(aSchedule('a'), aSchedule('b'));
    await rig.clock.advance(HOUR);
    await rig.scheduler.remove('a');
    rig.kept.schedules.delete('b');
    await rig.clock.advance(5 * SECOND);
    for (const { done } of rig.held) done();
    await rig.clock.advance(2 * HOUR);
    expect(rig.handed).toHaveLength(2);
    expect(rig.kept.runs.has('a')).toBe(false);
    expect(rig.types('b')).toBe('begun started');
    await expect(rig.scheduler.remove('a')).rejects.toMatchObject({ code: 'not_found' });
  });

  test('with its process', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('a', { process: 'proc_1' }), aSchedule('b', { process: 'proc_2' }));
    rig.over.add('proc_1');
    await rig.clock.advance(HOUR);
    expect(rig.handed).toEqual([`b/${at(HOUR)}`]);
    expect([...rig.kept.schedules.keys()]).toEqual(['b']);
    rig.over.add('proc_2');
    rig.clock.wall += 5 * HOUR;
    await rig.restart();
    expect(rig.handed).toHaveLength(1);
    expect(rig.kept.schedules.size).toBe(0);
  });

  test('with its process, and never runs after it, however late that is seen', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('a', { process: 'proc_1', spec: { every: '61s' } }));
    await rig.clock.advance(60 * SECOND);
    rig.over.add('proc_1');
    await rig.clock.advance(SECOND);
    expect(rig.handed).toEqual([]);
    expect(rig.types('a')).toBe('begun');
    await rig.clock.advance(5 * SECOND);
    expect(rig.kept.schedules.size).toBe(0);
  });

  test('a day after its moment, where the server made it', async () => {
    const rig = new TestScheduling();
    const made = 'sched_0123456789abcdefghjkmnpqrs';
    const spec = { at: at(HOUR) };
    await rig.start(aSchedule(made, { spec }), aSchedule('mine', { spec }));
    await rig.clock.advance(25 * HOUR);
    expect(rig.kept.schedules.size).toBe(2);
    await rig.clock.advance(10 * SECOND);
    expect([...rig.kept.schedules.keys()]).toEqual(['mine']);
  });
});

describe('a run that somebody asks for', () => {
  test('happens now, and changes nothing of what is planned', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('x', { paused: true }), aSchedule('y'));
    await rig.clock.advance(HOUR / 2);
    for (const id of ['x', 'y']) expect(await rig.scheduler.runNow(id)).toBe(at(HOUR / 2));
    await ticks();
    expect(rig.handed).toEqual([`x/${at(HOUR / 2)}`, `y/${at(HOUR / 2)}`]);
    await rig.clock.advance(HOUR / 2);
    expect(rig.handed.slice(2)).toEqual([`y/${at(HOUR)}`]);
    await expect(rig.scheduler.runNow('z')).rejects.toMatchObject({ code: 'not_found' });
  });

  test('survives a crash before it was handed over', async () => {
    const rig = new TestScheduling();
    rig.answer = null;
    await rig.start(aSchedule('x'));
    await rig.scheduler.runNow('x');
    await rig.restart();
    expect(rig.handed.at(-1)).toBe(`x/${at(1)}`);
  });

  test('has a name of its own, and one only for one key', async () => {
    const rig = new TestScheduling();
    await rig.start(aSchedule('x', { spec: { every: '1h', anchor: at(0) } }));
    const first = await rig.scheduler.runNow('x', 'key');
    // That instant is planned.
    expect(first).toBe(at(1));
    await ticks();
    expect(await rig.scheduler.runNow('x', 'key')).toBe(first);
    expect(await rig.scheduler.runNow('x', 'other')).toBe(at(2));
    await ticks();
    await rig.restart();
    expect(await rig.scheduler.runNow('x', 'key')).toBe(first);
    expect(rig.handed).toHaveLength(2);
  });

  test('is refused while one is handed over, and tries one again that failed', async () => {
    const rig = new TestScheduling();
    rig.answer = null;
    await rig.start(aSchedule('x'));
    await rig.clock.advance(HOUR);
    await expect(rig.scheduler.runNow('x')).rejects.toMatchObject({ code: 'conflict' });
    rig.held[0]?.fail();
    await ticks();
    expect(await rig.scheduler.runNow('x')).toBe(at(HOUR));
    await ticks();
    expect(rig.handed).toEqual([`x/${at(HOUR)}`, `x/${at(HOUR)}`]);
  });
});

describe('closing', () => {
  test('aborts what is under way, which stays owed, and begins nothing more', async () => {
    const rig = new TestScheduling();
    rig.answer = null;
    await rig.start(aSchedule('x'), aSchedule('y', { spec: { every: '90m' } }));
    await rig.clock.advance(HOUR);
    await rig.scheduler.close();
    expect(rig.held[0]?.signal.aborted).toBe(true);
    expect(rig.clock.waiting).toBe(0);
    await rig.clock.advance(3 * HOUR);
    expect(rig.handed).toHaveLength(1);
    expect(rig.types('x')).toBe('begun started');
    expect(rig.warnings()).toEqual([]);
  });

  test('keeps the end of what is done meanwhile', async () => {
    const rig = new TestScheduling();
    rig.answer = null;
    await rig.start(aSchedule('x'));
    await rig.clock.advance(HOUR);
    rig.held[0]?.done();
    await rig.scheduler.close();
    expect(rig.types('x')).toBe('begun started finished');
  });
});

test('a task goes to the session as a turn, a message to the chats as it is', async () => {
  const calls: unknown[] = [];
  const work: ScheduledWork = {
    submitTask: async (task) => {
      calls.push(['task', task]);
      return { session: 's', turn: 't' };
    },
    sendMessage: async (message) => {
      calls.push(['message', message]);
      return {};
    },
  };
  const { signal } = new AbortController();
  const chat = { gateway: 'telegram', account: 'telegram', chat_id: '5' };
  const task = aSchedule('x', { target: { key: 'k' } });
  const message = aSchedule('y', { payload: { kind: 'message', text: 'Hi' }, deliver: [chat] });
  const runOf = (schedule: ScheduledRun['schedule']): ScheduledRun => ({
    schedule,
    planned: at(0),
    identity: 'i',
  });
  expect(await handOver(work, runOf(task), { signal })).toEqual({ session: 's', turn: 't' });
  expect(await handOver(work, runOf(message), { signal })).toEqual({});
  const common = { agent: 'assistant', identity: 'i', planned: at(0) };
  expect(calls).toEqual([
    [
      'task',
      { ...common, schedule: 'x', target: { key: 'k' }, deliver: null, text: 'Look around.' },
    ],
    ['message', { ...common, schedule: 'y', target: 'isolated', chats: [chat], text: 'Hi' }],
  ]);
});
