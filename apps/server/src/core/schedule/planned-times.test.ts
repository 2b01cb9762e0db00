import type { Schedule } from '@duragent/protocol';
import { describe, expect, test } from 'vitest';
import { readCron } from './cron-times.ts';
import { dueRuns, nextRun } from './due-runs.ts';
import { walkCron, WallClock } from './testing.ts';
import { instantOfLocal, isTimeZone } from './time-zone.ts';

const DAY = 86_400_000;

function runs(spec: Schedule['spec'], from: string, count: number): string[] {
  const found: string[] = [];
  let at: number | null = Date.parse(from);
  while (found.length < count) {
    at = nextRun({ spec }, at);
    if (at === null) break;
    found.push(new Date(at).toISOString().replace(':00.000Z', 'Z'));
  }
  return found;
}

describe('a cron rule', () => {
  test.each([
    // Berlin leaves out 2:00–3:00 on March 29, and repeats it on October 25.
    [
      'Europe/Berlin',
      '30 2 * * *',
      '2026-03-28T12:00Z',
      ['2026-03-29T01:00Z', '2026-03-30T00:30Z'],
    ],
    [
      'Europe/Berlin',
      '0,15 2 * * *',
      '2026-03-28T12:00Z',
      ['2026-03-29T01:00Z', '2026-03-30T00:00Z'],
    ],
    [
      'Europe/Berlin',
      '30 2,3 * * *',
      '2026-03-28T12:00Z',
      ['2026-03-29T01:00Z', '2026-03-29T01:30Z'],
    ],
    [
      'Europe/Berlin',
      '*/30 2 * * *',
      '2026-03-28T12:00Z',
      ['2026-03-30T00:00Z', '2026-03-30T00:30Z'],
    ],
    [
      'Europe/Berlin',
      '30 2 * * *',
      '2026-10-24T12:00Z',
      ['2026-10-25T00:30Z', '2026-10-26T01:30Z'],
    ],
    [
      'Europe/Berlin',
      '*/30 2 * * *',
      '2026-10-24T12:00Z',
      [
        '2026-10-25T00:00Z',
        '2026-10-25T00:30Z',
        '2026-10-25T01:00Z',
        '2026-10-25T01:30Z',
        '2026-10-26T01:00Z',
      ],
    ],
    // New York: March 8 and November 1.
    [
      'America/New_York',
      '30 2 * * *',
      '2026-03-07T12:00Z',
      ['2026-03-08T07:00Z', '2026-03-09T06:30Z'],
    ],
    [
      'America/New_York',
      '30 1 * * *',
      '2026-10-31T12:00Z',
      ['2026-11-01T05:30Z', '2026-11-02T06:30Z'],
    ],
    // Lord Howe goes by half an hour: October 4 and April 5.
    [
      'Australia/Lord_Howe',
      '10 2 * * *',
      '2026-10-02T20:00Z',
      ['2026-10-03T15:30Z', '2026-10-04T15:10Z'],
    ],
    [
      'Australia/Lord_Howe',
      '45 1 * * *',
      '2026-04-03T20:00Z',
      ['2026-04-04T14:45Z', '2026-04-05T15:15Z'],
    ],
    // São Paulo left out its midnight, while it had a summer time.
    [
      'America/Sao_Paulo',
      '0 0 * * *',
      '2018-11-03T12:00Z',
      ['2018-11-04T03:00Z', '2018-11-05T02:00Z'],
    ],
    [
      'America/Sao_Paulo',
      '0 0 * * *',
      '2026-11-03T12:00Z',
      ['2026-11-04T03:00Z', '2026-11-05T03:00Z'],
    ],
    ['UTC', '30 2 * * *', '2026-03-28T12:00Z', ['2026-03-29T02:30Z', '2026-03-30T02:30Z']],
    ['Asia/Kolkata', '30 2 * * *', '2026-03-28T22:00Z', ['2026-03-29T21:00Z', '2026-03-30T21:00Z']],
    // Casablanca goes back for Ramadan, and forward after it.
    [
      'Africa/Casablanca',
      '30 2 * * *',
      '2026-02-14T12:00Z',
      ['2026-02-15T01:30Z', '2026-02-16T02:30Z'],
    ],
    [
      'Africa/Casablanca',
      '30 2 * * *',
      '2026-03-21T12:00Z',
      ['2026-03-22T02:00Z', '2026-03-23T01:30Z'],
    ],
    ['UTC', '0 0 29 2 *', '2026-01-01T00:00Z', ['2028-02-29T00:00Z', '2032-02-29T00:00Z']],
    ['UTC', '@monthly', '2026-01-15T00:00Z', ['2026-02-01T00:00Z', '2026-03-01T00:00Z']],
  ])('in %s, "%s" after %s', (zone, cron, from, expected) => {
    expect(runs({ cron, zone }, from, expected.length)).toEqual(expected);
  });

  const zones = [
    'Europe/Berlin',
    'America/New_York',
    'Australia/Lord_Howe',
    'Africa/Casablanca',
    'Asia/Kolkata',
  ];
  const rules = [
    '7 2 * * *',
    '*/20 1-3 * * 0,6',
    '0 0,2,3 * * *',
    '15 2 1,29 3-11 0',
    '50 1-2 4-8 4,10,11 *',
  ];
  test.each(zones)('in %s, is due when a walk through every minute of a year finds it', (zone) => {
    const from = Date.UTC(2026, 0, 1);
    const to = from + 366 * DAY;
    const clock = new WallClock(zone, from - DAY, to + DAY);
    for (const rule of rules) {
      const expected = walkCron(rule, clock, from + 60_000, to);
      const times = readCron(rule, zone);
      if ('fault' in times) throw new Error(times.fault);
      const found: number[] = [];
      for (let at = times.after(from); at !== null && at < to; at = times.after(at)) found.push(at);
      expect(found).toEqual(expected);
      for (let index = 3; index < expected.length; index += 7) {
        const at = expected[index] ?? 0;
        expect(times.upTo(at, 3)).toEqual(expected.slice(index - 2, index + 1));
        expect(times.upTo(at - 1, 3)).toEqual(expected.slice(index - 3, index));
      }
    }
  });

  test.each([
    ['* * * * * *', 'five fields'],
    ['* * * *', 'five fields'],
    ['2026-01-01T00:00:00', 'five fields'],
    ['60 * * * *', 'no cron rule'],
    ['*/0 * * * *', 'no cron rule'],
    ['@reboot', 'no cron rule'],
    [`${'1,'.repeat(200)}1 * * * *`, 'five fields'],
    ['a b c d e', 'no cron rule'],
  ])('%j is refused', (rule, fault) => {
    expect(readCron(rule, 'UTC')).toEqual({ fault: expect.stringContaining(fault) });
  });
});

