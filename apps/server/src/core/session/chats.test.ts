import { describe, expect, test } from 'vitest';
import { next } from './next.ts';
import type { ChatBinding, SessionInput } from './session-input.ts';
import { MAX_BOT_RUN, MAX_DELIVERIES } from './state.ts';
import { summarize } from './summary.ts';
import { answer, Drive, failure, say, START } from './testing.ts';

const dm: ChatBinding = {
  gateway: 'telegram',
  account: 'telegram',
  chat_id: '7',
  chat_type: 'dm',
  peer: '7',
  inbox: 0,
  by: 'server',
};
const group: ChatBinding = { ...dm, chat_id: '-100', chat_type: 'group' };
const { peer: _, ...groupBinding } = group;

/** A session that is bound to a chat. */
function bound(chat: ChatBinding = dm, rules: ConstructorParameters<typeof Drive>[0] = {}): Drive {
  const drive = new Drive(rules);
  drive.submit({ ...START, origin: { kind: 'gateway' }, chat } as SessionInput);
  return drive;
}

/** A message in a chat, with its number in the inbox. */
function told(
  n: number,
  change: Partial<Extract<SessionInput, { type: 'receive' }>> = {},
  chat = dm,
) {
  const { gateway, account, chat_id, chat_type } = chat;
  return say(`${n}`, {
    source: {
      kind: 'gateway',
      sender: { id: '7', name: 'Ann' },
      chat: { gateway, account, chat_id, chat_type, message_id: `p${n}` },
      inbox: { account, n },
    },
    ...change,
  });
}

const deliveries = (drive: Drive) =>
  next(drive.state).flatMap((effect) => (effect.type === 'deliver' ? [effect] : []));

function first(drive: Drive) {
  const effect = deliveries(drive)[0];
  if (!effect) throw new Error('nothing is owed to a chat');
  const { out, part, attempt } = effect.delivery;
  return { out, part, attempt };
}

const start = (drive: Drive) => drive.submit({ type: 'deliver_start', ...first(drive) });
const done = (drive: Drive) =>
  drive.submit({ type: 'deliver_end', ...first(drive), outcome: 'delivered', message: 'm1' });

describe('an answer in a chat', () => {
  test('is recorded together with where it is to be shown', () => {
    const drive = bound();
    drive.submit(told(1));
    expect(drive.submit((state) => answer(state))).toEqual(['assistant_message', 'turn_finished']);
    expect(drive.last('assistant_message').deliveries).toMatchObject([
      { gateway: 'telegram', chat_id: '7', parts: [{ prefix: '', from: 0, to: 5, suffix: '' }] },
    ]);
    expect(first(drive)).toMatchObject({ part: 1, attempt: 1 });
  });

  test('is started, then finished, and nothing is owed any more', () => {
    const drive = bound();
    drive.submit(told(1));
    drive.submit((state) => answer(state));
    expect(start(drive)).toEqual(['delivery_started']);
    expect(start(drive)).toEqual([]);
    expect(done(drive)).toEqual(['delivery_finished']);
    expect(next(drive.state)).toEqual([]);
    expect(summarize(drive.state)).toMatchObject({ owed: 0, dead: 0, has_work: false });
  });

  test('that is long goes in parts, one after another', () => {
    const drive = bound();
    drive.submit(told(1));
    const text = 'words and more words. '.repeat(12);
    drive.submit((state) => answer(state, { content: [{ type: 'text', text }] }));
    const { parts } = drive.last('assistant_message').deliveries[0] ?? { parts: [] };
    expect(parts.length).toBeGreaterThan(2);
    for (let part = 1; part <= parts.length; part += 1) {
      expect(deliveries(drive)).toHaveLength(1);
      expect(first(drive)).toMatchObject({ part, attempt: 1 });
      start(drive);
      done(drive);
    }
    expect(deliveries(drive)).toEqual([]);
  });

  test('comes behind the one before it in its chat, and beside those of other chats', () => {
    const drive = bound();
    drive.submit({ type: 'bind', chat: groupBinding });
    drive.submit(told(1));
    drive.submit((state) => answer(state));
    drive.submit(told(2));
    drive.submit((state) => answer(state));
    const heads = deliveries(drive);
    expect(heads.map((effect) => effect.chat.chat_id).sort()).toEqual(['-100', '7']);
  });

  test('answers the message of a group that asked', () => {
    const drive = bound(groupBinding);
    drive.submit(told(1, {}, groupBinding));
    drive.submit((state) => answer(state));
    expect(drive.last('assistant_message').deliveries[0]?.reply_to).toBe('p1');
  });

  test('that is stopped shows what was seen of it', () => {
    const drive = bound();
    drive.submit(told(1));
    const turn = drive.state.turn;
    if (!turn) throw new Error('no turn');
    const draft = {
      turn: turn.turn,
      step: 1,
      attempt: 1,
      message_id: 'msg_d',
      input_seq: drive.state.seq,
      text: 'half an ans',
      model: 'echo/echo',
    };
    drive.submit({ type: 'cancel', draft });
    expect(drive.last('assistant_message').deliveries).toHaveLength(1);
  });

  test('that fails is told', () => {
    const drive = bound(dm, {});
    drive.submit(told(1));
    drive.submit((state) => failure(state, { retryable: false }));
    expect(drive.events.slice(-2).map((event) => event.type)).toEqual(['notice', 'turn_finished']);
    expect(drive.last('notice').text).toContain('It does not answer.');
    expect(deliveries(drive)).toHaveLength(1);
  });

  test('is still owed when the session has ended', () => {
    const drive = bound();
    drive.submit(told(1));
    drive.submit((state) => answer(state));
    drive.submit({ type: 'end', reason: 'reset' });
    expect(deliveries(drive)).toHaveLength(1);
    start(drive);
    expect(done(drive)).toEqual(['delivery_finished']);
    expect(drive.state.chats).toMatchObject([{ bound: false, inbox: 1 }]);
  });
});

