import { expect, test } from 'vitest';
import { RememberedKeys } from './remembered-keys.ts';

const HOUR_MS = 60 * 60 * 1000;
const START = Date.UTC(2026, 10, 21);
const at = (hours: number) => new Date(START + hours * HOUR_MS).toISOString();

/** Adds the keys of entries, both included. */
function add(keys: RememberedKeys, from: number, to: number, hours = 0, mark = Infinity) {
  for (let n = from; n <= to; n += 1) keys.add(`k${n}`, n, at(hours), mark);
  return keys;
}
function keysWith(count: number, hours = 0, mark = Infinity): RememberedKeys {
  return add(new RememberedKeys(), 1, count, hours, mark);
}
/** From which of the numbers 1 to `last` on all are remembered, and none before it. */
function firstOf(keys: RememberedKeys, last: number): number {
  const first = keys.firstN ?? last + 1;
  for (let n = 1; n <= last; n += Math.abs(n - first) < 10 ? 1 : 7) {
    if (keys.has(`k${n}`) !== n >= first) expect(n).toBe(`not where ${first} is the first`);
  }
  return first;
}

test('of old keys the newest 20,000 stay', () => {
  const keys = keysWith(30_000);
  keys.add('k30001', 30_001, at(73), Infinity);
  keys.forget(Infinity);
  expect(firstOf(keys, 30_001)).toBe(10_002);
  for (let n = 30_002; n <= 50_000; n += 1) {
    keys.add(`k${n}`, n, at(73 + n), Infinity);
    if (n % 1900 !== 0) continue;
    const first = firstOf(keys, n);
    expect(first).toBeLessThanOrEqual(n - 19_999);
    expect(first).toBeGreaterThanOrEqual(n - 20_999);
  }
});

test('keys of the last 72 h stay, however many, up to 200,000', () => {
  const keys = keysWith(150_000);
  keys.add('k150001', 150_001, at(72), Infinity);
  keys.forget(Infinity);
  expect(firstOf(keys, 150_001)).toBe(1);
  const many = keysWith(230_500);
  expect(firstOf(many, 230_500)).toBe(30_001);
  many.forget(Infinity);
  expect(firstOf(many, 230_500)).toBe(30_501);
});

test('what was not handed over is not forgotten', () => {
  const keys = keysWith(30_000, 0, 5000);
  keys.add('k30001', 30_001, at(1000), 5000);
  keys.forget(5000);
  expect(firstOf(keys, 30_001)).toBe(5001);
  expect(firstOf(keysWith(210_000, 0, 0), 210_000)).toBe(1);
});

test('a key that comes again belongs to its newest entry', () => {
  const keys = keysWith(10);
  keys.add('k1', 11, at(0), 0);
  keys.add('k2', 5000, at(0), 0);
  add(keys, 5001, 25_000, 73);
  keys.forget(Infinity);
  expect([keys.firstN, keys.has('k1'), keys.has('k2')]).toEqual([5001, false, false]);
  keys.add('k5001', 25_001, at(73), 0);
  keys.add('k1', 25_002, at(73), 0);
  add(keys, 25_003, 45_000, 146);
  keys.forget(Infinity);
  expect(keys.firstN).toBe(25_001);
  expect(['k5001', 'k5002', 'k1'].map((key) => keys.has(key))).toEqual([true, false, true]);
});

test('it remembers the keys that it was given, and no others', () => {
  const keys = new RememberedKeys();
  expect([keys.has(''), keys.has('a'), keys.firstN]).toEqual([false, false, null]);
  const given = ['a', 'A', 'ä', 'a\u0308', '\0', ' a', 'x'.repeat(1024), '\u{1F600}', '\uD83D'];
  given.forEach((key, index) => keys.add(key, index + 7, at(0), 0));
  expect(given.filter((key) => !keys.has(key))).toEqual([]);
  const others = ['', 'b', '"a"', 'x'.repeat(1023), '\u{1F601}', '\uD83E', '\uFFFD'];
  expect(others.filter((key) => keys.has(key))).toEqual([]);
  expect(keys.firstN).toBe(7);
  add(keys, 100, 20_000);
  for (let n = 20_001; n < 60_000; n += 1) if (keys.has(`k${n}`)) expect(n).toBe('not given');
});
