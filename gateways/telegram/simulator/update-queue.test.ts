import { describe, expect, test } from 'vitest';
import { SimulatorClock } from './clock.ts';
import { SeededRandom } from './random.ts';
import { UpdateQueue, type PollOptions } from './update-queue.ts';

const DAY_MS = 86_400_000;
const chat = { id: 7, type: 'private' as const, first_name: 'Ada' };
const from = { id: 7, is_bot: false, first_name: 'Ada' };

/** A queue, its clock, and shorter words for both. */
function queue(seed = 1) {
  const clock = new SimulatorClock();
  const updates = new UpdateQueue(clock, new SeededRandom(seed));
  let messages = 0;
  return {
    clock,
    updates,
    /** Adds that many; gives their ids. */
    add: (count: number): number[] =>
      Array.from({ length: count }, () => {
        const message = { message_id: ++messages, chat, from, date: 0, text: 'hi' };
        return updates.push('message', message)?.update_id ?? 0;
      }),
    /** What a poll is answered, by ids. */
    poll: async (options: Partial<PollOptions> = {}): Promise<number[]> => {
      const { signal } = new AbortController();
      const given = { offset: 0, limit: 100, timeoutMs: 0, signal, ...options };
      const batch = await updates.poll(given);
      batch.sent();
      return batch.updates.map(({ update_id }) => update_id);
    },
    states: (): string[] => updates.records.map(({ state }) => state),
  };
}

describe('an offset', () => {
  test('confirms all below it, and nothing else does', async () => {
    const { add, poll, states } = queue();
    const [first = 0, second = 0, third = 0] = add(3);
    expect(await poll()).toEqual([first, second, third]);
    expect(await poll({ offset: first })).toEqual([first, second, third]);
    expect(states()).toEqual(['waiting', 'waiting', 'waiting']);
    expect(await poll({ offset: second })).toEqual([second, third]);
    expect(states()).toEqual(['confirmed', 'waiting', 'waiting']);
    expect(await poll({ offset: third + 1 })).toEqual([]);
    expect(await poll()).toEqual([]);
    expect(states()).toEqual(['confirmed', 'confirmed', 'confirmed']);
  });

  test('below zero counts from the end and forgets what is before', async () => {
    const { add, poll, states } = queue();
    const ids = add(5);
    expect(await poll({ offset: -2 })).toEqual(ids.slice(3));
    expect(await poll()).toEqual(ids.slice(3));
    expect(states()).toEqual(['confirmed', 'confirmed', 'confirmed', 'waiting', 'waiting']);
    expect(await poll({ offset: -100 })).toEqual(ids.slice(3));
  });

  test('far ahead of the next id, or far behind it, is not believed', async () => {
    const { add, poll } = queue();
    const ids = add(2);
    const last = ids[1] ?? 0;
    expect(await poll({ offset: last + 12 })).toEqual(ids);
    expect(await poll({ offset: last - 3_000_000 })).toEqual(ids);
    expect(await poll({ offset: last + 11 })).toEqual([]);
  });

  test('comes with a limit', async () => {
    const { add, poll } = queue();
    const ids = add(5);
    expect(await poll({ limit: 2 })).toEqual(ids.slice(0, 2));
    expect(await poll({ limit: 2, offset: ids[2] ?? 0 })).toEqual(ids.slice(2, 4));
  });
});

describe('time', () => {
  test('lets updates grow old after 24 hours', async () => {
    const { clock, add, poll, states } = queue();
    const [old = 0] = add(1);
    clock.advance(DAY_MS - 60_000);
    const [young = 0] = add(1);
    expect(await poll()).toEqual([old, young]);
    clock.advance(120_000);
    expect(await poll()).toEqual([young]);
    expect(states()).toEqual(['expired', 'waiting']);
  });

  test('of a silent week makes ids begin at another number, sometimes a smaller one', async () => {
    const jumps = await Promise.all(
      [1, 2, 3, 4, 5, 6].map(async (seed) => {
        const { clock, add, poll } = queue(seed);
        const [before = 0] = add(1);
        await poll({ offset: before + 1 });
        clock.advance(7 * DAY_MS);
        const [after = 0, next = 0] = add(2);
        expect(next).toBe(after + 1);
        // Whatever offset a bot remembers, it gets what is new.
        if (after < before) expect(await poll({ offset: before + 1 })).toEqual([after, next]);
        return Math.sign(after - before);
      }),
    );
    expect(new Set(jumps)).toEqual(new Set([-1, 1]));
  });

  test('shorter than a week changes nothing', () => {
    const { clock, add } = queue();
    const [before = 0] = add(1);
    clock.advance(7 * DAY_MS - 1000);
    expect(add(1)).toEqual([before + 1]);
  });
});

