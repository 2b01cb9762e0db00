import { crc32 } from 'node:zlib';
import { DuragentError, MAX_RECORD_BYTES, type SessionEvent } from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SessionLog, SessionStore } from './session-store.ts';
import {
  chainHolds,
  linesOf,
  message,
  messages,
  OTHER,
  SESSION,
  summaryOf,
} from './session-store.testing.ts';

/** What a store keeps, and stores over it. */
export interface StoreHarness {
  /** A store over all that earlier ones left, as a new process would open it. */
  open(): Promise<SessionStore>;
  readSnapshot(session: string): Promise<string | null>;
  /** Puts a snapshot there that the store did not write. */
  putSnapshot(session: string, text: string): Promise<void>;
  dispose(): Promise<void>;
}

function refusal(code: string): unknown {
  return expect.objectContaining({ code, constructor: DuragentError });
}

/** What every `SessionStore` promises. */
export function sessionStoreContract(name: string, makeHarness: () => Promise<StoreHarness>): void {
  describe(name, () => {
    let harness: StoreHarness;
    let store: SessionStore;
    beforeEach(async () => {
      harness = await makeHarness();
      store = await harness.open();
    });
    afterEach(() => harness.dispose());

    async function created(count: number): Promise<SessionLog> {
      const log = await store.create(SESSION);
      if (count > 0) await log.append(messages(1, count), 0);
      return log;
    }
    /** Closes the log and opens it in a new store. */
    async function reopened(log: SessionLog, ignoreSnapshot = false) {
      await log.close(summaryOf(log.session, log.lastSeq));
      await store.close();
      store = await harness.open();
      return store.open(log.session, { ignoreSnapshot });
    }

    describe('creating and opening', () => {
      test('a new log is empty, and takes events from seq 1', async () => {
        const log = await store.create(SESSION);
        expect([log.session, log.lastSeq, log.quarantine]).toEqual([SESSION, 0, null]);
        expect(await log.read(0, 10)).toEqual([]);
        await log.append([message(1)], 0);
        expect(log.lastSeq).toBe(1);
      });

      test('a session is made once', async () => {
        const log = await created(1);
        await expect(store.create(SESSION)).rejects.toEqual(refusal('conflict'));
        await log.close(summaryOf(SESSION, 1));
        await expect(store.create(SESSION)).rejects.toEqual(refusal('conflict'));
      });

      test('an open log is not opened again: it has one writer', async () => {
        const log = await created(1);
        await expect(store.open(SESSION)).rejects.toEqual(refusal('conflict'));
        await log.close(summaryOf(SESSION, 1));
        expect((await store.open(SESSION)).records).toHaveLength(1);
      });

      test.each([OTHER, '', '..', '../..', `../${SESSION}`, `${SESSION}/..`, 'session_x', 'OPEN'])(
        'the id %j is not found, whatever is asked for',
        async (id) => {
          await created(1);
          await expect(store.open(id)).rejects.toEqual(refusal('session_not_found'));
          await expect(store.delete(id)).rejects.toEqual(refusal('session_not_found'));
          if (id === OTHER) return;
          await expect(store.create(id)).rejects.toEqual(refusal('session_not_found'));
        },
      );

      test('closing and opening gives all records, byte for byte, and the chain goes on', async () => {
        const log = await created(0);
        const written = linesOf(await log.append(messages(1, 3), 0));
        const opened = await reopened(log);
        expect(opened.snapshot).toBeNull();
        expect(opened.torn).toBeNull();
        expect(linesOf(opened.records)).toEqual(written);
        expect(opened.log.lastSeq).toBe(3);
        written.push(...linesOf(await opened.log.append([message(4)], 3)));
        const again = await reopened(opened.log);
        expect(linesOf(again.records)).toEqual(written);
        expect(
          chainHolds(written.slice(1), Number.parseInt(written[0]?.slice(-10, -2) ?? '', 16)),
        ).toBe(true);
      });

      test('a log that nothing was appended to opens as empty', async () => {
        const opened = await reopened(await created(0));
        expect([opened.records, opened.log.lastSeq, opened.torn]).toEqual([[], 0, null]);
        await opened.log.append([message(1)], 0);
      });
    });

    describe('appending', () => {
      test('a line begins with seq, epoch, at and type and ends with its crc, whatever order it came in', async () => {
        const log = await created(0);
        const { seq, epoch, at, type, ...own } = message(1);
        const [record] = await log.append([{ ...own, type, at, epoch, seq } as SessionEvent], 0);
        expect(record?.line).toMatch(
          /^\{"seq":1,"epoch":1,"at":"2026-11-21T12:00:00\.000Z","type":"user_message",".*,"crc":"[0-9a-f]{8}"\}$/,
        );
        expect(record?.event).toEqual(message(1));
        expect((await log.read(0, 1))[0]).toEqual(record);
      });

      test('a wrong expected seq, a gap or a repeated seq writes nothing', async () => {
        const log = await created(2);
        for (const [events, expected] of [
          [[message(2)], 1],
          [[message(4)], 3],
          [[message(4)], 2],
          [[message(3), message(3)], 2],
          [[message(3), message(5)], 2],
        ] as const) {
          await expect(log.append(events, expected)).rejects.toEqual(refusal('seq_conflict'));
        }
        expect(log.lastSeq).toBe(2);
        expect((await reopened(log)).records).toHaveLength(2);
      });

      test('a falling epoch is refused before it is written', async () => {
        const log = await created(0);
        await log.append([message(1, 'later', 7)], 0);
        await expect(log.append([message(2, 'earlier', 6)], 1)).rejects.toEqual(
          refusal('epoch_lost'),
        );
        await log.append([message(2, 'same', 7)], 1);
      });

      test('overlapping appends are all stored, in the order of the calls', async () => {
        const log = await created(0);
        const calls = Array.from({ length: 50 }, (_, call) =>
          log.append(messages(call * 2 + 1, call * 2 + 2), call * 2),
        );
        expect(log.lastSeq).toBe(100);
        const stale = log.append([message(1)], 0);
        await expect(stale).rejects.toEqual(refusal('seq_conflict'));
        const lines = linesOf((await Promise.all(calls)).flat());
        expect(linesOf(await log.read(0, 1000))).toEqual(lines);
        expect(linesOf((await reopened(log)).records)).toEqual(lines);
      });

      test('a log that is abandoned takes no more, and what it has stays', async () => {
        const log = await created(1);
        log.abandon(new DuragentError('epoch_lost', 'Another server took over.'));
        await expect(log.append([message(2)], 1)).rejects.toEqual(refusal('epoch_lost'));
        await expect(log.writeSnapshot({}, 1, 1)).rejects.toEqual(refusal('epoch_lost'));
        expect((await reopened(log)).records).toHaveLength(1);
      });

      test('no events are no append', async () => {
        const log = await created(1);
        expect(await log.append([], 1)).toEqual([]);
        expect(log.lastSeq).toBe(1);
      });

      test('a record over 1 MiB is refused with all of its append, and the next one follows as if it had not been', async () => {
        const log = await created(1);
        const large = message(3, 'ä'.repeat(MAX_RECORD_BYTES / 2));
        await expect(log.append([message(2), large], 1)).rejects.toEqual(
          refusal('record_too_large'),
        );
        expect(log.lastSeq).toBe(1);
        const fits = message(2, 'x'.repeat(MAX_RECORD_BYTES - 300));
        await log.append([fits], 1);
        const { records } = await reopened(log);
        expect(records.map(({ event }) => event)).toEqual([message(1), fits]);
      });

      test('unknown events and fields pass through byte for byte', async () => {
        const log = await created(0);
        const strange = {
          ...message(1),
          type: 'planet_seen',
          z: { '10': 1, a: [null, 1.5e300, ' \n'], crc: 'no' },
          '7': true,
        } as unknown as SessionEvent;
        const extended = { ...message(2), extra: { deep: ['ü', '𝒳', '\ud800'] } };
        const lines = linesOf(await log.append([strange, extended], 0));
        const opened = await reopened(log);
        expect(linesOf(opened.records)).toEqual(lines);
        expect(opened.records.map(({ event }) => event)).toEqual([strange, extended]);
        expect(lines[0]).toMatch(/^\{"seq":1,"epoch":1,/);
      });
    });

    describe('reading', () => {
      test('pages follow each other to the end', async () => {
        const log = await created(25);
        const all = linesOf(await log.read(0, 100));
        expect(all).toHaveLength(25);
        const paged: string[] = [];
        for (let page; (page = await log.read(paged.length, 7)).length > 0;) {
          expect(page.length).toBe(Math.min(7, 25 - paged.length));
          paged.push(...linesOf(page));
        }
        expect(paged).toEqual(all);
      });

      test('any place can be asked for', async () => {
        const log = await created(40);
        for (const after of [39, 3, 20, 0, 38, 21, 1]) {
          const page = await log.read(after, 2);
          expect(page.map(({ event }) => event.seq)).toEqual(
            [after + 1, after + 2].filter((seq) => seq <= 40),
          );
        }
        expect(await log.read(40, 5)).toEqual([]);
        expect(await log.read(1000, 5)).toEqual([]);
        expect(await log.read(5, 0)).toEqual([]);
      });
    });

    describe('the snapshot', () => {
      async function withSnapshot(): Promise<SessionLog> {
        const log = await created(10);
        await log.writeSnapshot({ counters: { turns: 2 }, text: 'ä"\n' }, 8, 4);
        return log;
      }
      async function edited(change: (snapshot: Record<string, unknown>) => unknown) {
        const log = await withSnapshot();
        const text = await harness.readSnapshot(SESSION);
        const changed = change(JSON.parse(text ?? '') as Record<string, unknown>);
        await harness.putSnapshot(SESSION, JSON.stringify(withSum(changed)));
        return reopened(log);
      }

      /** With the sum that fits, so that what is tested is not just the sum. */
      function withSum(content: unknown): unknown {
        const { sum: _, ...rest } = content as Record<string, unknown>;
        return { ...rest, sum: crc32(JSON.stringify(rest)).toString(16).padStart(8, '0') };
      }

      test('with one changed digit is not used, also where it fits the log', async () => {
        const log = await withSnapshot();
        const text = (await harness.readSnapshot(SESSION)) ?? '';
        await harness.putSnapshot(SESSION, text.replace('"turns": 2', '"turns": 3'));
        const opened = await reopened(log);
        expect(opened.snapshot).toBeNull();
        expect(opened.records).toHaveLength(10);
      });

      test('is given back with the records of its window', async () => {
        const { snapshot, records, log } = await reopened(await withSnapshot());
        expect(snapshot).toEqual({ state: { counters: { turns: 2 }, text: 'ä"\n' }, seq: 8 });
        expect(records.map(({ event }) => event.seq)).toEqual([4, 5, 6, 7, 8, 9, 10]);
        expect(log.lastSeq).toBe(10);
        expect(await log.read(0, 100)).toHaveLength(10);
        await log.append([message(11)], 10);
      });

      test('is replaced by the next one', async () => {
        const log = await withSnapshot();
        await Promise.all([
          log.writeSnapshot({ n: 1 }, 9, 5),
          log.writeSnapshot({ n: 2 }, 10, 6),
          log.append([message(11)], 10),
        ]);
        const opened = await reopened(log);
        expect(opened.snapshot).toEqual({ state: { n: 2 }, seq: 10 });
        expect(opened.records[0]?.event.seq).toBe(6);
        expect(opened.log.lastSeq).toBe(11);
      });

      test('may have a window that is the whole log, or empty', async () => {
        const log = await withSnapshot();
        await log.writeSnapshot({}, 10, 1);
        const whole = await reopened(log);
        expect(whole.snapshot?.seq).toBe(10);
        expect(whole.records).toHaveLength(10);
        await whole.log.writeSnapshot({}, 10, 11);
        const none = await reopened(whole.log);
        expect(none.snapshot?.seq).toBe(10);
        expect(none.records).toEqual([]);
        expect(none.log.lastSeq).toBe(10);
        await none.log.append([message(11)], 10);
        expect((await reopened(none.log)).records.map(({ event }) => event.seq)).toEqual([11]);
      });

      test('is not read when the whole log is asked for', async () => {
        const opened = await reopened(await withSnapshot(), true);
        expect(opened.snapshot).toBeNull();
        expect(opened.records).toHaveLength(10);
      });

      test('of what is not durable yet is refused', async () => {
        const log = await created(2);
        await expect(log.writeSnapshot({}, 3, 1)).rejects.toEqual(refusal('internal'));
      });

      test.each<[string, (snapshot: Record<string, unknown>) => unknown]>([
        ['with another CRC', (snapshot) => ({ ...snapshot, crc: '00000000' })],
        ['of another session', (snapshot) => ({ ...snapshot, session: OTHER })],
        ['of an unknown version', (snapshot) => ({ ...snapshot, duragent_snapshot: 2 })],
        [
          'whose window begins elsewhere',
          (snapshot) => ({
            ...snapshot,
            window: {
              ...(snapshot['window'] as object),
              prev_crc: '12345678',
              offset: 200,
              seq: 9,
            },
          }),
        ],
        [
          'whose window is in another file',
          (snapshot) => ({
            ...snapshot,
            window: { ...(snapshot['window'] as object), file: '../../OPEN' },
          }),
        ],
        ['without a window', (snapshot) => ({ ...snapshot, window: undefined })],
        ['that is no object', () => [1, 2]],
      ])('%s is not used', async (_, change) => {
        const { snapshot, records, log } = await edited(change);
        expect(snapshot).toBeNull();
        expect(records).toHaveLength(10);
        expect(log.quarantine).toBeNull();
        await log.append([message(11)], 10);
      });

      test.each(['', '{"duragent_snapshot":1,', 'state: yaml', '\0\0\0'])(
        'that is %j is not used',
        async (text) => {
          const log = await withSnapshot();
          await harness.putSnapshot(SESSION, text);
          const opened = await reopened(log);
          expect(opened.snapshot).toBeNull();
          expect(opened.records).toHaveLength(10);
          expect(opened.log.quarantine).toBeNull();
        },
      );

      test('ahead of the log is not used: durable records are gone, so the log is read only', async () => {
        const { snapshot, records, log } = await edited((content) => ({ ...content, seq: 12 }));
        expect(snapshot).toBeNull();
        expect(records).toHaveLength(10);
        expect(log.quarantine?.reason).toContain('snapshot');
        expect(await log.read(0, 100)).toHaveLength(10);
        await expect(log.append([message(11)], 10)).rejects.toEqual(refusal('session_quarantined'));
        expect(await store.summaries()).toEqual([]);
        const again = await reopened(log);
        expect(await store.unclean()).toEqual([SESSION]);
        expect(again.log.quarantine).not.toBeNull();
      });
    });

    describe('listing', () => {
      test('a session is unclean from its first append to its close', async () => {
        const log = await created(1);
        expect(await store.summaries()).toEqual([]);
        expect(await (await harness.open()).unclean()).toEqual([SESSION]);
        await log.close(summaryOf(SESSION, 1));
        expect(await store.unclean()).toEqual([]);
        expect(await store.summaries()).toEqual([summaryOf(SESSION, 1)]);
        await store.close();

        store = await harness.open();
        expect(await store.unclean()).toEqual([]);
        expect(await store.summaries()).toEqual([summaryOf(SESSION, 1)]);
        const opened = await store.open(SESSION);
        expect(await store.summaries()).toEqual([summaryOf(SESSION, 1)]);
        await opened.log.append([message(2)], 1);
        expect(await store.summaries()).toEqual([]);
        expect(await store.unclean()).toEqual([SESSION]);
        await opened.log.close(summaryOf(SESSION, 2));
        expect(await store.summaries()).toEqual([summaryOf(SESSION, 2)]);
      });

      test('a deleted session is nowhere', async () => {
        const log = await created(3);
        await log.writeSnapshot({}, 3, 1);
        await expect(store.delete(SESSION)).rejects.toEqual(refusal('conflict'));
        await log.close(summaryOf(SESSION, 3));
        await store.delete(SESSION);
        for (let start = 0; start < 2; start += 1) {
          expect(await store.summaries()).toEqual([]);
          expect(await store.unclean()).toEqual([]);
          await expect(store.open(SESSION)).rejects.toEqual(refusal('session_not_found'));
          await expect(store.delete(SESSION)).rejects.toEqual(refusal('session_not_found'));
          await store.close();
          store = await harness.open();
        }
      });

      test('a closed log takes and gives nothing', async () => {
        const log = await created(1);
        await log.close(summaryOf(SESSION, 1));
        await log.close(summaryOf(SESSION, 1));
        await expect(log.append([message(2)], 1)).rejects.toEqual(refusal('storage_failed'));
        await expect(log.read(0, 1)).rejects.toEqual(refusal('storage_failed'));
        await expect(log.writeSnapshot({}, 1, 1)).rejects.toEqual(refusal('storage_failed'));
      });

      test('closing waits for what was appended', async () => {
        const log = await created(0);
        const calls = [log.append([message(1)], 0), log.append([message(2)], 1)];
        await log.close(summaryOf(SESSION, 2));
        expect((await Promise.all(calls)).flat()).toHaveLength(2);
        expect((await store.open(SESSION)).records).toHaveLength(2);
      });
    });
  });
}
