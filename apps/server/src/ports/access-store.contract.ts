import { isDeepStrictEqual } from 'node:util';
import { DuragentError } from '@duragent/protocol';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AccessBook, AccessStore, Pairing, PairingRequest } from './access-store.ts';

/** What an access book is kept in, and stores over it. */
export interface AccessHarness {
  /** A store over all that earlier ones left, as a new process would open it. */
  open(): AccessStore;
  dispose(): Promise<void>;
}

/** Somebody who was let in, for tests. */
export function pairing(sender: string, more: Partial<Pairing> = {}): Pairing {
  return {
    agent: 'echo',
    sender: `telegram:${sender}`,
    name: `Käthe ${sender}`,
    at: '2026-11-21T12:00:00.000Z',
    by: 'cli',
    ...more,
  };
}

/** Somebody who asked to be, for tests. */
export function request(code: string, more: Partial<PairingRequest> = {}): PairingRequest {
  return {
    code,
    agent: 'echo',
    sender: 'telegram:9',
    name: 'Otto',
    chat: { gateway: 'telegram', chat_id: '-100123' },
    expires_at: '2026-11-21T13:00:00.000Z',
    ...more,
  };
}

const EMPTY: AccessBook = { pairings: [], requests: [] };

function refusal(code: string): unknown {
  return expect.objectContaining({ code, constructor: DuragentError });
}

const addPairing =
  (sender: string) =>
  (book: AccessBook): AccessBook => ({ ...book, pairings: [...book.pairings, pairing(sender)] });

/** What every `AccessStore` promises. */
export function accessStoreContract(name: string, makeHarness: () => Promise<AccessHarness>): void {
  describe(name, () => {
    let harness: AccessHarness;
    let store: AccessStore;
    beforeEach(async () => {
      harness = await makeHarness();
      store = harness.open();
    });
    afterEach(() => harness.dispose());

    test('a new book is empty', async () => {
      expect(await store.read()).toEqual(EMPTY);
    });

    test('what was changed is read, also after a restart', async () => {
      const book = {
        pairings: [pairing('1'), pairing('2', { by: 'telegram:1', name: '' })],
        requests: [
          request('23456789'),
          request('ABCDEFGH', { chat: { gateway: 'slack', chat_id: 'C1', thread_id: '1.2' } }),
        ],
      };
      expect(await store.update(() => book)).toEqual(book);
      expect(await store.read()).toEqual(book);
      expect(await harness.open().read()).toEqual(book);
    });

    test('changes run one after another, each on what the one before made', async () => {
      const senders = Array.from({ length: 20 }, (_, index) => `${index}`);
      await Promise.all(senders.map((sender) => store.update(addPairing(sender))));
      const { pairings } = await harness.open().read();
      expect(pairings.map(({ sender }) => sender)).toEqual(
        senders.map((each) => `telegram:${each}`),
      );
    });

    test('a change that fails changes nothing, and the next one goes on', async () => {
      await store.update(addPairing('1'));
      const fault = new Error('no');
      const failed = store.update(() => {
        throw fault;
      });
      const next = store.update(addPairing('2'));
      await expect(failed).rejects.toBe(fault);
      expect((await next).pairings).toHaveLength(2);
    });

    test('what a change does to the book that it is given does not count', async () => {
      await store.update(addPairing('1'));
      await store.update((book) => {
        const before = structuredClone(book);
        book.pairings.push(pairing('2'));
        return before;
      });
      expect(await store.read()).toEqual({ pairings: [pairing('1')], requests: [] });
    });

    test('what is read cannot be changed', async () => {
      await store.update((book) => ({ ...addPairing('1')(book), requests: [request('ABCDEFGH')] }));
      const { pairings, requests } = await store.read();
      expect(() => pairings.push(pairing('2'))).toThrow(TypeError);
      expect(() => Object.assign(requests[0]?.chat ?? {}, { chat_id: '2' })).toThrow(TypeError);
      expect((await store.read()).pairings).toHaveLength(1);
    });

    test('10,000 pairings and 1,000 requests are kept, and not one more', async () => {
      const pairings = Array.from({ length: 10_000 }, (_, index) => pairing(`${index}`));
      const requests = Array.from({ length: 1000 }, () => request('ABCDEFGH'));
      await store.update(() => ({ pairings, requests }));
      for (const more of [
        { pairings: [...pairings, pairing('x')], requests },
        { pairings, requests: [...requests, request('ABCDEFGH')] },
      ]) {
        await expect(store.update(() => more)).rejects.toEqual(refusal('queue_full'));
      }
      expect(isDeepStrictEqual(await harness.open().read(), { pairings, requests })).toBe(true);
    });

    test.each<[string, Partial<AccessBook>]>([
      ['a sender without a gateway', { pairings: [pairing('1', { sender: '123' })] }],
      ['an empty sender', { pairings: [pairing('')] }],
      ['a pattern for a sender', { pairings: [pairing('*')] }],
      ['no name of an agent', { pairings: [pairing('1', { agent: '../x' })] }],
      ['no instant', { pairings: [pairing('1', { at: 'yesterday' })] }],
      ['somebody unknown who let them in', { pairings: [pairing('1', { by: 'me' })] }],
      ['a code with an O', { requests: [request('ABCDEFGO')] }],
      ['a code that is too short', { requests: [request('ABCDEFG')] }],
      [
        'a chat without an id',
        { requests: [request('ABCDEFGH', { chat: { gateway: 'a', chat_id: '' } })] },
      ],
    ])('%s is not kept', async (_, wrong) => {
      await expect(store.update((book) => ({ ...book, ...wrong }))).rejects.toEqual(
        refusal('internal'),
      );
      expect(await store.read()).toEqual(EMPTY);
    });

    const text = fc.string({ unit: 'binary', maxLength: 30 });
    const wellFormed = text.map((each) => each.toWellFormed());
    const id = wellFormed.filter((each) => each !== '' && !/^\s|\s$|\*/.test(each));
    const pairings = fc.array(
      fc.record({
        sender: id.map((each) => `telegram:${each}`),
        name: wellFormed,
        agent: fc.constantFrom('a', 'b'),
      }),
      { maxLength: 6 },
    );
    const requests = fc.array(
      fc.record({
        code: fc.constantFrom('23456789', '2E345678', 'ABCDEFGH', 'NULLNULL'.replaceAll('L', 'K')),
        name: wellFormed,
        chat: fc.record(
          { gateway: fc.constant('telegram'), chat_id: id, thread_id: id },
          { requiredKeys: ['gateway', 'chat_id'] },
        ),
      }),
      { maxLength: 4 },
    );

    test('whatever people are called, what was changed is what is read', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.record({ pairings, requests }), { minLength: 1, maxLength: 4 }),
          async (books) => {
            for (const each of books) {
              const book: AccessBook = {
                pairings: each.pairings.map((more) => pairing('1', more)),
                requests: each.requests.map(({ code, ...more }) => request(code, more)),
              };
              await store.update(() => book);
              expect(await harness.open().read()).toEqual(book);
            }
          },
        ),
        { numRuns: 25 },
      );
    });
  });
}