describe('a long poll', () => {
  test('waits for the next update, and what comes with it', async () => {
    const { add, poll } = queue();
    const polled = poll({ timeoutMs: 20_000 });
    const ids = add(3);
    expect(await polled).toEqual(ids);
  });

  test('ends empty', async () => {
    expect(await queue().poll({ timeoutMs: 5 })).toEqual([]);
  });

  test('is ended by another one, and by one that need not wait it is not', async () => {
    const { updates, add, poll } = queue();
    const older = poll({ timeoutMs: 20_000 });
    expect(await poll({ timeoutMs: 0 })).toEqual([]);
    expect(updates.isPolled).toBe(true);
    const younger = poll({ timeoutMs: 20_000 });
    await expect(older).rejects.toMatchObject({
      code: 409,
      message:
        'Conflict: terminated by other getUpdates request; make sure that only one bot instance is running',
    });
    const ids = add(1);
    expect(await younger).toEqual(ids);
  });

  test('whose client left takes nothing with it', async () => {
    const { updates, add, poll, states } = queue();
    const gone = new AbortController();
    const polled = poll({ timeoutMs: 20_000, signal: gone.signal });
    gone.abort(new Error('gone'));
    await expect(polled).rejects.toThrow('gone');
    expect(updates.isPolled).toBe(false);
    const ids = add(2);
    expect(states()).toEqual(['waiting', 'waiting']);
    expect(updates.records.map(({ offered }) => offered)).toEqual([0, 0]);
    expect(await poll({ timeoutMs: 20_000 })).toEqual(ids);
    await expect(poll({ signal: gone.signal, offset: (ids[1] ?? 0) + 1 })).rejects.toThrow('gone');
    expect(states()).toEqual(['waiting', 'waiting']);
  });
});

describe('redelivery', () => {
  test('gives the last ones again, once, whatever the offset says', async () => {
    const { updates, add, poll } = queue();
    const ids = add(4);
    const next = (ids[3] ?? 0) + 1;
    await poll();
    await poll({ offset: next });
    expect(updates.redeliver(2)).toBe(2);
    const [fresh = 0] = add(1);
    expect(await poll({ offset: next })).toEqual([...ids.slice(2), fresh]);
    expect(await poll({ offset: next })).toEqual([fresh]);
  });

  test('does not give one twice in one answer', async () => {
    const { updates, add, poll } = queue();
    const ids = add(2);
    await poll();
    updates.redeliver(10);
    expect(await poll()).toEqual(ids);
  });

  test('reaches a poll that waits', async () => {
    const { updates, add, poll } = queue();
    const [id = 0] = add(1);
    await poll();
    const polled = poll({ offset: id + 1, timeoutMs: 20_000 });
    updates.redeliver(1);
    expect(await polled).toEqual([id]);
  });
});

test('types that the bot did not ask for are not kept', () => {
  const { updates, add } = queue();
  updates.allow(['callback_query']);
  expect(add(1)).toEqual([0]);
  updates.allow([]);
  expect(add(1)).not.toEqual([0]);
  expect(
    updates.push('message_reaction_count', { chat, message_id: 1, date: 0, reactions: [] }),
  ).toBe(null);
});

test('one answer holds 4 MiB at most', async () => {
  const { updates, poll } = queue();
  for (let count = 0; count < 60; count++) {
    updates.push('message', { message_id: count, chat, from, date: 0, text: 'x'.repeat(100_000) });
  }
  const first = await poll();
  expect(first.length).toBeGreaterThan(30);
  expect(first.length).toBeLessThan(42);
  expect(await poll({ offset: (first.at(-1) ?? 0) + 1 })).toHaveLength(60 - first.length);
});
