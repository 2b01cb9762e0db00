import type { Schedule } from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { RunRecord, ScheduleStore } from './schedule-store.ts';

/** What schedules are kept in, and stores over it. */
export interface ScheduleHarness {
  /** A store over all that earlier ones left, as a new process would open it. */
  open(): Promise<ScheduleStore>;
  dispose(): Promise<void>;
}

/** A schedule, for tests. */
export function testSchedule(id: string, more: Partial<Schedule> = {}): Schedule {
  return {
    id,
    agent: 'assistant',
    created_at: '2026-03-01T06:00:00.000Z',
    created_by: 'cli',
    spec: { cron: '0 7 * * *', zone: 'Europe/Berlin' },
    payload: { kind: 'task', text: 'Say good morning.\n\n- "kindly": yes # really' },
    target: 'isolated',
    misfire: 'run_once',
    paused: false,
    ...more,
  };
}

export const SCHEDULE = 'sched_0123456789abcdefghjkmnpqrs';

/** The instant of the run number `n`. */
export function instantOf(n: number): string {
  return new Date(Date.UTC(2026, 2, 1) + n * 60_000).toISOString();
}

export function startedRun(n: number): RunRecord & { type: 'started' } {
  return { type: 'started', at: instantOf(n), planned: instantOf(n), skipped: 0 };
}

export function finishedRun(n: number): RunRecord & { type: 'finished' } {
  return { type: 'finished', at: instantOf(n), planned: instantOf(n), outcome: 'ok', session: 's' };
}

/** What every `ScheduleStore` promises. */
export function scheduleStoreContract(
  name: string,
  makeHarness: () => Promise<ScheduleHarness>,
): void {
  describe(name, () => {
    let harness: ScheduleHarness;
    let store: ScheduleStore;
    beforeEach(async () => {
      harness = await makeHarness();
      store = await harness.open();
    });
    afterEach(() => harness.dispose());

    const all = async (): Promise<Schedule[]> =>
      (await store.list()).schedules.map(({ schedule }) => schedule);

    test('keeps schedules of every form', async () => {
      const chat = { gateway: 'telegram', account: 'telegram', chat_id: '-100', thread_id: '007' };
      const session = 'session_0123456789abcdefghjkmnpqrs';
      const forms = [
        testSchedule('a', { name: 'yes', spec: { at: '2026-03-01T08:00:00+01:00' } }),
        testSchedule('b', { spec: { every: '90s', anchor: '2026-03-01T07:00:00Z' } }),
        testSchedule('c', {
          target: { session },
          misfire: 'skip',
          process: `proc_${'0'.repeat(26)}`,
        }),
        testSchedule('d', { target: { key: 'it: "is"' }, misfire: 'run_all', paused: true }),
        testSchedule('e', {
          payload: { kind: 'message', text: ' \u2028\t\u0007ü🙂 ' },
          deliver: [chat],
        }),
        testSchedule(SCHEDULE, { payload: { kind: 'task', text: 'x'.repeat(32 * 1024) } }),
      ];
      for (const schedule of forms) expect(await store.create(schedule)).toBe(true);
      expect(await all()).toEqual(forms);
      store = await harness.open();
      expect(await all()).toEqual(forms);
      expect((await store.list()).faults).toEqual([]);
    });

    test('gives the same object while nobody changes it', async () => {
      await store.create(testSchedule(SCHEDULE));
      const [first] = (await store.list()).schedules;
      const [second] = (await store.list()).schedules;
      expect(second).toBe(first);
    });

    test('keeps the first of two with one id', async () => {
      const texts = ['one', 'two', 'three'];
      const made = await Promise.all(
        texts.map((text) =>
          store.create(testSchedule(SCHEDULE, { payload: { kind: 'task', text } })),
        ),
      );
      expect(made).toEqual([true, false, false]);
      expect((await all())[0]?.payload.text).toBe('one');
    });

    test('removes a schedule with its runs', async () => {
      await store.create(testSchedule(SCHEDULE));
      await store.append(SCHEDULE, startedRun(1));
      expect(await store.remove(SCHEDULE)).toBe(true);
      expect(await store.remove(SCHEDULE)).toBe(false);
      store = await harness.open();
      expect(await all()).toEqual([]);
      expect(await store.runLog(SCHEDULE)).toMatchObject({ settled: null, open: [] });
      expect(await store.records(SCHEDULE, 10)).toEqual([]);
    });

    test('keeps every record in order, also of calls that overlap', async () => {
      const settled = instantOf(0);
      const records: RunRecord[] = [
        { type: 'begun', at: settled, rule: 'rule', settled },
        startedRun(1),
        {
          type: 'failed',
          at: instantOf(2),
          planned: instantOf(1),
          error: { code: 'x', message: 'y' },
        },
        finishedRun(1),
        { type: 'skipped', at: instantOf(9), planned: instantOf(8), count: 7 },
        { ...startedRun(9), manual: true, key: 'k' },
      ];
      const states = await Promise.all(records.map((record) => store.append(SCHEDULE, record)));
      for (let restart = 0; restart < 2; restart += 1) {
        expect(await store.records(SCHEDULE, 100)).toEqual(records);
        expect(await store.records(SCHEDULE, 2)).toEqual(records.slice(-2));
        const state = await store.runLog(SCHEDULE);
        expect(state).toEqual(states.at(-1));
        expect(state).toMatchObject({
          settled: Date.parse(instantOf(8)),
          rule: 'rule',
          open: [{ planned: instantOf(9), manual: true }],
        });
        store = await harness.open();
      }
    });

    test('knows what is open and settled after any number of runs, and the last thousand records', async () => {
      await store.append(SCHEDULE, { ...startedRun(5000), manual: true });
      for (let n = 1; n <= 1010; n += 1) {
        await store.append(SCHEDULE, startedRun(n));
        await store.append(SCHEDULE, finishedRun(n));
      }
      store = await harness.open();
      const state = await store.runLog(SCHEDULE);
      expect(state.settled).toBe(Date.parse(instantOf(1010)));
      expect(state.open).toMatchObject([{ planned: instantOf(5000), manual: true }]);
      const newest = await store.records(SCHEDULE, 1000);
      expect(newest).toHaveLength(1000);
      expect(newest.at(-1)).toEqual(finishedRun(1010));
      expect(newest[0]).toEqual(startedRun(511));
    });
  });
}
