import { DuragentError } from '@duragent/protocol';
import { describe, expect, test } from 'vitest';
import { memorySessionStore } from '../adapters/session-store/memory.ts';
import { next } from '../core/session/next.ts';
import type { DeliveryEnd, SessionInput } from '../core/session/session-input.ts';
import { initialState } from '../core/session/state.ts';
import { START, testRules } from '../core/session/testing.ts';
import { emptyWindow } from '../core/session/window.ts';
import { message, SESSION } from '../ports/session-store.testing.ts';
import type { SessionLog } from '../ports/session-store.ts';
import { SessionJournal } from './session-journal.ts';

const chat = {
  gateway: 'telegram',
  account: 'telegram',
  chat_id: '7',
  chat_type: 'dm' as const,
  inbox: 0,
  by: 'server',
};
const clock = { now: () => 0, monotonic: () => 0, after: () => () => undefined };
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const error = { code: 'lost', message: 'It did not answer.' };

/** A session of a chat, and what is recorded of it: with how long it may wait, in ms, where it may. */
async function session(): Promise<{
  journal: SessionJournal;
  submit: (input: SessionInput) => Promise<void>;
  recorded: string[];
}> {
  const created = await memorySessionStore().create(SESSION);
  const recorded: string[] = [];
  const append: SessionLog['append'] = (events, expectedSeq, options = {}) => {
    const wait = (options.mayWaitMs ?? 0) === 0 ? '' : ` within ${options.mayWaitMs}`;
    recorded.push(...events.map(({ type }) => `${type}${wait}`));
    return created.append(events, expectedSeq, options);
  };
  const opened = {
    log: Object.assign(Object.create(created) as SessionLog, { append }),
    state: initialState(),
    window: emptyWindow(),
    snapshotSeq: 0,
    torn: null,
    onFailure: () => undefined,
  };
  const told = { decided: () => undefined, durable: () => undefined, failed: () => undefined };
  const journal = new SessionJournal(opened, { clock, log }, told);
  const submit = (input: SessionInput): Promise<void> => journal.submit(input, () => testRules());
  await submit({ ...START, origin: { kind: 'gateway' }, chat } as SessionInput);
  recorded.length = 0;
  return { journal, submit, recorded };
}

/** What is recorded of sending a part. */
async function record(end: DeliveryEnd): Promise<string[]> {
  const { journal, submit, recorded } = await session();
  await submit({ type: 'notify', text: 'Hello', idempotency: 'k', chats: null });
  const [owed] = next(journal.now.state);
  if (owed?.type !== 'deliver') throw new Error('nothing is owed to the chat');
  const { out, part, attempt } = owed.delivery;
  await submit({ type: 'deliver_start', out, part, attempt });
  await submit({ type: 'deliver_end', out, part, attempt, ...end });
  return recorded.slice(recorded.indexOf('delivery_started'));
}

test('an abandoned session abandons its log', async () => {
  const created = await memorySessionStore().create(SESSION);
  const opened = { log: created, state: initialState(), window: emptyWindow(), snapshotSeq: 0 };
  const told = { decided: () => undefined, durable: () => undefined, failed: () => undefined };
  const onFailure = () => undefined;
  const journal = new SessionJournal({ ...opened, torn: null, onFailure }, { clock, log }, told);
  journal.abandon(new DuragentError('epoch_lost', 'Another server took over.'));
  await expect(created.append([message(1)], 0)).rejects.toMatchObject({ code: 'epoch_lost' });
});

describe('what is recorded of a delivery', () => {
  test('may wait for the next record where it was done', async () => {
    expect(await record({ outcome: 'delivered', message: 'p1' })).toEqual([
      'delivery_started',
      'delivery_finished within 20',
    ]);
  });

  test.each<DeliveryEnd>([
    { outcome: 'dead', error },
    { outcome: 'failed', error },
    { outcome: 'uncertain', error },
  ])('waits for nothing where it was not ($outcome)', async (end) => {
    expect(await record(end)).toEqual(['delivery_started', 'delivery_finished']);
  });
});

describe('a message', () => {
  const said = {
    type: 'receive' as const,
    message_id: 'msg_1',
    content: [{ type: 'text' as const, text: 'Hello' }],
    handling: 'turn' as const,
  };

  test('of an inbox may wait for what comes of it at once, with the turn that it begins', async () => {
    const { submit, recorded } = await session();
    const { inbox: _, by: _by, ...of } = chat;
    const source = {
      kind: 'gateway' as const,
      chat: { ...of, message_id: '1' },
      inbox: { account: 'telegram', n: 1 },
    };
    await submit({ ...said, source });
    expect(recorded).toEqual(['user_message within 2', 'turn_started within 2']);
  });

  test('that is kept nowhere else waits for nothing', async () => {
    const { submit, recorded } = await session();
    await submit({ ...said, source: { kind: 'http' } });
    expect(recorded.slice(0, 2)).toEqual(['user_message', 'turn_started']);
  });
});
