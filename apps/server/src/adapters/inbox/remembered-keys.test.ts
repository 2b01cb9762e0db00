import { expect, test } from 'vitest';
import { RememberedKeys } from './remembered-keys.ts';

const HOUR_MS = 60 * 60 * 1000;
const START = Date.UTC(2026, 10, 21);
const at = (hours: number) => new Date(START + hours * HOUR_MS).toISOString();

function keysWith(count: number, hours = 0, mark = Infinity): RememberedKeys {
  const keys = new RememberedKeys();
  for (let n = 1; n <= count; n += 1) keys.add(`k${n}`, n, at(hours), mark);
  return keys;
}
/** Numbers of the first and the last key that is remembered. */
function span(keys: RememberedKeys): (number | undefined)[] {
  const all = keys.upTo(Infinity);
  return [all[0]?.n, all.at(-1)?.n];
}

test('of old keys the newest 20,000 stay', () => {
  const keys = keysWith(30_000);
  keys.add('late', 30_001, at(73), Infinity);
  keys.forget(Infinity);
  expect(span(keys)).toEqual([10_002, 30_001]);
});

test('keys of the last 72 h stay, however many, up to 200,000', () => {
  const keys = keysWith(150_000);
  keys.add('late', 150_001, at(72), Infinity);
  keys.forget(Infinity);
  expect(span(keys)).toEqual([1, 150_001]);
  const many = keysWith(230_000);
  expect(span(many)[0]).toBeGreaterThan(29_000);
  expect(span(many)[1]).toBe(230_000);
});

test('what was not handed over is not forgotten', () => {
  const keys = keysWith(30_000, 0, 5000);
  keys.add('late', 30_001, at(1000), 5000);
  keys.forget(5000);
  expect(span(keys)).toEqual([5001, 30_001]);
  expect([keys.has('k5000'), keys.has('k5001')]).toEqual([false, true]);
});

test('a key that comes again belongs to its newest entry', () => {
  const keys = new RememberedKeys();
  keys.add('a', 1, at(0), 0);
  keys.add('b', 2, at(0), 0);
  keys.add('a', 3, at(0), 0);
  expect(keys.upTo(2)).toEqual([{ key: 'b', n: 2, atMs: START }]);
  expect(span(keys)).toEqual([2, 3]);
});
