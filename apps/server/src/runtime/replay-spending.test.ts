import type { EventOf, SessionEvent } from '@duragent/protocol';
import { describe, expect, test } from 'vitest';
import { foldLog } from '../core/session/fold.ts';
import { summarize } from '../core/session/summary.ts';
import { START, testRules } from '../core/session/testing.ts';
import { decide } from '../core/session/decide.ts';
import { initialState } from '../core/session/state.ts';
import { replaySpending } from './replay-spending.ts';

const NOON = Date.parse('2026-03-01T12:00:00.000Z');
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const log = { info() {}, warn() {}, error() {} };
const begun = decide(initialState(), START, testRules())[0]?.event;

type Fact = Record<string, unknown> & { type: SessionEvent['type'] };

const usage = { input_tokens: 10, output_tokens: 5, usd: 0.5 };

/** A message of a person of a chat, and the turn that answers it, with one call. */
function turn(name: string): Fact[] {
  const limits = testRules().limits;
  const chat = {
    gateway: 'telegram',
    account: 'telegram',
    chat_id: '7',
    chat_type: 'dm' as const,
    message_id: '1',
  };
  const of = { turn: `turn_${name}`, step: 1, attempt: 1 };
  const [content, tool_calls] = [[{ type: 'text', text: name }], []];
  return [
    {
      type: 'user_message',
      message_id: `msg_${name}`,
      source: { kind: 'gateway', sender: { id: name }, chat },
      content,
      handling: 'turn',
    },
    {
      type: 'turn_started',
      turn: of.turn,
      trigger: [`msg_${name}`],
      agent_hash: 'h',
      limits,
      queue: 'sequential',
    },
    {
      type: 'assistant_message',
      ...of,
      message_id: `msg_a${name}`,
      input_seq: 1,
      content,
      tool_calls,
      finish_reason: 'stop',
      usage,
      model: 'x/y',
      deliveries: [],
    },
    { type: 'turn_finished', turn: of.turn, outcome: 'completed', usage },
  ];
}

/** A log of these facts, each at its instant, that counts what is read of it. */
class CountedLog {
  readonly events: SessionEvent[] = [];
  readCount = 0;

  constructor(facts: readonly { at: number; fact: Fact }[]) {
    const first = { ...begun, at: new Date(NOON - 10 * DAY).toISOString() };
    this.events.push(first as EventOf<'session_started'>);
    for (const { at, fact } of facts) {
      const stamp = { seq: this.events.length + 1, epoch: 1, at: new Date(at).toISOString() };
      this.events.push({ ...stamp, ...fact } as SessionEvent);
    }
  }

  get lastSeq(): number {
    return this.events.length;
  }

  async read(after: number, limit: number) {
    // Fewer than asked for, as where records are large.
    const found = this.events.slice(after, after + Math.min(limit, 70));
    this.readCount += found.length;
    return found.map((event) => ({ event, line: '' }));
  }
}

const at = (when: number, facts: readonly Fact[]) => facts.map((fact) => ({ at: when, fact }));

async function replay(of: CountedLog, { isOpen = false, epoch = 2, since = NOON - HOUR } = {}) {
  const opened: string[] = [];
  const calls = await Array.fromAsync(
    replaySpending(since, {
      sessions: {
        summaries: () => [summarize(foldLog(null, of.events).state)],
        opened: () => (isOpen ? of : undefined),
        open: (session) => {
          opened.push(session);
          return Promise.resolve(of);
        },
      },
      epoch,
      log,
    }),
  );
  const since_ = calls.filter((call) => Date.parse(call.at) >= since);
  return { calls: since_.map(({ sender, usd }) => ({ sender, usd })), opened };
}

const ann = { sender: 'telegram:ann', usd: 0.5 };

describe('replayed spending', () => {
  const old = Array.from({ length: 1000 }, (_, i) => at(NOON - DAY + i, turn(`old${i}`))).flat();

  test('is of the calls since then, and reads little of a long log', async () => {
    const of = new CountedLog([...old, ...at(NOON, turn('ann'))]);
    expect(await replay(of)).toEqual({ calls: [ann], opened: ['session_01'] });
    expect(of.readCount).toBeLessThan(500);
  });

  test('knows whose call it was, however long ago the message and the turn began', async () => {
    const [message, started, call] = turn('ann');
    if (!message || !started || !call) throw new Error('no turn');
    const of = new CountedLog([
      ...at(NOON - DAY, [message]),
      ...old.slice(0, 1200),
      ...at(NOON - DAY, [started]),
      ...Array.from({ length: 300 }, () => ({
        at: NOON - DAY,
        fact: { type: 'setting_changed', name: 'queue', value: null, by: 'http' } as const,
      })),
      ...at(NOON, [call]),
    ]);
    expect((await replay(of)).calls).toEqual([ann]);
  });

  test('does not begin a session that waits to go on after the start', async () => {
    const of = new CountedLog(at(NOON, turn('ann')));
    expect(await replay(of, { isOpen: true })).toEqual({ calls: [ann], opened: [] });
  });

  test('opens no session that spent nothing', async () => {
    const free = turn('ann').map((fact) => ({ ...fact, usage: { ...usage, usd: undefined } }));
    const of = new CountedLog(at(NOON, free));
    expect(await replay(of)).toEqual({ calls: [], opened: [] });
  });

  test('leaves out what this process recorded', async () => {
    const of = new CountedLog(at(NOON, turn('ann')));
    expect((await replay(of, { epoch: 1 })).calls).toEqual([]);
  });
});
