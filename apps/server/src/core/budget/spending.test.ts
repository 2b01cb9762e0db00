import type { SessionEvent, StoredEvent } from '@duragent/protocol';
import { describe, expect, it } from 'vitest';
import { answer, Drive, failure, say, START } from '../session/testing.ts';
import type { SettledCall } from './settled-call.ts';
import { SpendingReader } from './spending.ts';

const usage = { input_tokens: 10, output_tokens: 5 };

function spendingOf(events: readonly StoredEvent[]): SettledCall[] {
  const reader = new SpendingReader({ session: '', agent: '' }, () => 0.25);
  return events.flatMap((event) => reader.add(event) ?? []);
}

/** What a log is to say of money: events with more fields than a test's driver gives them. */
function priced(event: SessionEvent, more: object): StoredEvent {
  return { ...event, ...more };
}

const address = { gateway: 'telegram', account: 'telegram', chat_id: '1' };
const chat = { ...address, chat_type: 'group' as const };

describe('the calls that a log charges', () => {
  it('are those that ended with a usage, each by its name', () => {
    const drive = new Drive();
    drive.submit(START);
    drive.submit(say('1'));
    drive.submit((state) => failure(state, { usage }));
    drive.submit((state) => failure(state));
    drive.submit((state) => answer(state));
    expect(spendingOf(drive.events)).toMatchObject([
      { session: 'session_01', agent: 'assistant', step: 1, attempt: 1, usage, usd: 0.25 },
      { turn: drive.last('turn_started').turn, step: 1, attempt: 3, model: 'echo/echo' },
    ]);
  });

  it('cost what was recorded with them, rather than what they would today', () => {
    const drive = new Drive();
    drive.submit(START);
    drive.submit(say('1'));
    drive.submit((state) => answer(state));
    const events = drive.events.map((event) =>
      event.type === 'assistant_message' ? priced(event, { usage: { ...usage, usd: 3 } }) : event,
    );
    expect(spendingOf(events)).toMatchObject([{ usage, usd: 3 }]);
  });

  it('are of the person whom the turn answers, and of nobody where no chat asked', () => {
    const drive = new Drive({ queue: 'sequential' });
    drive.submit(START);
    drive.submit({ type: 'bind', chat: { ...chat, inbox: 0, by: 'server' } });
    const from = (id: string, by: string) => {
      const inbox = { account: 'telegram', n: Number(id) };
      const source = { sender: { name: by, id: by }, chat: { ...chat, message_id: id }, inbox };
      return say(id, { source: { kind: 'gateway', ...source } });
    };
    drive.submit(from('1', 'anna'));
    drive.submit(from('2', 'ben'));
    drive.submit(say('3'));
    for (let turn = 1; turn <= 3; turn += 1) drive.submit((state) => answer(state));
    expect(spendingOf(drive.events).map(({ sender }) => sender)).toEqual([
      'telegram:anna',
      'telegram:ben',
      undefined,
    ]);
  });

  it('hold a call that was cut, as the one before the attempt that follows it', () => {
    const drive = new Drive();
    drive.submit(START);
    drive.submit(say('1'));
    drive.submit((state) =>
      answer(state, {
        tool_calls: [{ call: 'call_a', provider_call_id: 'a', name: 'read', arguments: {} }],
      }),
    );
    const { turn } = drive.last('turn_started');
    drive.submit({
      type: 'tool_result',
      turn,
      call: 'call_a',
      outcome: 'ok',
      content: '',
      details: {},
    });
    drive.crash();
    const cut = { usage: { ...usage, usd: 1 }, model: 'openai/gpt-5' };
    const events = drive.events.map((event) =>
      event.type === 'turn_resumed' ? priced(event, cut) : event,
    );
    expect(spendingOf(events)).toMatchObject([
      { turn, step: 1, attempt: 1 },
      { turn, step: 2, attempt: 1, usage, usd: 1, model: 'openai/gpt-5', cut: true },
    ]);
    expect(spendingOf(drive.events)).toHaveLength(1);
  });

  it('hold summaries, which belong to no step', () => {
    const at = { epoch: 1, at: '2026-01-01T00:00:00.000Z' };
    const newer = { ...at, seq: 11, type: 'something_newer', usage };
    const events: StoredEvent[] = [
      { ...at, seq: 9, type: 'history_summarized', up_to_seq: 4, summary: '', model: 'm', usage },
      {
        ...at,
        seq: 10,
        type: 'summary_failed',
        up_to_seq: 8,
        model: 'm',
        usage,
        error: { code: 'x', message: '' },
      },
      newer,
    ];
    expect(spendingOf(events)).toMatchObject([{ summary: 4 }, { summary: 8 }]);
  });
});
