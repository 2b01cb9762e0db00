import type { SessionEvent } from '@duragent/protocol';
import { describe, expect, test } from 'vitest';
import type { ShownMessage } from '../../gateways/telegram/simulator/control/sight.ts';
import { answerOf } from './answers.ts';
import type { Said } from './crowd.ts';
import type { Evidence } from './evidence.ts';
import { judge } from './judge.ts';

const place = { name: 'person 1', chat_id: 5, people: [5], isGroup: false };
const chat = { gateway: 'telegram', account: 'telegram', chat_id: '5' };
const at = '2026-11-21T12:00:00.000Z';
const given = answerOf(1, 'this is m1q', () => 0.1);
const { text } = given;
const cut = text.indexOf('a1w5');

type Draft = { type: SessionEvent['type'] } & Record<string, unknown>;

/** A message that was answered in two parts, as the log has it. */
function answered(): Draft[] {
  const body = (from: number, to: number) => ({ prefix: '', from, to, suffix: '' });
  const delivery = {
    out: 'out_1',
    ...chat,
    format: 'markdown',
    on_uncertain: 'resend_marked',
    expires_at: at,
    parts: [body(0, cut), body(cut, text.length)],
  };
  const turn = 'turn_1';
  return [
    {
      type: 'user_message',
      message_id: 'msg_1',
      handling: 'turn',
      source: { kind: 'gateway', chat: { ...chat, chat_type: 'dm', message_id: '10' } },
      content: [{ type: 'text', text: 'this is m1q' }],
    },
    { type: 'turn_started', turn, trigger: ['msg_1'] },
    {
      type: 'assistant_message',
      turn,
      step: 1,
      attempt: 1,
      message_id: 'msg_2',
      input_seq: 2,
      content: [{ type: 'text', text }],
      deliveries: [delivery],
    },
    { type: 'turn_finished', turn, outcome: 'completed' },
    ...delivered(1, '11'),
    ...delivered(2, '12'),
  ];
}

function delivered(part: number, message: string): Draft[] {
  return [
    { type: 'delivery_started', out: 'out_1', part, attempt: 1 },
    finished(part, 'delivered', { platform_message_id: message }),
  ];
}

function finished(part: number, outcome: string, more: object = {}): Draft {
  return { type: 'delivery_finished', out: 'out_1', part, attempt: 1, outcome, ...more };
}

function shown(message_id: number, words: string): ShownMessage {
  const message = { chat_id: 5, thread_id: null, is_from_bot: true, date: 0, history: [] };
  return { ...message, message_id, text: words } as unknown as ShownMessage;
}

const said: Said = {
  mark: 'm1q',
  place,
  message_id: 10,
  update_id: 100,
  at: 0,
  isAsked: true,
  sha256: null,
};

/** What is found when this differs from a chat in which all is well. */
function findings(differs: {
  log?: (events: Draft[]) => Draft[];
  messages?: ShownMessage[];
  state?: string;
}): string[] {
  const { log = (events) => events, messages = whole, state = 'confirmed' } = differs;
  const events = log(answered()).map((event, index) => {
    return { seq: index + 1, epoch: 1, at, ...event } as unknown as SessionEvent;
  });
  const evidence = {
    said: [said],
    given: [given],
    updates: [{ update_id: 100, state }],
    messages,
    logs: [{ session: 's', events, lines: [] }],
    damage: null,
    outbox: [],
    files: new Map(),
  };
  return judge(evidence as unknown as Evidence).map(({ what }) => what);
}

const [first, second] = [text.slice(0, cut), text.slice(cut)];
const whole = [shown(11, first), shown(12, second)];
const without = (type: string) => (events: Draft[]) => events.filter((one) => one.type !== type);

describe('the judge', () => {
  test('finds nothing where all is well', () => {
    expect(findings({})).toEqual([]);
  });

  test('lets a part be marked that was in doubt, and a reply be begun and left', () => {
    const log = (events: Draft[]) => events.toSpliced(7, 0, finished(2, 'uncertain'));
    const again = shown(12, `[sent again]\n\n${second}`);
    expect(findings({ log, messages: [shown(11, first), shown(9, second), again] })).toEqual([]);
    expect(findings({ messages: [shown(8, text.slice(0, cut - 10)), ...whole] })).toEqual([]);
  });

  test.each<[string, Parameters<typeof findings>[0], RegExp]>([
    [
      'a message that is in no log',
      { log: without('user_message') },
      /m1q was confirmed .* no log/,
    ],
    [
      'one that is there twice',
      { log: (all) => [...all, ...all.slice(0, 1)] },
      /in the logs 2 times/,
    ],
    ['one that the platform keeps', { state: 'waiting' }, /m1q was not taken/],
    ['a turn that does not end', { log: without('turn_finished') }, /has not ended/],
    [
      'an answer that nobody gave',
      { log: (all) => withText(all, 'To m1q: else') },
      /no answer that/,
    ],
    ['a part that is twice there', { messages: [...whole, shown(13, second)] }, /2 times without/],
    [
      'a mark without a doubt',
      { messages: [...whole, shown(13, `[sent again]\n\n${second}`)] },
      /marked as sent again 1 times; it was in doubt 0/,
    ],
    ['a part that is not there', { messages: whole.slice(0, 1) }, /message 12 is not there/],
    [
      'parts in another order',
      { messages: [shown(12, first), shown(11, second)] },
      /something else/,
    ],
    ['a part that is still owed', { log: (all) => all.slice(0, -1) }, /still owed/],
    [
      'a part that died unseen',
      { log: (all) => [...all.slice(0, -1), finished(2, 'dead')] },
      /the outbox does not show it/,
    ],
    ['what nobody owes', { messages: [...whole, shown(13, 'a9w1 a9w2')] }, /owed by nobody/],
    [
      'a text that was cut elsewhere',
      { messages: [shown(11, text.slice(0, cut + 6)), shown(12, text.slice(cut + 6))] },
      /something else/,
    ],
  ])('finds %s', (_, differs, what) => {
    expect(findings(differs).join('\n')).toMatch(what);
  });

  test('finds a later part above an earlier one', () => {
    const log = (events: Draft[]): Draft[] => [
      ...events.slice(0, 4),
      ...delivered(1, '12'),
      ...delivered(2, '11'),
    ];
    const messages = [shown(12, first), shown(11, second)];
    expect(findings({ log, messages }).join()).toMatch(/is message 11, above 12/);
  });
});

function withText(events: Draft[], words: string): Draft[] {
  return events.map((event) =>
    event.type === 'assistant_message'
      ? { ...event, content: [{ type: 'text', text: words }] }
      : event,
  );
}
