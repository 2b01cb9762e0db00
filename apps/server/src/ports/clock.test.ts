import { expect, test } from 'vitest';
import { type Clock, sleepUntil } from './clock.ts';

/** A clock whose timers fire one after another, and whose wall is set by the test before each. */
function clockOf(walls: readonly number[]) {
  let mono = 0;
  let set = 0;
  const waits: number[] = [];
  const clock: Clock = {
    now: () => mono + set,
    monotonic: () => mono,
    after(ms, callback) {
      set += walls[waits.length] ?? 0;
      waits.push(ms);
      mono += ms;
      queueMicrotask(callback);
      return () => undefined;
    },
  };
  return { clock, waits };
}

const { signal } = new AbortController();

test.each([
  { what: 'a clock that goes as it should', walls: [], waits: [30_000, 30_000, 10_000] },
  { what: 'a machine that slept an hour', walls: [0, 3_600_000], waits: [30_000, 30_000] },
  {
    what: 'a clock that was set back a day',
    walls: [-86_400_000],
    waits: [30_000, 30_000, 10_000],
  },
])('sleepUntil waits in pieces, with $what', async ({ walls, waits }) => {
  const { clock, waits: seen } = clockOf(walls);
  await sleepUntil(clock, 70_000, signal);
  expect(seen).toEqual(waits);
});

test('sleepUntil does not wait for what is past', async () => {
  const { clock, waits } = clockOf([]);
  await sleepUntil(clock, -5, signal);
  expect(waits).toEqual([-5]);
});