describe('a part that was being sent when the server died', () => {
  test('is uncertain, and stays so when a later try fails', () => {
    const drive = bound();
    drive.submit(told(1));
    drive.submit((state) => answer(state));
    start(drive);
    expect(drive.crash()).toEqual(['delivery_finished']);
    expect(drive.last('delivery_finished').outcome).toBe('uncertain');
    expect(drive.recover()).toEqual([]);
    expect(deliveries(drive)[0]?.delivery).toMatchObject({ attempt: 2, uncertain: 1 });
    start(drive);
    const error = { code: 'rate_limited', message: '' };
    drive.submit({
      type: 'deliver_end',
      ...first(drive),
      outcome: 'failed',
      error,
      retryAfterMs: 5,
    });
    expect(deliveries(drive)[0]?.delivery).toMatchObject({ attempt: 3, uncertain: 1 });
    start(drive);
    done(drive);
    expect(deliveries(drive)).toEqual([]);
  });

  test('is certain again from the next part on', () => {
    const drive = bound();
    drive.submit(told(1));
    const text = 'words and more words. '.repeat(8);
    drive.submit((state) => answer(state, { content: [{ type: 'text', text }] }));
    start(drive);
    drive.crash();
    start(drive);
    done(drive);
    expect(deliveries(drive)[0]?.delivery).toMatchObject({ part: 2, attempt: 1 });
    expect(deliveries(drive)[0]?.delivery.uncertain).toBeUndefined();
  });

  test('and one that was not begun is as it was', () => {
    const drive = bound();
    drive.submit(told(1));
    drive.submit((state) => answer(state));
    expect(drive.crash()).toEqual([]);
    expect(first(drive)).toMatchObject({ part: 1, attempt: 1 });
  });
});

describe('a preview', () => {
  test('is finished by the delivery of its step, also after a crash', () => {
    const drive = bound();
    drive.submit(told(1));
    const turn = drive.state.turn?.turn ?? '';
    drive.submit((state) => answer(state));
    const { out } = first(drive);
    const again = bound();
    again.submit(told(1));
    again.submit({ type: 'preview_posted', out, message: 'm9' });
    again.crash();
    again.submit((state) => answer(state));
    expect(again.state.lastTurn?.turn).toBe(turn);
    expect(deliveries(again)[0]?.delivery).toMatchObject({ out, preview: 'm9' });
  });

  test('is finished also where its chat went to another session meanwhile', () => {
    const drive = bound();
    drive.submit(told(1));
    drive.submit((state) => answer(state));
    const { out } = first(drive);
    const again = bound();
    again.submit(told(1));
    again.submit({ type: 'preview_posted', out, message: 'm9' });
    again.submit({ type: 'unbind', chat: dm, by: 'server' });
    again.submit((state) => answer(state));
    expect(deliveries(again)[0]?.delivery).toMatchObject({ out, preview: 'm9' });
    start(again);
    done(again);
    expect(again.state.chats).toEqual([]);
  });

  test.each(['before', 'after'])(
    'of a chat that moved, recorded %s that, is not finished',
    (when) => {
      const drive = bound(group);
      drive.submit(told(1, {}, group));
      drive.submit((state) => answer(state));
      const { out } = first(drive);
      const again = bound(group);
      // It keeps the old id known.
      again.submit(told(1, {}, group));
      again.submit({ type: 'preview_posted', out: 'out_x', message: 'm8' });
      const post = { type: 'preview_posted', out, message: 'm9' } as const;
      if (when === 'before') again.submit(post);
      again.submit({ type: 'move', from: group, chat: { ...group, chat_id: '-200', inbox: 1 } });
      if (when === 'after') again.submit(post);
      again.submit((state) => answer(state));
      expect(again.last('assistant_message').deliveries).toMatchObject([{ chat_id: '-200' }]);
      expect(again.state.chats.filter((chat) => chat.bound)).toMatchObject([{ chat_id: '-200' }]);
    },
  );

  test('is recorded once, and not when its turn is over', () => {
    const drive = bound();
    drive.submit(told(1));
    const post = { type: 'preview_posted', out: 'out_x', message: 'm1' } as const;
    expect(drive.submit(post)).toEqual(['preview_posted']);
    expect(drive.submit(post)).toEqual([]);
    drive.submit({ type: 'cancel' });
    expect(drive.submit({ ...post, out: 'out_y' })).toEqual([]);
  });
});

