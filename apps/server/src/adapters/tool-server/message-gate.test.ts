import { beforeEach, describe, expect, test } from 'vitest';
import type { Clock } from '../../ports/clock.ts';
import { MessageGate } from './message-gate.ts';

let now: number;
let floods: number;
let texts: string[];
let gate: MessageGate;
beforeEach(() => {
  now = 0;
  floods = 0;
  texts = [];
  const clock: Clock = { now: () => now, monotonic: () => now, after: () => () => undefined };
  gate = new MessageGate({
    clock,
    limits: { maxNoiseLines: 10, maxNoiseBytes: 1000, noiseWindowMs: 1000 },
    onFlood: () => void (floods += 1),
    onText: (text) => texts.push(text),
  });
});

const request = (id: number | string) => ({ jsonrpc: '2.0' as const, id, method: 'tools/call' });
const answer = (id: unknown) => ({ jsonrpc: '2.0', id, result: {} });
const take = (value: Record<string, unknown>) => gate.takeMessage(value, 1);
const unread = { type: 'unread', why: 'it is too long', bytes: 1 } as const;

describe('an answer', () => {
  test('goes to the client once, and only to a request that is open', () => {
    gate.sent(request(0));
    expect(take(answer(1))).toEqual([]);
    expect(take(answer(0))).toEqual([answer(0)]);
    expect(take(answer(0))).toEqual([]);
  });

  test.each([null, '', '0', true, [], {}, undefined, 0.5])('to %j is to nobody', (id) => {
    gate.sent(request(0));
    gate.sent(request(1));
    expect(take(answer(id))).toEqual([]);
    expect(take(answer(0))).toHaveLength(1);
  });

  test('to a request that was cancelled is to nobody', () => {
    gate.sent(request(3));
    gate.sent({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 3 } });
    expect(take(answer(3))).toEqual([]);
  });

  test.each([
    { jsonrpc: '2.0', id: 5, result: 'text' },
    { jsonrpc: '2.0', id: 5, error: 'text' },
    { jsonrpc: '2.0', id: 5, error: { code: 'x', message: 'y' } },
    { jsonrpc: '2.0', id: 5 },
    { id: 5, result: {} },
    { jsonrpc: '2.0', id: 5, result: {}, error: { code: 1, message: 'y' } },
  ])('%j is an error of its request', (value) => {
    gate.sent(request(5));
    expect(take(value)).toEqual([
      {
        jsonrpc: '2.0',
        id: 5,
        error: { code: -32000, message: expect.stringContaining('no MCP') },
      },
    ]);
    expect(take(value)).toEqual([]);
  });

  test('that cannot be read fails the requests only when each may have got one', () => {
    gate.sent(request(1));
    gate.sent(request(2));
    expect(gate.take(unread)).toEqual([]);
    expect(gate.take(unread)).toMatchObject([{ id: 1 }, { id: 2 }]);
    gate.sent(request(3));
    gate.sent(request(4));
    expect(gate.take(unread)).toEqual([]);
    expect(take(answer(3))).toHaveLength(1);
  });
});

describe('what answers nothing', () => {
  test('goes on where the client knows it', () => {
    const progress = { jsonrpc: '2.0', method: 'notifications/progress', params: {} };
    const ping = { jsonrpc: '2.0', id: 'q', method: 'ping' };
    expect(take(progress)).toEqual([progress]);
    expect(take(ping)).toEqual([ping]);
    expect(take({ jsonrpc: '2.0', method: 'notifications/of-others' })).toEqual([]);
    expect(take({ jsonrpc: '2.0', method: 'ping', id: null })).toEqual([]);
    expect(take({ jsonrpc: '2.0', method: 'ping', id: 1, params: [] })).toEqual([]);
  });

  test('is told where it is for people', () => {
    take({ jsonrpc: '2.0', method: 'notifications/message', params: { data: { a: 1 } } });
    gate.take({ type: 'other', text: 'hello', bytes: 5 });
    expect(texts).toEqual(['{"a":1}', 'hello']);
  });

  test('may come so often within a window', () => {
    for (let at = 0; at < 10; at += 1) take(answer(99));
    expect(floods).toBe(0);
    now = 1000;
    for (let at = 0; at < 10; at += 1) take(answer(99));
    expect(floods).toBe(0);
    take(answer(99));
    expect(floods).toBe(1);
  });

  test('may be so large within a window', () => {
    gate.noise(1000);
    expect(floods).toBe(0);
    gate.noise(1);
    expect(floods).toBe(1);
  });
});
