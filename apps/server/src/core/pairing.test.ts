import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  approvePairing,
  makePairingCode,
  openRequests,
  pairedSenders,
  readPairingCode,
  requestPairing,
  revokePairing,
  type AccessBook,
} from './pairing.ts';

const NOW = Date.parse('2026-11-20T10:00:00.000Z');
const HOUR = 3_600_000;
const EMPTY: AccessBook = { pairings: [], requests: [] };
const CODES = ['AAAABBBB', 'CCCCDDDD', 'EEEEFFFF', 'GGGGHHHH', 'JJJJKKKK'] as const;
const codeOf = (index: number): string => CODES[index] ?? 'ZZZZZZZZ';

const asked = (index: number, change: object = {}) => ({
  code: codeOf(index),
  agent: 'a',
  sender: `telegram:${index}`,
  name: `Person ${index}`,
  chat: { gateway: 'telegram', chat_id: `${index}` },
  now: NOW,
  ...change,
});

function request(book: AccessBook, ...given: Parameters<typeof asked>): AccessBook {
  const result = requestPairing(book, asked(...given));
  if ('refused' in result) throw new Error(result.refused);
  return result.book;
}

describe('a request', () => {
  it('is kept for an hour', () => {
    const result = requestPairing(EMPTY, asked(0));
    expect(result).toEqual({
      book: {
        pairings: [],
        requests: [
          {
            code: 'AAAABBBB',
            agent: 'a',
            sender: 'telegram:0',
            name: 'Person 0',
            chat: { gateway: 'telegram', chat_id: '0' },
            expires_at: '2026-11-20T11:00:00.000Z',
          },
        ],
      },
      request: expect.objectContaining({ code: 'AAAABBBB' }) as unknown,
      isNew: true,
    });
    const book = request(EMPTY, 0);
    expect(openRequests(book, NOW + HOUR - 1)).toHaveLength(1);
    expect(openRequests(book, NOW + HOUR)).toEqual([]);
  });

  it('of a sender who has one gets the same code, which lives no longer for it', () => {
    const book = request(EMPTY, 0);
    const again = requestPairing(book, asked(0, { code: codeOf(1), now: NOW + HOUR - 1 }));
    expect(again).toEqual({ book, request: book.requests[0], isNew: false });
    const later = requestPairing(book, asked(0, { code: codeOf(1), now: NOW + HOUR }));
    expect(later).toMatchObject({ request: { code: codeOf(1) }, isNew: true });
  });

  it('is the fourth of an agent: it is refused until one is over', () => {
    let book = EMPTY;
    for (const index of [0, 1, 2]) book = request(book, index, { now: NOW + index });
    expect(requestPairing(book, asked(3, { now: NOW + 2 }))).toEqual({ refused: 'too_many' });
    expect(requestPairing(book, asked(1, { now: NOW + 2 }))).toMatchObject({ isNew: false });
    book = request(book, 3, { now: NOW + HOUR });
    expect(book.requests.map(({ code }) => code)).toEqual([codeOf(1), codeOf(2), codeOf(3)]);
  });

  it('about another agent, or from another gateway, is another request', () => {
    let book = EMPTY;
    for (const index of [0, 1, 2]) book = request(book, index);
    book = request(book, 0, { code: codeOf(3), agent: 'b' });
    expect(book.requests).toHaveLength(4);
    expect(requestPairing(book, asked(0, { sender: 'discord:0' }))).toEqual({
      refused: 'too_many',
    });
  });

  it('whose end cannot be read is over', () => {
    const [one] = request(EMPTY, 0).requests;
    if (one === undefined) throw new Error('there is no request');
    const book = { ...EMPTY, requests: [{ ...one, expires_at: 'for ever' }] };
    expect(openRequests(book, NOW)).toEqual([]);
  });
});

