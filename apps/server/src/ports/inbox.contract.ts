import { DuragentError, MAX_RECORD_BYTES } from '@duragent/protocol';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Inbox, InboxEntry, InboxStore } from './inbox.ts';
import { arrival, blocked, instant, limitsOf } from './inbox.testing.ts';

/** What inboxes are kept in, and stores over it. */
export interface InboxHarness {
  /** A store over all that earlier ones left, as a new process would open it; they do nothing more. */
  open(): Promise<InboxStore>;
  /** Leaves behind what a crash in the middle of an append may: `share` (0 to 1) of some bytes. */
  tear(gateway: string, share: number): Promise<void>;
  dispose(): Promise<void>;
}

const NAME = 'telegram';
const HOUR_MS = 60 * 60 * 1000;

function refusal(code: string): unknown {
  return expect.objectContaining({ code, constructor: DuragentError });
}

/** What every `InboxStore` promises. */
export function inboxContract(name: string, makeHarness: () => Promise<InboxHarness>): void {
  describe(name, () => {
    let harness: InboxHarness;
    let inbox: Inbox;
    let unhanded: InboxEntry[];
    beforeEach(async () => {
      harness = await makeHarness();
      await restart();
    });
    afterEach(() => harness.dispose());

    /** As after the process ended, whether or not the inbox was closed. */
    async function restart(): Promise<void> {
      ({ inbox, unhanded } = await (await harness.open()).open(NAME));
    }
    async function reopen(): Promise<void> {
      await inbox.close();
      await restart();
    }
    const appendAll = (keys: readonly string[]) =>
      Promise.all(keys.map((key) => inbox.append(arrival(key))));
    const numbers = () => unhanded.map(({ n }) => n);

    test('a new inbox holds nothing', () => {
      expect([inbox.cursor, inbox.limits, unhanded]).toEqual([null, null, []]);
      expect(inbox.has('a')).toBe(false);
    });

    test('arrivals are numbered from 1, in the order of the calls, also when these overlap', async () => {
      expect(await inbox.append(arrival('a'))).toEqual({ n: 1, ...arrival('a') });
      const keys = Array.from({ length: 50 }, (_, index) => `k${index}`);
      const entries = await appendAll(keys);
      expect(entries.map((entry) => [entry?.n, entry?.key])).toEqual(
        keys.map((key, index) => [index + 2, key]),
      );
    });

    test('a restart gives every arrival back, whole and oldest first, and numbers go on', async () => {
      const sent = [
        arrival('a', { cursor: { offset: 1 } }),
        blocked('b'),
        arrival('c', {
          disposition: 'command',
          event: {
            type: 'callback_query',
            callback_query_id: 'q',
            chat_id: 'chat',
            sender: { id: '7', is_bot: false },
            message_id: 'm',
            data: 'x',
          },
        }),
        arrival('d', {
          disposition: 'migrate',
          event: { type: 'chat_migrated', event_id: 'e', chat_id: '1', new_chat_id: '2' },
        }),
      ];
      for (const each of sent) await inbox.append(each);
      const expected = sent.map((each, index) => ({ n: index + 1, ...each }));
      await restart();
      expect(unhanded).toEqual(expected);
      await reopen();
      expect(unhanded).toEqual(expected);
      expect((await inbox.append(arrival('e')))?.n).toBe(5);
    });

    test('a known key is not appended again, before a restart and after, handed over or not', async () => {
      await appendAll(['a', 'b']);
      inbox.mark(1);
      for (let start = 0; start < 3; start += 1) {
        expect([inbox.has('a'), inbox.has('b'), inbox.has('c')]).toEqual([true, true, false]);
        expect(await appendAll(['a', 'b', 'a'])).toEqual([null, null, null]);
        await reopen();
      }
      expect((await inbox.append(arrival('c')))?.n).toBe(3);
    });

    test('of two arrivals with one key on their way one is appended, and both wait for it', async () => {
      expect(inbox.has('a')).toBe(false);
      const first = inbox.append(arrival('a'));
      const second = inbox.append(arrival('a'));
      const third = inbox.append(arrival('b'));
      expect(await second).toBeNull();
      expect(inbox.has('a')).toBe(true);
      expect([(await first)?.n, (await third)?.n]).toEqual([1, 2]);
      await restart();
      expect(numbers()).toEqual([1, 2]);
    });

    test('what was marked is not given back, once the mark was written: with the next append, and by close', async () => {
      await appendAll(['a', 'b', 'c']);
      inbox.mark(2);
      await inbox.append(arrival('d'));
      await restart();
      expect(numbers()).toEqual([3, 4]);
      inbox.mark(3);
      await reopen();
      expect(numbers()).toEqual([4]);
      inbox.mark(4);
      await reopen();
      expect(numbers()).toEqual([]);
      expect((await inbox.append(arrival('e')))?.n).toBe(5);
    });

    test('a mark never goes back, and never ahead of the arrivals', async () => {
      await appendAll(['a', 'b', 'c']);
      inbox.mark(2);
      inbox.mark(1);
      for (const n of [4, -1, 1.5, Number.NaN]) {
        expect(() => inbox.mark(n)).toThrow(refusal('internal'));
      }
      await reopen();
      expect(numbers()).toEqual([3]);
    });

    test('the newest cursor is kept; an arrival without one leaves it', async () => {
      await inbox.append(arrival('a', { cursor: { offset: 7 } }));
      await inbox.append(arrival('b'));
      expect(inbox.cursor).toEqual({ offset: 7 });
      await restart();
      expect(inbox.cursor).toEqual({ offset: 7 });
      await inbox.append({ ...blocked('c'), cursor: 'next' });
      await inbox.append(arrival('c', { cursor: 'of a repeated one' }));
      expect(inbox.cursor).toBe('next');
      await reopen();
      expect(inbox.cursor).toBe('next');
    });

    test('the newest limits are kept, without what they do not have to hold', async () => {
      inbox.keepLimits(limitsOf(2000));
      inbox.keepLimits({ ...limitsOf(4096), junk: 'x' } as ReturnType<typeof limitsOf>);
      expect(inbox.limits).toEqual(limitsOf(4096));
      await inbox.append(arrival('a'));
      await restart();
      expect(inbox.limits).toEqual(limitsOf(4096));
      inbox.keepLimits(limitsOf(100));
      await reopen();
      expect(inbox.limits).toEqual(limitsOf(100));
    });

    test('keys are kept for 72 h however many they are, and 20,000 however old; others are forgotten', async () => {
      const hours = [0, 1, 71, 72, 73];
      for (const hour of hours) {
        await inbox.append(arrival(`h${hour}`, { at: instant(hour * HOUR_MS) }));
      }
      inbox.mark(5);
      const at = instant(73 * HOUR_MS);
      for (let from = 0; from < 22_000; from += 2000) {
        const entries = await Promise.all(
          Array.from({ length: 2000 }, (_, index) =>
            inbox.append({ ...blocked(`k${from + index}`), at }),
          ),
        );
        inbox.mark(entries.at(-1)?.n ?? 0);
      }
      for (let start = 0; start < 2; start += 1) {
        expect(hours.filter((hour) => !inbox.has(`h${hour}`))).toEqual([0]);
        expect(inbox.has('k0')).toBe(true);
        await reopen();
      }
      const late = instant(1000 * HOUR_MS);
      const n = (await inbox.append({ ...blocked('late'), at: late }))?.n ?? 0;
      inbox.mark(n);
      for (let from = 0; from < 2; from += 1) {
        await Promise.all(
          Array.from({ length: 1000 }, (_, index) =>
            inbox.append({ ...blocked(`l${from}-${index}`), at: late }),
          ),
        );
      }
      expect(inbox.has('k0')).toBe(false);
      expect(inbox.has('h73')).toBe(false);
      expect(inbox.has('k21999')).toBe(true);
      // One that was forgotten is taken as new, and known again.
      expect((await inbox.append({ ...blocked('h73'), at: late }))?.n).toBe(n + 2001);
      await reopen();
      expect([inbox.has('h73'), inbox.has('k21999')]).toEqual([true, true]);
    });

    test('an arrival that is too large is refused and leaves no trace', async () => {
      const text = 'ü'.repeat(MAX_RECORD_BYTES / 2);
      const huge = arrival('huge', { cursor: text });
      await expect(inbox.append(huge)).rejects.toEqual(refusal('record_too_large'));
      const longKey = arrival('k'.repeat(1025));
      await expect(inbox.append(longKey)).rejects.toEqual(refusal('record_too_large'));
      expect(inbox.has('huge')).toBe(false);
      const fits = arrival('huge', { cursor: text.slice(0, text.length - 1000) });
      expect((await inbox.append(fits))?.n).toBe(1);
      await restart();
      expect(unhanded).toEqual([{ n: 1, ...fits }]);
    });

    test('what has no key or no instant is refused', async () => {
      await expect(inbox.append(arrival(''))).rejects.toEqual(refusal('internal'));
      await expect(inbox.append(arrival('a', { at: 'yesterday' }))).rejects.toEqual(
        refusal('internal'),
      );
    });

    test('closing waits for what was appended, and a closed inbox takes nothing', async () => {
      const calls = appendAll(['a', 'b', 'c']);
      await inbox.close();
      await inbox.close();
      expect((await calls).map((entry) => entry?.n)).toEqual([1, 2, 3]);
      await expect(inbox.append(arrival('d'))).rejects.toEqual(refusal('storage_failed'));
      inbox.mark(1);
      inbox.keepLimits(limitsOf(100));
      await restart();
      expect([numbers(), inbox.limits]).toEqual([[1, 2, 3], null]);
    });

    test('gateways have inboxes of their own, each open once', async () => {
      const store = await harness.open();
      const discord = (await store.open('discord')).inbox;
      await expect(store.open('discord')).rejects.toEqual(refusal('conflict'));
      expect((await discord.append(arrival('a')))?.n).toBe(1);
      const telegram = (await store.open(NAME)).inbox;
      expect(telegram.has('a')).toBe(false);
      await discord.close();
      expect((await store.open('discord')).unhanded).toHaveLength(1);
    });

    test.each(['', '.', '..', '../x', 'a/b', 'A', '-a', 'a\0', 'x'.repeat(64)])(
      '%j names no gateway',
      async (gateway) => {
        const store = await harness.open();
        await expect(store.open(gateway)).rejects.toEqual(refusal('invalid_request'));
      },
    );

    type Step =
      | { do: 'append'; keys: number[] }
      | { do: 'mark'; share: number }
      | { do: 'limits'; value: number }
      | { do: 'reopen' }
      | { do: 'crash'; torn: number };
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    const step: fc.Arbitrary<Step> = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          do: fc.constant('append' as const),
          keys: fc.array(fc.nat(60), { minLength: 1, maxLength: 8 }),
        }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('mark' as const), share }) },
      fc.record({ do: fc.constant('limits' as const), value: fc.integer({ min: 64, max: 70 }) }),
      fc.record({ do: fc.constant('reopen' as const) }),
      fc.record({ do: fc.constant('crash' as const), torn: share }),
    );

    test('whatever happens, each key is in it once, nothing acknowledged is lost, and what is not marked is given back', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
          await harness.dispose();
          harness = await makeHarness();
          await restart();
          const taken: InboxEntry[] = [];
          let mark = 0;
          let writtenMark = 0;
          const checkStart = (least: number): void => {
            const from = taken.length - unhanded.length;
            expect(unhanded).toEqual(taken.slice(from));
            expect(from).toBeGreaterThanOrEqual(least);
            expect(from).toBeLessThanOrEqual(mark);
            expect(taken.every(({ key }) => inbox.has(key))).toBe(true);
            expect(inbox.cursor).toEqual(taken.at(-1)?.cursor ?? null);
            [mark, writtenMark] = [from, from];
          };
          for (const each of steps) {
            if (each.do === 'append') {
              const known = new Set(taken.map(({ key }) => key));
              const results = await Promise.all(
                each.keys.map((key) => inbox.append(arrival(`k${key}`, { cursor: [key] }))),
              );
              const entries = results.filter((entry) => entry !== null);
              expect(entries.map(({ key }) => key)).toEqual(
                [...new Set(each.keys.map((key) => `k${key}`))].filter((key) => !known.has(key)),
              );
              taken.push(...entries);
              expect(taken.map(({ n }) => n)).toEqual(taken.map((_, index) => index + 1));
              if (entries.length > 0) writtenMark = mark;
            } else if (each.do === 'mark') {
              const n = Math.round(each.share * taken.length);
              inbox.mark(n);
              mark = Math.max(mark, n);
            } else if (each.do === 'limits') {
              inbox.keepLimits(limitsOf(each.value));
            } else if (each.do === 'reopen') {
              const { limits } = inbox;
              await reopen();
              checkStart(mark);
              expect(inbox.limits).toEqual(limits);
            } else {
              await harness.tear(NAME, each.torn);
              await restart();
              checkStart(writtenMark);
            }
          }
        }),
        { numRuns: 60 },
      );
    });
  });
}
