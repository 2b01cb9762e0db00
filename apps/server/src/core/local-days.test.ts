import { expect, it } from 'vitest';
import { LocalDays } from './local-days.ts';

it.each([
  ['UTC', '2026-11-20', '2026-11-20T00:00:00.000Z'],
  ['Europe/Berlin', '2026-11-20', '2026-11-19T23:00:00.000Z'],
  ['Europe/Berlin', '2026-03-29', '2026-03-28T23:00:00.000Z'],
  ['Europe/Berlin', '2026-03-30', '2026-03-29T22:00:00.000Z'],
  ['Pacific/Kiritimati', '2026-11-20', '2026-11-19T10:00:00.000Z'],
  ['Pacific/Pago_Pago', '2026-11-20', '2026-11-20T11:00:00.000Z'],
  ['Asia/Kathmandu', '2026-11-20', '2026-11-19T18:15:00.000Z'],
  // Its clocks go on at midnight: the day begins at 01:00.
  ['Africa/Cairo', '2026-04-24', '2026-04-23T22:00:00.000Z'],
])('in %s, %s begins at %s', (zone, day, at) => {
  const days = new LocalDays(zone);
  const start = days.startOf(day);
  expect(new Date(start).toISOString()).toBe(at);
  expect(days.dayOf(start)).toBe(day);
  expect(days.dayOf(start - 1) < day).toBe(true);
});

it('names the zone, also that of the system', () => {
  expect(new LocalDays('Asia/Kathmandu').zone).toBe('Asia/Kathmandu');
  expect(new LocalDays(null).zone).not.toBe('');
});
