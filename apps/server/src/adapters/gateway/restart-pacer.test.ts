import { expect, test } from 'vitest';
import { defaultLimits } from './limits.ts';
import { RestartPacer } from './restart-pacer.ts';

const pacer = (random = 1) => new RestartPacer(defaultLimits, () => random);
const SECOND = 1000;

test('the pause doubles from half a second up to a minute', () => {
  const paced = pacer();
  // Seldom enough never to be too many within a minute.
  const pauses = Array.from({ length: 10 }, (_, i) => paced.next(i * 30 * SECOND).delayMs);
  expect(pauses).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
});

test('any part of the pause may be left out', () => {
  expect(pacer(0).next(0).delayMs).toBe(0);
  expect(pacer(0.5).next(0).delayMs).toBe(250);
});

test('more than five restarts within a minute: every five minutes, for ever', () => {
  const paced = pacer();
  for (let i = 0; i < 5; i += 1) expect(paced.next(i * 11 * SECOND).degraded).toBe(false);
  for (const at of [55, 360, 10_000]) {
    expect(paced.next(at * SECOND)).toEqual({ delayMs: 300_000, degraded: true });
  }
});

test('five restarts in a minute, and the sixth after it, are not too many', () => {
  const paced = pacer();
  for (let i = 0; i < 5; i += 1) paced.next(i * SECOND);
  expect(paced.next(60 * SECOND).degraded).toBe(false);
});

test('health starts it all over', () => {
  const paced = pacer();
  for (let i = 0; i < 7; i += 1) paced.next(i);
  paced.reset();
  expect(paced.next(8)).toEqual({ delayMs: 500, degraded: false });
});
