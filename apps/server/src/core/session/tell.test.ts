import { expect, test } from 'vitest';
import { answer, dm, Drive, say, START } from './testing.ts';

const other = { gateway: 'telegram', account: 'telegram', chat_id: '-100' };

/** A call that is under way, and may tell people something. */
function started(): Drive {
  const drive = new Drive();
  drive.submit(START);
  drive.submit({ type: 'bind', chat: dm });
  drive.submit(say('1'));
  const call = {
    call: 'call_a',
    provider_call_id: 'a',
    name: 'notify_user',
    arguments: { text: 'look' },
    effect: 'idempotent' as const,
    on_interrupt: 'retry' as const,
  };
  drive.submit((state) => answer(state, { content: [], tool_calls: [call] }));
  return drive;
}

const tell = (drive: Drive, chats: (typeof other)[] | null = null): string[] =>
  drive.submit({ type: 'tell', turn: 'turn_1', call: 'call_a', text: 'look', chats });
const finish = (drive: Drive): string[] =>
  drive.submit({
    type: 'tool_result',
    turn: 'turn_1',
    call: 'call_a',
    outcome: 'ok',
    content: 'Sent.',
    details: {},
  });
const notices = (drive: Drive) => drive.events.filter((event) => event.type === 'notice');

test('a call tells the chats of the session, or those it names, and once', () => {
  for (const [chats, ids] of [
    [null, ['7']],
    [[other], ['-100']],
  ] as const) {
    const drive = started();
    expect(tell(drive, chats && [...chats])).toEqual(['notice']);
    expect(drive.last('notice')).toMatchObject({ text: 'look', call: 'call_a' });
    expect(drive.last('notice').deliveries.map((one) => one.chat_id)).toEqual(ids);
    expect(tell(drive, chats && [...chats])).toEqual([]);
  }
});

test('a call that has not begun, or has ended, tells nobody anything', () => {
  const drive = started();
  finish(drive);
  expect(tell(drive)).toEqual([]);
  expect(
    drive.submit({ type: 'tell', turn: 'turn_2', call: 'call_a', text: '', chats: null }),
  ).toEqual([]);
});

test('killed before it was recorded, the call is run again and tells it', () => {
  const drive = started();
  tell(drive);
  const kept = drive.events.length - 1;
  expect(drive.crash(kept)).toEqual(['turn_resumed', 'tool_started']);
  expect(tell(drive)).toEqual(['notice']);
  expect(notices(drive)).toHaveLength(1);
});

test('killed between record and result, the result says that it was sent, and it is not sent again', () => {
  const drive = started();
  tell(drive);
  expect(drive.crash()).toEqual(['tool_finished']);
  expect(drive.last('tool_finished')).toMatchObject({
    outcome: 'ok',
    content: expect.stringContaining('Sent, once'),
  });
  expect(tell(drive)).toEqual([]);
  expect(drive.recover()).toEqual([]);
  expect(notices(drive)).toHaveLength(1);
});

test('stopped between record and result, the result says so, too', () => {
  const drive = started();
  tell(drive);
  expect(drive.submit({ type: 'drain' })).toEqual(['tool_finished', 'turn_paused']);
  expect(drive.last('tool_finished')).toMatchObject({ outcome: 'ok' });
});

test('wherever the server is killed, it is told once', () => {
  const whole = started();
  const begun = whole.events.length;
  tell(whole);
  finish(whole);
  for (let cut = begun; cut <= whole.events.length; cut += 1) {
    const drive = started();
    tell(drive);
    finish(drive);
    drive.crash(cut);
    tell(drive);
    drive.crash();
    tell(drive);
    expect(notices(drive)).toHaveLength(1);
    expect(drive.last('tool_finished')).toMatchObject({ outcome: 'ok' });
  }
});

test('a turn that was begun for a chat of no session tells that one, by the policy and by its calls', () => {
  const drive = new Drive();
  drive.submit(START);
  drive.policy = () => ({ kind: 'run', hash: 'h', notify: 'it runs' });
  drive.submit(say('1', { source: { kind: 'schedule' }, deliver_to: [other] }));
  const call = { call: 'call_a', provider_call_id: 'a', name: 'notify_user', arguments: {} };
  drive.submit((state) => answer(state, { content: [], tool_calls: [call] }));
  tell(drive);
  expect(notices(drive).map(({ deliveries }) => deliveries.map((one) => one.chat_id))).toEqual([
    ['-100'],
    ['-100'],
  ]);
});

test('what the policy tells of a call is not what the call tells', () => {
  const drive = new Drive();
  drive.submit(START);
  drive.policy = () => ({ kind: 'run', hash: 'h', notify: 'it runs' });
  drive.submit(say('1'));
  const call = { call: 'call_a', provider_call_id: 'a', name: 'notify_user', arguments: {} };
  drive.submit((state) => answer(state, { content: [], tool_calls: [call] }));
  expect(tell(drive)).toEqual(['notice']);
  expect(notices(drive).map(({ text }) => text)).toEqual(['it runs', 'look']);
});
