import { afterEach, expect, it, vi } from 'vitest';
import { daysBefore, localDay } from './local-day.ts';

afterEach(() => vi.unstubAllEnvs());

it.each([
  ['2026-11-20T23:30:00Z', 'UTC', '2026-11-20', '23:30'],
  ['2026-11-20T23:30:00Z', 'Europe/Berlin', '2026-11-21', '00:30'],
  ['2026-11-20T23:30:00Z', 'Pacific/Kiritimati', '2026-11-21', '13:30'],
  ['2026-11-20T00:00:00Z', 'America/New_York', '2026-11-19', '19:00'],
  ['2026-03-29T01:30:00Z', 'Europe/Berlin', '2026-03-29', '03:30'],
])('%s in %s is %s %s', (at, zone, day, time) => {
  expect(localDay(Date.parse(at), zone)).toEqual({ day, time });
});

it.each([
  ['2026-11-20T23:30:00Z', 'Pacific/Kiritimati', '2026-11-21', '13:30'],
  ['2026-03-29T01:30:00Z', 'Europe/Berlin', '2026-03-29', '03:30'],
  ['2026-01-05T03:29:00Z', 'America/St_Johns', '2026-01-04', '23:59'],
])('%s is that of the system where no zone is named: %s', (at, zone, day, time) => {
  vi.stubEnv('TZ', zone);
  expect(localDay(Date.parse(at), null)).toEqual({ day, time });
});

it.each([
  ['2026-03-01', 1, '2026-02-28'],
  ['2028-03-01', 1, '2028-02-29'],
  ['2026-01-01', 1, '2025-12-31'],
  ['2026-11-20', 0, '2026-11-20'],
])('%s, %d days before: %s', (day, days, before) => {
  expect(daysBefore(day, days)).toBe(before);
});
