import { expect, test } from 'vitest';
import type { Clock } from '../../ports/clock.ts';
import { defaultLimits } from './limits.ts';
import { StartPacer } from './start-pacer.ts';

function setUp() {
  let now = 1_000_000;
  const clock: Clock = { now: () => now, monotonic: () => now, after: () => () => undefined };
  const pacer = new StartPacer(clock, { ...defaultLimits, backoffMs: 1000, maxBackoffMs: 4000 });
  const live = (ms: number): number => {
    pacer.starts();
    now += ms;
    pacer.failed('end', 'it fell');
    return pacer.pauseMs();
  };
  return { pacer, live, wait: (ms: number) => void (now += ms) };
}

test('what ends is started again at once, then after pauses that double, and no longer than the longest', () => {
  const { live, wait } = setUp();
  const pauses = Array.from({ length: 6 }, () => {
    wait(20_000);
    return live(1);
  });
  expect(pauses).toEqual([0, 1000, 2000, 4000, 4000, 4000]);
});

test('what worked for long, or answered a call, starts from the beginning', () => {
  const { live, pacer, wait } = setUp();
  live(1);
  live(1);
  wait(100_000);
  expect(live(60_000)).toBe(0);
  expect(live(1)).toBe(1000);
  pacer.worked();
  expect(live(1)).toBe(0);
});

test('a start that failed is not tried again soon', () => {
  const { pacer, wait } = setUp();
  pacer.starts();
  pacer.failed('start', 'no');
  expect(pacer.pauseMs()).toBe(15_000);
  wait(15_000);
  expect(pacer.pauseMs()).toBe(0);
  expect(pacer.lastFault).toBe('no');
});

test('there are five starts a minute at most, whatever the reason', () => {
  const { pacer, wait } = setUp();
  for (let at = 0; at < 5; at += 1) {
    expect(pacer.pauseMs()).toBe(0);
    pacer.starts();
    wait(1000);
  }
  expect(pacer.pauseMs()).toBe(55_000);
  expect(pacer.lastFault).toContain('5 times');
  wait(55_000);
  expect(pacer.pauseMs()).toBe(0);
});
