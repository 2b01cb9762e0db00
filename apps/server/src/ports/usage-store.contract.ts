import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SettledCall } from '../core/budget/settled-call.ts';
import type { UsageStore } from './usage-store.ts';

/** What usage is kept in, and stores over it. */
export interface UsageStoreHarness {
  /** A store over all that earlier ones left, as a new process would open it. */
  open(): UsageStore;
  dispose(): Promise<void>;
}

/** What all kinds of calls have. */
type Shared = Omit<SettledCall, never>;

const shared: Shared = {
  at: '2026-11-20T12:00:00.000Z',
  session: 'session_a',
  agent: 'helper',
  model: 'anthropic/claude-sonnet-4-5',
  usage: { input_tokens: 100, output_tokens: 10, cache_read_tokens: 50 },
  usd: 0.00045,
};

/** A call of a turn, for tests. */
export function settledCall(step: number, more: Partial<Shared> = {}): SettledCall {
  return { ...shared, sender: 'telegram:1', turn: 'turn_a', step, attempt: 1, ...more };
}

/** All calls of a day. */
export async function callsOf(store: UsageStore, day: string): Promise<SettledCall[]> {
  return await Array.fromAsync(store.read(day));
}

const DAY = '2026-11-20';

/** What every `UsageStore` promises. */
export function usageStoreContract(
  name: string,
  makeHarness: () => Promise<UsageStoreHarness>,
): void {
  describe(name, () => {
    let harness: UsageStoreHarness;
    let store: UsageStore;
    beforeEach(async () => {
      harness = await makeHarness();
      store = harness.open();
    });
    afterEach(async () => {
      await store.close();
      await harness.dispose();
    });

    test('a day without calls is empty', async () => {
      expect(await callsOf(store, DAY)).toEqual([]);
    });

    test('what was added is read at once, in its order', async () => {
      const calls = [1, 2, 3].map((step) => settledCall(step));
      for (const call of calls) store.add(DAY, call);
      expect(await callsOf(store, DAY)).toEqual(calls);
    });

    test('every kind of call comes back as it was', async () => {
      const summary = { ...shared, summary: 40 };
      const calls = [summary, settledCall(1, { usd: null }), settledCall(2, { cut: true })];
      for (const call of calls) store.add(DAY, call);
      await store.close();
      store = harness.open();
      expect(await callsOf(store, DAY)).toEqual(calls);
    });

    test('days have nothing in common', async () => {
      store.add(DAY, settledCall(1));
      store.add('2026-11-21', settledCall(2));
      expect(await callsOf(store, DAY)).toEqual([settledCall(1)]);
      expect(await callsOf(store, '2026-11-21')).toEqual([settledCall(2)]);
    });

    test('what was closed is there after a restart, and more is added behind it', async () => {
      store.add(DAY, settledCall(1));
      await store.close();
      store = harness.open();
      store.add(DAY, settledCall(2));
      await store.close();
      store = harness.open();
      expect(await callsOf(store, DAY)).toEqual([settledCall(1), settledCall(2)]);
    });

    test('many calls at once are all there', async () => {
      const calls = Array.from({ length: 2_000 }, (_, step) => settledCall(step + 1));
      for (const call of calls) store.add(DAY, call);
      await store.close();
      store = harness.open();
      expect(await callsOf(store, DAY)).toEqual(calls);
    });
  });
}