describe('what is due', () => {
  const T = Date.parse('2026-03-01T07:00:00Z');
  const HOUR = 3_600_000;
  const hourly = { spec: { every: '1h', anchor: '2026-01-01T00:00:00Z' } } as const;
  const cron = { spec: { cron: '0 * * * *', zone: 'UTC' } } as const;

  test.each([hourly, cron])('is chosen by what is to become of missed runs (%#)', (schedule) => {
    const due = (misfire: Schedule['misfire'], settled: number, now: number) =>
      dueRuns({ ...schedule, misfire }, settled, now);
    const since = T - 25 * HOUR;
    for (const now of [T, T + 60_000]) {
      expect(due('run_once', since, now)).toEqual({ runs: [T], skipped: 24, newest: T });
      expect(due('skip', since, now)).toEqual({ runs: [T], skipped: 24, newest: T });
    }
    expect(due('skip', since, T + 60_001)).toEqual({ runs: [], skipped: 25, newest: T });
    const ten = Array.from({ length: 10 }, (_, i) => T - (9 - i) * HOUR);
    expect(due('run_all', since, T + 1)).toEqual({ runs: ten, skipped: 15, newest: T });
    expect(due('run_all', T - 2 * HOUR, T)).toEqual({ runs: [T - HOUR, T], skipped: 0, newest: T });
    expect(due('run_all', T, T + HOUR - 1)).toEqual({ runs: [], skipped: 0, newest: null });
    // A year of it takes no year to look through.
    expect(due('run_all', T - 8760 * HOUR, T)).toEqual({ runs: ten, skipped: 100, newest: T });
    expect(due('run_once', T - 8760 * HOUR, T).runs).toEqual([T]);
    // The clock was set back.
    expect(due('run_once', T, T - 5 * HOUR).runs).toEqual([]);
  });

  test('is one moment once', () => {
    const spec = { at: '2026-03-01T08:00:00+01:00' };
    expect(nextRun({ spec }, T - 1)).toBe(T);
    expect(nextRun({ spec }, T)).toBeNull();
    expect(dueRuns({ spec, misfire: 'run_once' }, T - 1, T + 9 * HOUR).runs).toEqual([T]);
    expect(dueRuns({ spec, misfire: 'skip' }, T - 1, T + 9 * HOUR).runs).toEqual([]);
  });

  test('repeats from its anchor, else from when it was made, else from 1970', () => {
    const at = (text: string): number => Date.parse(text);
    expect(nextRun({ spec: { every: '7d', anchor: '2026-06-01T00:00:00Z' } }, T)).toBe(
      at('2026-06-01T00:00:00Z'),
    );
    const made = { spec: { every: '90m' }, created_at: '2026-03-01T06:59:59.500Z' };
    expect(nextRun(made, at(made.created_at))).toBe(at('2026-03-01T08:29:59.500Z'));
    expect(nextRun({ spec: { every: '2h' } }, T)).toBe(at('2026-03-01T08:00:00Z'));
  });
});

describe('a local time', () => {
  test.each([
    ['2026-03-01T07:00', 'Europe/Berlin', '2026-03-01T06:00Z'],
    ['2026-07-01T07:00:30', 'America/New_York', '2026-07-01T11:00:30.000Z'],
    ['2026-03-29T02:30', 'Europe/Berlin', '2026-03-29T01:30Z'],
    ['2026-10-25T02:30', 'Europe/Berlin', '2026-10-25T00:30Z'],
    ['2026-10-04T02:10', 'Australia/Lord_Howe', '2026-10-03T15:40Z'],
    ['2026-04-05T01:45', 'Australia/Lord_Howe', '2026-04-04T14:45Z'],
  ])('%s in %s is %s', (local, zone, expected) => {
    expect(instantOfLocal(local, zone)).toBe(Date.parse(expected));
  });

  test.each(['2026-02-30T07:00', '2026-03-01', '2026-03-01T25:00', '2026-03-01T07:00Z', 'now'])(
    '%s is none',
    (text) => {
      expect(instantOfLocal(text, 'UTC')).toBeNull();
    },
  );

  test('needs a zone that is known', () => {
    expect(['Europe/Berlin', 'UTC', 'Etc/GMT+5'].map(isTimeZone)).toEqual([true, true, true]);
    expect(['', 'Mars/Base', '+01:00', '../x', 'a'.repeat(99)].some(isTimeZone)).toBe(false);
  });
});