describe('a part that may have been posted', () => {
  test('is not tried again at once, and is counted', () => {
    const drive = bound();
    drive.submit(told(1));
    drive.submit((state) => answer(state));
    const error = { code: 'lost', message: '' };
    for (let tries = 1; tries <= 3; tries += 1) {
      start(drive);
      drive.submit({ type: 'deliver_end', ...first(drive), outcome: 'uncertain', error });
      const { uncertain, retry_at } = deliveries(drive)[0]?.delivery ?? {};
      expect(uncertain).toBe(tries);
      expect(Date.parse(retry_at ?? '') - drive.rules.now).toBe(1000 * 2 ** (tries - 1));
    }
  });
});

describe('a new chat', () => {
  const from = (first: boolean) => {
    const drive = new Drive({ greeting: 'I am a bot.' });
    const origin = { kind: 'gateway' as const, ...(first ? { first: true } : {}) };
    drive.submit({ ...START, origin, chat: dm } as SessionInput);
    return drive;
  };

  test('is greeted before its first answer, once', () => {
    const drive = from(true);
    expect(drive.submit({ ...told(1), handling: 'passive' })).toEqual(['user_message']);
    expect(drive.submit(told(2))).toEqual(['user_message', 'notice', 'turn_started']);
    drive.submit((state) => answer(state));
    expect(drive.submit(told(3))).toEqual(['user_message', 'turn_started']);
  });

  test('that had a session before is not greeted', () => {
    expect(from(false).submit(told(1))).toEqual(['user_message', 'turn_started']);
  });
});

describe('an answer of very many parts', () => {
  test('is cut, and says so', () => {
    const drive = bound(dm, {});
    drive.submit(told(1));
    const text = 'word '.repeat(8000);
    drive.submit((state) => answer(state, { content: [{ type: 'text', text }] }));
    const { parts } = drive.last('assistant_message').deliveries[0] ?? { parts: [] };
    expect(parts).toHaveLength(200);
    expect(parts.at(-1)).toMatchObject({ suffix: expect.stringContaining('does not fit') });
  });
});

describe('a delivery that cannot be done', () => {
  test('is dead, out of the way of the next, and can be tried again or dropped', () => {
    const drive = bound();
    drive.submit(told(1));
    drive.submit((state) => answer(state));
    const dead = first(drive);
    start(drive);
    const error = { code: 'blocked', message: 'The user blocked the bot.' };
    drive.submit({ type: 'deliver_end', ...dead, outcome: 'dead', error });
    expect(drive.state.dead).toMatchObject([{ out: dead.out, code: 'blocked', uncertain: false }]);
    drive.submit(told(2));
    drive.submit((state) => answer(state));
    expect(first(drive).out).not.toBe(dead.out);
    expect(drive.submit({ type: 'deliver_again', out: dead.out })).toEqual(['delivery_finished']);
    expect(drive.state.dead).toEqual([]);
    expect(drive.state.deliveries.map((one) => one.out)).toContain(dead.out);
    expect(drive.submit({ type: 'deliver_never', out: dead.out })).toEqual(['delivery_finished']);
    expect(drive.state.deliveries.map((one) => one.out)).not.toContain(dead.out);
    expect(drive.state.dead).toEqual([]);
  });

  test('waits longer each time, or as long as it was told', () => {
    const drive = bound();
    drive.submit(told(1));
    drive.submit((state) => answer(state));
    const error = { code: 'platform_error', message: '' };
    const waits: number[] = [];
    for (let i = 0; i < 4; i += 1) {
      start(drive);
      drive.submit({ type: 'deliver_end', ...first(drive), outcome: 'failed', error });
      waits.push(Date.parse(drive.last('delivery_finished').retry_at ?? '') - drive.rules.now);
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000]);
  });

  test('makes room when too many wait: the oldest is dead', () => {
    const drive = bound();
    for (let n = 1; n <= MAX_DELIVERIES + 2; n += 1) {
      drive.submit(told(n));
      drive.submit((state) => answer(state));
    }
    expect(drive.state.deliveries).toHaveLength(MAX_DELIVERIES);
    expect(drive.state.dead.map((one) => one.code)).toEqual(['outbox_full', 'outbox_full']);
  });
});

