import { expect, test } from 'vitest';
import { askedWaitMs, retryWaitMs } from './retry-wait.ts';

const HOUR_MS = 3_600_000;

test('waits double from 5 s to an hour', () => {
  const waits = Array.from({ length: 12 }, (_, index) => retryWaitMs(index + 1, 0.5) / 1_000);
  expect(waits).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
});

test('they are spread, and never longer than an hour', () => {
  expect(retryWaitMs(1, 0)).toBe(4_000);
  expect(retryWaitMs(1, 0.999999)).toBe(6_000);
  for (const attempt of [10, 11, 1_000, Number.MAX_SAFE_INTEGER]) {
    for (const random of [0, 0.5, 0.999]) {
      expect(retryWaitMs(attempt, random)).toBeGreaterThan(0);
      expect(retryWaitMs(attempt, random)).toBeLessThanOrEqual(HOUR_MS);
    }
  }
});

test('what a webhook asks for is kept between a second and an hour', () => {
  expect([0, 999, 7_000, 10 * HOUR_MS].map(askedWaitMs)).toEqual([1_000, 1_000, 7_000, HOUR_MS]);
});
