import { beforeEach, expect, test } from 'vitest';
import type { Clock } from '../ports/clock.ts';
import type { Heap } from '../ports/heap.ts';
import { keepMemorySmall } from './keep-memory-small.ts';

const MiB = 1024 * 1024;

/** One that also moves on by itself, while something is done. */
class TestClock implements Clock {
  #now = 0;
  #timers: { at: number; callback: () => void }[] = [];
  now = (): number => this.#now;
  monotonic = (): number => this.#now;
  after = (ms: number, callback: () => void): (() => void) => {
    const timer = { at: this.#now + ms, callback };
    this.#timers.push(timer);
    return () => void (this.#timers = this.#timers.filter((one) => one !== timer));
  };
  takes(ms: number): void {
    this.#now += ms;
  }
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const [due] = this.#timers.toSorted((a, b) => a.at - b.at);
      if (due === undefined || due.at > end) break;
      this.#timers = this.#timers.filter((one) => one !== due);
      this.#now = Math.max(this.#now, due.at);
      due.callback();
    }
    this.#now = Math.max(this.#now, end);
  }
}

/** A process whose memory is what a test says, and of which a collection leaves `held`. */
class TestHeap implements Heap {
  resident = 90 * MiB;
  held = 90 * MiB;
  used = 0;
  isQuick = false;
  collections = 0;
  readonly #clock: TestClock;
  constructor(clock: TestClock) {
    this.#clock = clock;
  }
  residentBytes = (): number => this.resident;
  utilization = (): number => this.used;
  preferSpeed = (isPreferred: boolean): void => void (this.isQuick = isPreferred);
  collect = (): void => {
    this.collections += 1;
    this.resident = this.held;
    this.#clock.takes(40);
  };
}

let clock: TestClock;
let heap: TestHeap;
let working: number;
let stop: () => void;
beforeEach(() => {
  clock = new TestClock();
  heap = new TestHeap(clock);
  working = 0;
  stop = keepMemorySmall(clock, heap, () => working);
});

test('collects what a burst left, and not again what is held', () => {
  clock.advance(10_000);
  expect(heap.collections).toBe(0);
  heap.resident = 120 * MiB;
  heap.held = 110 * MiB;
  clock.advance(500);
  expect(heap.collections).toBe(1);
  clock.advance(60_000);
  expect(heap.collections).toBe(1);
  heap.resident = 125 * MiB;
  clock.advance(500);
  expect(heap.collections).toBe(2);
});

test('leaves alone what is not worth it: 8 MiB, or a tenth', () => {
  heap.resident += 7 * MiB;
  clock.advance(10_000);
  expect(heap.collections).toBe(0);
  heap.held = 500 * MiB;
  heap.resident = heap.held;
  clock.advance(500);
  expect(heap.collections).toBe(1);
  heap.resident += 49 * MiB;
  clock.advance(10_000);
  expect(heap.collections).toBe(1);
  heap.resident += MiB;
  clock.advance(500);
  expect(heap.collections).toBe(2);
});

test('counts from the least that there was', () => {
  heap.resident = 85 * MiB;
  clock.advance(500);
  heap.resident = 94 * MiB;
  clock.advance(500);
  expect(heap.collections).toBe(1);
});

test('takes no more than one fiftieth of the time', () => {
  heap.used = 1;
  for (let n = 0; n < 100; n += 1) {
    heap.resident = 140 * MiB;
    clock.advance(500);
  }
  // Each takes 40 ms, and 2 s pass until the next.
  expect(heap.collections).toBeGreaterThan(15);
  expect(heap.collections).toBeLessThanOrEqual(25);
});

test('waits while many sessions work, and a while after, and lets them have memory', () => {
  heap.used = 0.9;
  working = 8;
  heap.resident = 200 * MiB;
  clock.advance(30_000);
  expect(heap.collections).toBe(0);
  expect(heap.isQuick).toBe(true);
  working = 0;
  heap.used = 0;
  clock.advance(4_000);
  expect([heap.collections, heap.isQuick]).toEqual([0, true]);
  clock.advance(2_000);
  expect([heap.collections, heap.isQuick]).toEqual([1, false]);
});

test.each([
  ['few sessions work', 1, 7],
  ['many wait for their models', 0.1, 50],
])('does not wait while %s', (_, used, count) => {
  heap.used = used;
  working = count;
  heap.resident = 200 * MiB;
  clock.advance(500);
  expect([heap.collections, heap.isQuick]).toEqual([1, false]);
});

test('looks no more once it is ended', () => {
  stop();
  heap.resident = 200 * MiB;
  clock.advance(10_000);
  expect(heap.collections).toBe(0);
});