describe('what is said elsewhere', () => {
  test('is shown in the chat as one line, with who said it', () => {
    const drive = bound();
    drive.submit(say('hello', { source: { kind: 'cli', sender: { name: 'bob' } } }));
    const [delivery] = drive.last('user_message').deliveries ?? [];
    expect(delivery).toMatchObject({ chat_id: '7', format: 'text' });
    expect(delivery?.parts).toMatchObject([{ from: 0, to: 'bob (terminal): hello'.length }]);
  });

  test('is not shown in its own chat, or where mirror is off', () => {
    const drive = bound();
    drive.submit(told(1));
    expect(drive.last('user_message').deliveries).toBeUndefined();
    drive.rules = { ...drive.rules, delivery: { ...drive.rules.delivery, mirror: false } };
    drive.submit(say('hello'));
    expect(drive.last('user_message').deliveries).toBeUndefined();
  });
});

describe('an arrival', () => {
  test('is taken once, by its number in the inbox', () => {
    const drive = bound();
    expect(drive.submit(told(5))).toContain('user_message');
    expect(drive.submit(told(5))).toEqual([]);
    expect(drive.submit(told(4))).toEqual([]);
    expect(drive.submit(told(6))).toContain('user_message');
    drive.crash();
    expect(drive.submit(told(6))).toEqual([]);
  });

  test('of a chat that is not bound here is not taken', () => {
    const drive = bound();
    drive.submit({ type: 'unbind', chat: dm, by: 'server' });
    expect(drive.submit(told(1))).toEqual([]);
    drive.submit({ type: 'bind', chat: { ...dm, inbox: 3 } });
    expect(drive.submit(told(3))).toEqual([]);
    expect(drive.submit(told(4))).toContain('user_message');
  });

  test('of bots among themselves starts nothing after a while, until a person speaks', () => {
    const drive = bound(groupBinding);
    const bot = (n: number) => {
      const message = told(n, {}, groupBinding);
      return {
        ...message,
        source: { ...message.source, sender: { id: 'b', name: 'Bot', is_bot: true } },
      };
    };
    for (let n = 1; n <= MAX_BOT_RUN; n += 1) {
      drive.submit(bot(n));
      expect(drive.state.turn).not.toBeNull();
      drive.submit((state) => answer(state));
    }
    expect(drive.submit(bot(90))).toEqual(['user_message']);
    expect(drive.last('user_message').handling).toBe('passive');
    expect(drive.submit(told(91, {}, groupBinding))).toContain('turn_started');
    drive.submit((state) => answer(state));
    expect(drive.submit(bot(92))).toContain('turn_started');
  });

  test('that edits a message no turn has begun for takes its place', () => {
    const drive = bound(dm, { queue: 'sequential' });
    drive.submit(told(1));
    drive.submit(told(2));
    drive.submit({ ...told(3), edits: 'p2' });
    expect(drive.last('user_message').replaces).toBe('msg_2');
    expect(drive.state.pending.map((one) => one.message_id)).toEqual(['msg_3']);
    drive.submit({ ...told(4), edits: 'p1' });
    expect(drive.last('user_message').replaces).toBeUndefined();
  });
});

