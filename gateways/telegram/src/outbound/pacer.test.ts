import { describe, expect, test } from 'vitest';
import { type Family, Pacer } from './pacer.ts';

const person = 7;
const group = -100;

/** A pacer and its clock. */
function pacerAt(start = 1000) {
  let now = start;
  const pacer = new Pacer(() => now);
  const pass = (ms: number): void => {
    now += ms;
  };
  return { pacer, pass, now: () => now };
}

/** Makes every preview that may be made in a time. @returns when, in ms from the start. */
function previewsWithin(clock: ReturnType<typeof pacerAt>, chat: number, ms: number): number[] {
  const times: number[] = [];
  const start = clock.now();
  while (clock.now() - start < ms) {
    if (clock.pacer.previewWaitMs(chat, 'edit') === 0) {
      clock.pacer.takePreview(chat);
      times.push(clock.now() - start);
    }
    clock.pass(50);
  }
  return times;
}

/** The most of these times that any window of a length holds. */
function mostWithin(times: readonly number[], windowMs: number): number {
  return Math.max(
    ...times.map((from) => times.filter((at) => at >= from && at < from + windowMs).length),
  );
}

describe('the pace', () => {
  test('shows previews of a person about once a second', () => {
    const times = previewsWithin(pacerAt(), person, 60_000);
    expect(mostWithin(times, 1000)).toBe(1);
    expect(times.length).toBeGreaterThan(50);
  });

  test('never makes more calls in a group than Telegram takes in a minute', () => {
    const times = previewsWithin(pacerAt(), group, 10 * 60_000);
    expect(mostWithin(times, 60_000)).toBeLessThanOrEqual(20);
    expect(times.length).toBeGreaterThan(100);
  });

  test('leaves finals their part: whenever one comes, it waits about a second', () => {
    for (const chat of [person, group]) {
      const clock = pacerAt();
      for (let turn = 0; turn < 20; turn++) {
        previewsWithin(clock, chat, 7000 + 130 * turn);
        expect(clock.pacer.reserve(chat)).toBeLessThanOrEqual(1100);
      }
    }
  });

  test('leaves finals their part when many chats are written to at once', () => {
    const clock = pacerAt();
    const calls: number[] = [];
    for (let step = 0; step < 200; step++) {
      for (let chat = 1; chat <= 100; chat++) {
        if (clock.pacer.previewWaitMs(chat, 'edit') > 0) continue;
        clock.pacer.takePreview(chat);
        calls.push(clock.now());
      }
      if (step % 10 === 0) {
        expect(clock.pacer.reserve(1000 + step)).toBe(0);
        calls.push(clock.now());
      }
      clock.pass(50);
    }
    expect(mostWithin(calls, 1000)).toBeLessThanOrEqual(30);
  });

  test('lets finals of a burst wait, and not for ever', () => {
    const { pacer } = pacerAt();
    const waits = Array.from({ length: 30 }, () => pacer.reserve(person));
    expect(waits[0]).toBe(0);
    expect(waits[1]).toBeCloseTo(1050);
    expect(Math.max(...waits)).toBeLessThan(2500);
  });

  test('believes retry_after, for that chat and kind of call', () => {
    const { pacer, pass } = pacerAt();
    pacer.refused(person, 'edit', 5000);
    const blocked = (chat: number, family: Family) => pacer.blockedMs(chat, family);
    expect([blocked(person, 'edit'), blocked(person, 'send'), blocked(8, 'edit')]).toEqual([
      5000, 0, 0,
    ]);
    expect(pacer.previewWaitMs(person, 'send')).toBe(5000);
    expect(pacer.takeSpare(person, 'edit')).toBe(false);
    pass(2000);
    pacer.refused(person, 'edit', 1000);
    expect(blocked(person, 'edit')).toBe(3000);
    pass(3000);
    expect(blocked(person, 'edit')).toBe(0);
  });

  test('shows previews less often after a refusal, and slowly more often again', () => {
    const clock = pacerAt();
    const usual = previewsWithin(clock, person, 10_000).length;
    for (let times = 0; times < 3; times++) clock.pacer.refused(person, 'edit', 1000);
    clock.pass(1000);
    const after = previewsWithin(clock, person, 10_000).length;
    expect(after).toBeLessThan(usual / 2);
    previewsWithin(clock, person, 120_000);
    expect(previewsWithin(clock, person, 10_000).length).toBeGreaterThanOrEqual(usual - 1);
  });

  test('keeps a bounded number of chats, and the refusals among them', () => {
    const { pacer, pass } = pacerAt();
    pacer.refused(person, 'send', 60_000);
    for (let chat = 1; chat < 5000; chat++) {
      pass(2000 / 5000);
      pacer.reserve(-chat);
    }
    expect(pacer.blockedMs(person, 'send')).toBeGreaterThan(0);
  });
});
