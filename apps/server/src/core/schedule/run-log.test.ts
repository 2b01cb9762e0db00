import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { emptyRunLog, foldRun, ruleOf, runIdentity, runsOf, type RunRecord } from './run-log.ts';

const day = (n: number): string => `2026-03-0${n}T07:00:00.000Z`;
const fold = (records: RunRecord[]) => records.reduce(foldRun, emptyRunLog);

const begun: RunRecord = { type: 'begun', at: day(1), rule: 'r', settled: day(1) };
const started = (n: number, more: object = {}): RunRecord => ({
  type: 'started',
  at: day(n),
  planned: day(n),
  skipped: 0,
  ...more,
});
const failed = (n: number): RunRecord => ({
  type: 'failed',
  at: day(n),
  planned: day(n),
  error: { code: 'storage_full', message: 'full' },
});
const ok = (n: number): RunRecord => ({
  type: 'finished',
  at: day(n + 1),
  planned: day(n),
  outcome: 'ok',
  session: 's',
});

describe('a run log', () => {
  test('settles what was started or skipped, and never less', () => {
    expect(fold([begun]).settled).toBe(Date.parse(day(1)));
    expect(fold([begun, started(3)]).settled).toBe(Date.parse(day(3)));
    expect(fold([begun, started(3), { ...begun, rule: 'other' }])).toMatchObject({
      settled: Date.parse(day(3)),
      rule: 'other',
    });
    const skipped: RunRecord = { type: 'skipped', at: day(4), planned: day(4), count: 2 };
    expect(fold([begun, started(3), skipped]).settled).toBe(Date.parse(day(4)));
    expect(fold([begun, started(3, { manual: true })]).settled).toBe(Date.parse(day(1)));
  });

  test('keeps a run open until it has finished, with its failures', () => {
    expect(fold([begun, started(2), failed(2), failed(2)]).open).toMatchObject([
      { planned: day(2), failures: 2, error: { code: 'storage_full' } },
    ]);
    expect(fold([begun, started(2), failed(2), ok(2)])).toMatchObject({
      open: [],
      last: { planned: day(2), outcome: 'ok', failures: 1, session: 's', finished_at: day(3) },
    });
    // The end of a run that is not the last one says nothing of that.
    expect(fold([begun, started(2), started(3), ok(2)])).toMatchObject({
      open: [{ planned: day(3) }],
      last: { planned: day(3), outcome: 'running' },
    });
  });

  test('is shown by run, newest first', () => {
    const skipped: RunRecord = { type: 'skipped', at: day(5), planned: day(4), count: 1 };
    const records = [begun, started(2), failed(2), ok(2), started(3, { skipped: 4 }), skipped];
    expect(runsOf(records)).toMatchObject([
      { planned: day(4), outcome: 'skipped', skipped: 1 },
      { planned: day(3), outcome: 'running', skipped: 4 },
      { planned: day(2), outcome: 'ok', failures: 1 },
    ]);
    // What began before the part that is read is left out.
    expect(runsOf([ok(2), started(3)])).toMatchObject([{ planned: day(3) }]);
  });

  test('says the same when its beginning was folded before', () => {
    const n = fc.integer({ min: 1, max: 4 });
    const record = fc.oneof(
      fc.constant(begun),
      n.map((each) => started(each)),
      n.map(failed),
      n.map(ok),
    );
    fc.assert(
      fc.property(fc.array(record), fc.nat(), (records, cut) => {
        const before = fold(records.slice(0, cut));
        const copy = JSON.parse(JSON.stringify(before)) as typeof before;
        expect(records.slice(cut).reduce(foldRun, copy)).toEqual(fold(records));
      }),
      { numRuns: 200 },
    );
  });
});

test('a run is named by its schedule and its planned instant', () => {
  expect(runIdentity('sched_x', day(1))).toBe('sched_x/2026-03-01T07:00:00.000Z');
});

test('a rule is another one when its times are, or while it is paused', () => {
  const spec = { every: '1h' };
  const rules = [
    ruleOf({ spec, paused: false }),
    ruleOf({ spec: { every: '2h' }, paused: false }),
    ruleOf({ spec, paused: true }),
  ];
  expect(new Set(rules).size).toBe(3);
});