describe('an approval', () => {
  const approve = (book: AccessBook, code: string, change: object = {}) =>
    approvePairing(book, { code, agent: null, by: 'cli', now: NOW, ...change });

  it('lets the sender in to that agent, and uses up the code', () => {
    const before = request(request(EMPTY, 0), 1);
    const result = approve(before, codeOf(0), { by: 'telegram:9', now: NOW + 5 });
    if ('refused' in result) throw new Error(result.refused);
    expect(result.pairing).toEqual({
      agent: 'a',
      sender: 'telegram:0',
      name: 'Person 0',
      at: '2026-11-20T10:00:00.005Z',
      by: 'telegram:9',
    });
    expect(result.request.chat).toEqual({ gateway: 'telegram', chat_id: '0' });
    expect(result.book).toEqual({
      pairings: [result.pairing],
      requests: before.requests.slice(1),
    });
    expect([...pairedSenders(result.book, 'a')]).toEqual(['telegram:0']);
    expect([...pairedSenders(result.book, 'b')]).toEqual([]);
    expect(approve(result.book, codeOf(0))).toEqual({ refused: 'unknown_code' });
  });

  it('takes the code in any case, with spaces and dashes', () => {
    const book = request(EMPTY, 0);
    for (const typed of ['aaaabbbb', 'AAAA-BBBB', ' aaaa bbbb\n', 'A-a-A-a—B b b b']) {
      expect(approve(book, typed)).toHaveProperty('pairing');
    }
  });

  it('of a code that is over, wrong, empty or of another agent lets nobody in', () => {
    const book = request(EMPTY, 0);
    const unknown = { refused: 'unknown_code' };
    expect(approve(book, codeOf(0), { now: NOW + HOUR })).toEqual(unknown);
    expect(approve(book, codeOf(0), { agent: 'b' })).toEqual(unknown);
    expect(approve(book, codeOf(0), { agent: 'a' })).toHaveProperty('pairing');
    for (const typed of ['', '-', 'AAAA', 'AAAABBBC', 'AAAABBBBB', 'appr_AAAABBBB', '********']) {
      expect(approve(book, typed)).toEqual(unknown);
    }
  });

  it('of a code that two requests have lets nobody in', () => {
    const book = request(request(EMPTY, 0), 1, { code: codeOf(0) });
    expect(approve(book, codeOf(0))).toEqual({ refused: 'unknown_code' });
  });

  it('of somebody who is in already leaves one pairing', () => {
    const once = approve(request(EMPTY, 0), codeOf(0));
    if ('refused' in once) throw new Error(once.refused);
    const twice = approve(request(once.book, 0), codeOf(0), { by: 'telegram:9' });
    expect(twice).toMatchObject({ book: { pairings: [{ by: 'telegram:9' }], requests: [] } });
  });
});

describe('a pairing that is revoked', () => {
  it('is gone, with the open code of its sender; others stay', () => {
    const pairing = (sender: string, agent: string) => {
      return { agent, sender, name: '', at: '2026-11-20T10:00:00.000Z', by: 'cli' };
    };
    const kept = [pairing('telegram:1', 'a'), pairing('telegram:0', 'b')];
    const book = request(
      request({ pairings: [pairing('telegram:0', 'a'), ...kept], requests: [] }, 0),
      1,
    );
    const result = revokePairing(book, { agent: 'a', sender: 'telegram:0' });
    expect(result).toEqual({
      book: { pairings: kept, requests: book.requests.slice(1) },
      revoked: true,
    });
    expect(revokePairing(result.book, { agent: 'a', sender: 'telegram:0' }).revoked).toBe(false);
  });
});

it('nothing changes a book that was given', () => {
  const freeze = (book: AccessBook): AccessBook => {
    Object.freeze(book.pairings);
    Object.freeze(book.requests);
    return Object.freeze(book);
  };
  const book = freeze(request(EMPTY, 0));
  requestPairing(book, asked(1));
  const approved = approvePairing(book, { code: codeOf(0), agent: 'a', by: 'cli', now: NOW });
  if ('refused' in approved) throw new Error(approved.refused);
  revokePairing(freeze(approved.book), { agent: 'a', sender: 'telegram:0' });
});

describe('a code', () => {
  it('is eight letters and digits that nobody mixes up, each equally likely', () => {
    const seen = new Map<string, number>();
    for (let index = 0; index < 31; index += 1) {
      const code = makePairingCode((max) => (expect(max).toBe(31), index));
      expect(code).toMatch(/^([A-HJKMNP-Z2-9])\1{7}$/);
      seen.set(code, index);
    }
    expect(seen.size).toBe(31);
  });

  it('is drawn letter by letter', () => {
    let drawn = 0;
    expect(makePairingCode(() => drawn++)).toBe('ABCDEFGH');
  });

  it('is read however it is typed', () => {
    const codes = fc
      .array(fc.nat(30), { minLength: 8, maxLength: 8 })
      .map((letters) => makePairingCode(() => letters.pop() ?? 0));
    const spaces = fc.array(fc.constantFrom('', ' ', '-', '\t', '–'), {
      minLength: 8,
      maxLength: 8,
    });
    fc.assert(
      fc.property(codes, spaces, (code, between) => {
        const typed = code.split('').map((letter, index) => letter.toLowerCase() + between[index]);
        expect(readPairingCode(typed.join(''))).toBe(code);
      }),
    );
  });

  it.each([
    '',
    'ABCDEFG',
    'ABCDEFGHJ',
    'ABCDEFG0',
    'ABCDEFGI',
    'ABCD_EFG',
    'ÀBCDEFGH',
    ' '.repeat(70),
  ])('is not %j', (typed) => {
    expect(readPairingCode(typed)).toBeNull();
  });
});