describe('while a turn works', () => {
  test('batch makes one turn of all that waits', () => {
    const drive = bound(groupBinding, { queue: null });
    for (let n = 1; n <= 4; n += 1) drive.submit(told(n, {}, groupBinding));
    expect(drive.last('turn_started')).toMatchObject({ queue: 'batch', trigger: ['msg_1'] });
    drive.submit((state) => answer(state));
    expect(drive.last('turn_started').trigger).toEqual(['msg_2', 'msg_3', 'msg_4']);
  });

  test('interrupt ends the model call, and the message starts the next turn', () => {
    const drive = bound(dm, { queue: 'interrupt' });
    drive.submit(told(1));
    expect(drive.submit(told(2))).toEqual(['user_message', 'turn_finished', 'turn_started']);
    expect(drive.last('turn_finished').outcome).toBe('interrupted');
    expect(drive.last('turn_started').trigger).toEqual(['msg_2']);
  });

  test('interrupt lets a tool with effect come to its end', () => {
    const drive = bound(dm, { queue: 'interrupt' });
    drive.submit(told(1));
    const call = { call: 'call_1', provider_call_id: 'p', name: 'write', arguments: {} };
    drive.submit((state) => answer(state, { tool_calls: [call] }));
    expect(drive.submit(told(2))).toEqual(['user_message']);
    const turn = drive.state.turn?.turn ?? '';
    expect(
      drive.submit({
        type: 'tool_result',
        turn,
        call: 'call_1',
        outcome: 'ok',
        content: '',
        details: {},
      }),
    ).toEqual(['tool_finished', 'turn_finished', 'turn_started']);
  });

  test('drop keeps the message in the log and does nothing with it', () => {
    const drive = bound(dm, { queue: 'drop' });
    drive.submit(told(1));
    expect(drive.submit(told(2))).toEqual(['user_message', 'message_dropped']);
    drive.submit((state) => answer(state));
    expect(drive.state).toMatchObject({ turn: null, pending: [] });
  });

  test.each([
    ['drop_old', ['msg_4', 'msg_5'], 0],
    ['drop_new', ['msg_2', 'msg_3'], 0],
    ['reject', ['msg_2', 'msg_3'], 2],
  ] as const)('beyond max_pending %s keeps %j', (overflow, kept, notices) => {
    const waiting = { maxPending: 2, overflow, rejectMessage: 'Busy.', debounceMs: 0 };
    const drive = bound(dm, { queue: 'sequential', waiting });
    for (let n = 1; n <= 5; n += 1) drive.submit(told(n));
    expect(drive.state.pending.map((one) => one.message_id)).toEqual(kept);
    expect(drive.events.filter((event) => event.type === 'user_message')).toHaveLength(5);
    expect(drive.events.filter((event) => event.type === 'notice')).toHaveLength(notices);
  });

  test('what the session was set to goes before the agent', () => {
    const drive = bound(dm, { queue: 'steer' });
    expect(drive.submit({ type: 'set', name: 'queue', value: 'drop', by: 'telegram:7' })).toEqual([
      'setting_changed',
    ]);
    drive.submit(told(1));
    expect(drive.last('turn_started').queue).toBe('drop');
  });
});

describe('a burst of messages', () => {
  const waiting = {
    maxPending: 10,
    overflow: 'drop_old',
    rejectMessage: '',
    debounceMs: 1500,
  } as const;
  const after = (drive: Drive, ms: number) => {
    drive.rules = { ...drive.rules, now: drive.rules.now + ms };
  };

  test('starts at once with the first, and holds the others until the window passes', () => {
    const drive = bound(dm, { queue: 'batch', waiting });
    expect(drive.submit(told(1))).toContain('turn_started');
    drive.submit((state) => answer(state));
    after(drive, 1000);
    expect(drive.submit(told(2))).toEqual(['user_message']);
    after(drive, 1000);
    expect(drive.submit(told(3))).toEqual(['user_message']);
    const wait = next(drive.state).find((effect) => effect.type === 'wait_until');
    expect(wait?.type === 'wait_until' && wait.at - drive.rules.now).toBe(1500);
    after(drive, 1499);
    expect(drive.submit({ type: 'wake' })).toEqual([]);
    after(drive, 1);
    expect(drive.submit({ type: 'wake' })).toEqual(['turn_started']);
    expect(drive.last('turn_started').trigger).toEqual(['msg_2', 'msg_3']);
  });

  test('is held for five windows at most', () => {
    const drive = bound(dm, { queue: 'batch', waiting });
    drive.submit(told(1));
    drive.submit((state) => answer(state));
    const started = drive.rules.now;
    let n = 2;
    while (drive.state.turn === null && n < 50) {
      after(drive, 1000);
      drive.submit(told(n));
      n += 1;
    }
    expect(drive.state.turn).not.toBeNull();
    expect(drive.rules.now - started).toBeLessThanOrEqual(1000 + 5 * 1500 + 1000);
  });

  test('goes on after a crash', () => {
    const drive = bound(dm, { queue: 'batch', waiting });
    drive.submit(told(1));
    drive.submit((state) => answer(state));
    after(drive, 1000);
    drive.submit(told(2));
    expect(drive.crash()).toEqual([]);
    expect(next(drive.state).some((effect) => effect.type === 'wait_until')).toBe(true);
    after(drive, 10_000);
    expect(drive.crash()).toEqual(['turn_started']);
  });
});
