import { DuragentError, type InboundEvent, type MessageReceived } from '@duragent/protocol';
import { describe, expect, test, vi } from 'vitest';
import { defaultAccess } from '../../core/agent-access.ts';
import { MAX_CHATS } from '../../core/session/state.ts';
import { storeOf, testAgent, ticks, until } from '../testing.ts';
import { testTool } from '../tools/testing.ts';
import { REPEATED_MARK } from './fit.ts';
import { inGroup, TestHub } from './testing.ts';

const byNumber = (a: number, b: number): number => a - b;

function pressOf(
  from: string,
  where: { chat_id: string; chat_type: 'dm' | 'group' },
): InboundEvent {
  return {
    type: 'callback_query',
    event_id: 'q1',
    callback_query_id: 'q1',
    ...where,
    sender: { id: from, is_bot: false },
    message_id: 'm1',
    data: '/new',
  };
}

/** What a platform answers that wants to wait. */
function rateLimited(retry_after_ms: number): TestHub['gateway']['answer'] {
  const refusal = { code: 'rate_limited', message: '', retry_after_ms, uncertain: false } as const;
  return ({ request_id }) => ({
    type: 'answered',
    answer: { type: 'command_error', request_id, ...refusal },
  });
}

/** An answer begins, and what is said of it stands in its chat as `m77`. */
async function preview(hub: TestHub, begin: string): Promise<void> {
  hub.runtime.model.calls.at(-1)?.text(begin);
  await hub.runtime.clock.advance(300);
  const preview_id = hub.gateway.previews[0]?.preview_id ?? '';
  hub.gateway.host.event({ type: 'preview_posted', preview_id, message_id: 'm77' });
  await ticks();
}

describe('a message in a direct chat', () => {
  test('is acknowledged when it is durable, and answered in its chat', async () => {
    const hub = await new TestHub().start();
    await hub.tell('hello');
    await hub.answer('Hi Ann.');
    expect(hub.gateway.texts('ann')).toEqual(['Hi Ann.']);
    expect(hub.runtime.sessions.summaries()).toMatchObject([{ turns: 1, owed: 0 }]);
  });

  test('goes on in its session, and not in that of another person', async () => {
    const hub = await new TestHub().start();
    await hub.tell('one');
    await hub.answer('1');
    await hub.tell('two');
    await hub.answer('2');
    await hub.tell('other', { from: 'bob' });
    await hub.answer('3');
    expect(
      hub.runtime.sessions
        .summaries()
        .map((one) => one.turns)
        .sort(byNumber),
    ).toEqual([1, 2]);
    expect(hub.gateway.texts('bob')).toEqual(['3']);
  });

  test('of two people in one chat id goes to two sessions', async () => {
    const hub = await new TestHub().start();
    await hub.tell('one', { from: 'ann', chat_id: 'shared' });
    await hub.tell('two', { from: 'bob', chat_id: 'shared' });
    expect(hub.runtime.sessions.summaries()).toHaveLength(2);
  });

  test('of somebody new begins a session without a look at all others', async () => {
    const hub = await new TestHub().start();
    await hub.tell('one');
    await hub.answer('1');
    const looks = vi.spyOn(hub.runtime.sessions, 'summaries');
    await hub.tell('two', { from: 'bob' });
    await hub.answer('2');
    expect(looks).not.toHaveBeenCalled();
  });

  test('that comes twice is one message', async () => {
    const hub = await new TestHub().start();
    const message = hub.message('hello');
    await Promise.all([hub.send(message), hub.send(message)]);
    await hub.answer('Hi.');
    await hub.send(message);
    expect(hub.runtime.model.calls).toHaveLength(1);
    expect(hub.gateway.texts('ann')).toEqual(['Hi.']);
  });

  test('comes once also when the server dies before or after it was handed over', async () => {
    const hub = await new TestHub().start();
    const message = hub.message('hello');
    await hub.gateway.host.inbound(message);
    await hub.restart();
    await hub.send(message);
    await hub.runtime.clock.advance(11_000);
    await hub.answer('Hi.');
    expect(hub.gateway.texts('ann')).toEqual(['Hi.']);
    await hub.restart();
    await hub.send(message);
    await hub.runtime.clock.advance(11_000);
    expect(hub.gateway.texts('ann')).toEqual([]);
    expect(hub.runtime.sessions.summaries()).toHaveLength(1);
  });

  test('waits for the next server where this one may write no more', async () => {
    const hub = await new TestHub().start();
    await hub.tell('one');
    await hub.answer('1');
    hub.runtime.sessions.abandon(new DuragentError('epoch_lost', 'Another server took over.'));
    await hub.tell('two');
    await hub.runtime.clock.advance(6_000);
    await hub.restart();
    const call = await hub.runtime.model.call(1);
    expect(call.request.messages.at(-1)).toMatchObject({ text: 'two' });
  });

  test('is handed over again where too much waits for the disk', async () => {
    let isFull = false;
    const hub = await new TestHub({
      wrapStore: (store) => ({
        ...storeOf(store),
        create: async (session) => {
          const log = await store.create(session);
          const append = log.append.bind(log);
          log.append = async (...args) => {
            if (isFull) throw new DuragentError('queue_full', 'Too much waits for the disk.');
            return append(...args);
          };
          return log;
        },
      }),
    }).start();
    await hub.tell('one');
    await hub.answer('1');
    isFull = true;
    await hub.tell('two');
    isFull = false;
    const calls = hub.runtime.model.calls.length;
    await hub.runtime.clock.advance(6_000);
    const call = await hub.runtime.model.call(calls + 1);
    expect(call.request.messages.at(-1)).toMatchObject({ text: 'two' });
  });

  test('of a stranger is answered with a code, and with the agent once the owner gave it', async () => {
    const access = { ...defaultAccess, owners: ['fake:owner'] };
    const hub = await new TestHub({ agent: { access } }).start();
    await hub.tell('let me in');
    const [told = ''] = hub.gateway.texts('ann');
    const code = /code is ([A-Z0-9]{8})/.exec(told)?.[1] ?? '';
    expect(hub.runtime.sessions.summaries()).toEqual([]);
    await hub.tell(`/approve ${code}`, { from: 'mallory' });
    expect(hub.book.pairings).toEqual([]);
    await hub.tell(`/approve ${code}`, { from: 'owner' });
    expect(hub.gateway.texts('owner').at(-1)).toContain('may now speak');
    expect(hub.gateway.texts('ann').at(-1)).toContain('let in');
    await hub.tell('hello');
    await hub.answer('Hi.');
    expect(hub.gateway.texts('ann').at(-1)).toBe('Hi.');
  });

  test('brings its files as artifacts', async () => {
    const hub = await new TestHub().start();
    const media = [
      { path: 'a.txt', name: 'a.txt', mime: 'text/plain', size: 3, sha256: '0'.repeat(64) },
    ];
    await hub.tell('', { content: { media } });
    const [session = ''] = hub.runtime.sessions.summaries().map((one) => one.session);
    const actor = await hub.runtime.sessions.open(session);
    const records = await actor.read(0, 100);
    const said = records
      .map((record) => record.event)
      .find((event) => event.type === 'user_message');
    expect(said).toMatchObject({ content: [{ type: 'file', name: 'a.txt', size: 3 }] });
  });

  test('that comes again with another copy of its file leaves none behind', async () => {
    const hub = await new TestHub().start();
    const message = hub.message('look');
    const copyAt = (path: string): MessageReceived => {
      const file = { name: 'a.txt', mime: 'text/plain', size: 3, sha256: '0'.repeat(64) };
      return { ...message, content: { text: 'look', media: [{ path, ...file }] } };
    };
    const get = hub.runtime.catalog.get.bind(hub.runtime.catalog);
    hub.runtime.catalog.get = async () => null;
    await hub.send(copyAt('first'));
    await hub.send(copyAt('second'));
    // The first of it waits for its agent: a gateway may have given both the same path.
    expect(hub.discarded).toEqual([]);
    hub.runtime.catalog.get = get;
    await hub.runtime.clock.advance(6_000);
    expect(hub.artifacts.size).toBe(1);
    expect(hub.discarded).toEqual(['second']);
    await hub.send(copyAt('third'));
    expect(hub.discarded).toEqual(['second', 'third']);
    expect(hub.artifacts.size).toBe(1);
  });

  test('that comes again keeps its file where the server stops before it was taken', async () => {
    const hub = await new TestHub().start();
    const media = [
      { path: 'same', name: 'a.txt', mime: 'text/plain', size: 3, sha256: '0'.repeat(64) },
    ];
    const message = hub.message('look', { content: { text: 'look', media } });
    const get = hub.runtime.catalog.get.bind(hub.runtime.catalog);
    hub.runtime.catalog.get = async () => null;
    await hub.send(message);
    await hub.send(message);
    hub.runtime.catalog.get = get;
    await hub.restart();
    expect(hub.discarded).toEqual([]);
    expect(hub.artifacts.size).toBe(1);
  });
});

test('files that no session is given are removed', async () => {
  const access = { ...defaultAccess, dm: { policy: 'pairing' as const, allowlist: ['fake:ann'] } };
  const hub = await new TestHub({ agent: { access } }).start();
  const fileOf = (name: string) => ({
    media: [{ path: name, name, mime: 'text/plain', size: 3, sha256: '0'.repeat(64) }],
  });
  await hub.tell('', { content: { text: 'let me in', ...fileOf('of a stranger') }, from: 'bob' });
  await hub.tell('', { content: { text: '/help', ...fileOf('of a command') } });
  await hub.tell('', { content: { text: 'look', ...fileOf('of a message') } });
  expect(hub.discarded).toEqual(['of a stranger', 'of a command']);
  expect([...hub.artifacts.values()]).toMatchObject([{ name: 'of a message' }]);
});

describe('a chat whose session is gone', () => {
  test('by a purge is heard again', async () => {
    const hub = await new TestHub().start();
    await hub.tell('a', { ...inGroup('g1'), mentions_bot: true });
    await hub.answer('A');
    const [session = ''] = hub.runtime.sessions.summaries().map((one) => one.session);
    await hub.runtime.sessions.purge(session);
    await hub.tell('b', inGroup('g1'));
    await hub.tell('c', { ...inGroup('g1'), mentions_bot: true });
    await hub.answer('C');
    expect(hub.gateway.texts('g1')).toEqual(['A', 'C']);
  });

  test('by its end does not have its last message answered again after a crash', async () => {
    const hub = await new TestHub().start();
    await hub.tell('transfer 100');
    await hub.answer('Done.');
    const [session = ''] = hub.runtime.sessions.summaries().map((one) => one.session);
    await hub.runtime.sessions.end(session, 'user');
    await hub.restart();
    await hub.runtime.clock.advance(20_000);
    expect(hub.runtime.model.calls).toHaveLength(0);
  });

  test('or whose inbox was moved away goes on', async () => {
    const hub = await new TestHub().start();
    for (const word of ['a', 'b', 'c']) {
      await hub.tell(word);
      await hub.answer(word);
    }
    hub.inboxes.clear();
    await hub.restart();
    await hub.tell('d');
    await hub.answer('D');
    expect(hub.gateway.texts('ann')).toEqual(['D']);
  });
});

describe('an agent that does not load when a message comes', () => {
  test('answers it when it does', async () => {
    const hub = await new TestHub().start();
    const get = hub.runtime.catalog.get.bind(hub.runtime.catalog);
    hub.runtime.catalog.get = async () => null;
    await hub.tell('hello');
    hub.runtime.catalog.get = get;
    await hub.runtime.clock.advance(6_000);
    await hub.answer('Hi.');
    expect(hub.gateway.texts('ann')).toEqual(['Hi.']);
  });
});

describe('what fails again and again', () => {
  test.each([
    ['unsent', { type: 'unsent', reason: 'full' }],
    ['lost', { type: 'lost', reason: 'it died' }],
  ] as const)('as %s is not repeated at once', async (_, outcome) => {
    const hub = await new TestHub().start(['ack']);
    let sends = 0;
    hub.gateway.answer = () => {
      sends += 1;
      return outcome;
    };
    await hub.tell('hello');
    await hub.answer('Hi.');
    for (let i = 0; i < 20; i += 1) await ticks();
    expect(sends).toBe(1);
  });

  test('is given up when it may have been posted several times', async () => {
    const hub = await new TestHub().start(['ack']);
    let sends = 0;
    hub.gateway.answer = () => {
      sends += 1;
      return { type: 'lost', reason: 'it died' };
    };
    await hub.tell('hello');
    await hub.answer('Hi.');
    await hub.runtime.clock.advance(60 * 60 * 1000);
    expect(sends).toBeLessThanOrEqual(5);
    expect(hub.runtime.sessions.summaries()).toMatchObject([{ owed: 0, dead: 1 }]);
  });
});

describe('an arrival that cannot be kept', () => {
  test('keeps those behind it from being taken, until the gateway starts anew', async () => {
    const hub = await new TestHub().start();
    hub.gateway.host.settings();
    hub.refuseAppends = 1;
    const [first, second] = [hub.message('one'), hub.message('two')];
    await expect(hub.send(first)).rejects.toMatchObject({ code: 'storage_full' });
    await expect(hub.send(second)).rejects.toMatchObject({ code: 'storage_failed' });
    hub.gateway.host.settings();
    await hub.send(first);
    await hub.send(second);
    await hub.runtime.clock.advance(2_000);
    const [session = ''] = hub.runtime.sessions.summaries().map((one) => one.session);
    const actor = await hub.runtime.sessions.open(session);
    const events = (await actor.read(0, 100)).map((record) => record.event);
    const said = events.flatMap((event) => (event.type === 'user_message' ? [event] : []));
    expect(said).toMatchObject([{ source: { inbox: { n: 1 } } }, { source: { inbox: { n: 2 } } }]);
  });
});

describe('a message in a group', () => {
  test('is overheard until the bot is mentioned, and then given with it', async () => {
    const hub = await new TestHub().start();
    await hub.tell('lunch?', { ...inGroup('g1'), from: 'ann' });
    await hub.tell('yes', { ...inGroup('g1'), from: 'bob' });
    expect(hub.runtime.model.calls).toHaveLength(0);
    await hub.tell('@my_bot where?', { ...inGroup('g1'), from: 'ann', mentions_bot: true });
    const [, ...texts] = hub.runtime.model.calls[0]?.request.messages.flatMap((message) =>
      message.role === 'user' ? ['', ...message.text.split('\n')] : [],
    ) ?? [''];
    expect(texts.filter((text) => text !== '')).toEqual([
      '[Said in this chat meanwhile, not to you:]',
      'ann: lunch?',
      'bob: yes',
      'ann: @my_bot where?',
    ]);
    await hub.answer('The usual.');
    expect(hub.gateway.posts).toMatchObject([{ chat_id: 'g1', reply_to: 'p3' }]);
  });

  test('of a topic has a session of its own', async () => {
    const hub = await new TestHub().start();
    await hub.tell('a', { ...inGroup('g1'), thread_id: 't1', mentions_bot: true });
    await hub.answer('A');
    await hub.tell('b', { ...inGroup('g1'), thread_id: 't2', mentions_bot: true });
    await hub.answer('B');
    expect(hub.gateway.posts.map((post) => [post.thread_id, post.text])).toEqual([
      ['t1', 'A'],
      ['t2', 'B'],
    ]);
    expect(hub.runtime.sessions.summaries()).toHaveLength(2);
  });

  test('that migrates keeps its session', async () => {
    const hub = await new TestHub().start();
    await hub.tell('a', { ...inGroup('g1'), mentions_bot: true });
    await hub.answer('A');
    await hub.send({ type: 'chat_migrated', event_id: 'mig', chat_id: 'g1', new_chat_id: 'g2' });
    await hub.tell('b', { ...inGroup('g2'), mentions_bot: true });
    await hub.answer('B');
    expect(hub.runtime.sessions.summaries()).toMatchObject([{ turns: 2 }]);
    expect(hub.gateway.texts('g2')).toEqual(['B']);
  });

  test('that migrates while an answer grows gets the answer once, under its new id', async () => {
    const hub = await new TestHub().start(['ack', 'edit', 'preview']);
    await hub.tell('a', { ...inGroup('g1'), mentions_bot: true });
    const begin = 'Hello there, this is the beginning of it. ';
    await preview(hub, begin);
    await hub.send({ type: 'chat_migrated', event_id: 'mig', chat_id: 'g1', new_chat_id: 'g2' });
    await hub.answer(`${begin}The end.`);
    await hub.runtime.clock.advance(1000);
    // A gateway posts under the new id what is for the old one.
    expect(hub.gateway.posts.map(({ chat_id, text }) => [chat_id, text])).toEqual([
      ['g2', `${begin}The end.`],
    ]);
    expect(hub.runtime.sessions.summaries()).toMatchObject([{ owed: 0, dead: 0 }]);
  });

  test('that migrates is let go of by a session that is in as many chats as one may be', async () => {
    const hub = await new TestHub().start();
    await hub.tell('a', { ...inGroup('g1'), mentions_bot: true });
    await hub.answer('A');
    const [summary] = hub.runtime.sessions.summaries();
    const actor = await hub.runtime.sessions.open(summary?.session ?? '');
    const [first] = actor.chats;
    for (let n = 1; first && n < MAX_CHATS; n += 1) {
      await actor.bind({ ...first, chat_id: `other${n}`, by: 'server' });
    }
    await hub.send({ type: 'chat_migrated', event_id: 'mig', chat_id: 'g1', new_chat_id: 'g2' });
    const ids = actor.chats.map(({ chat_id }) => chat_id);
    expect(ids).toContain('g2');
    expect(ids).not.toContain('g1');
  });

  test('that migrates keeps its session also where a server before this one made it', async () => {
    const hub = await new TestHub().start();
    await hub.tell('a', { ...inGroup('g1'), mentions_bot: true });
    await hub.answer('A');
    await hub.restart();
    await hub.send({ type: 'chat_migrated', event_id: 'mig', chat_id: 'g1', new_chat_id: 'g2' });
    await hub.tell('b', { ...inGroup('g2'), mentions_bot: true });
    await hub.answer('B');
    expect(hub.runtime.sessions.summaries()).toMatchObject([{ turns: 2 }]);
  });

  test('that nobody knows migrates without a look at all sessions', async () => {
    const hub = await new TestHub().start();
    await hub.tell('a', { ...inGroup('g1'), mentions_bot: true });
    await hub.answer('A');
    const looks = vi.spyOn(hub.runtime.sessions, 'summaries');
    await hub.send({ type: 'chat_migrated', event_id: 'mig', chat_id: 'x1', new_chat_id: 'x2' });
    expect(looks).not.toHaveBeenCalled();
  });
});

test('what becomes of a gateway is logged once, by whoever supervises it', async () => {
  const hub = await new TestHub().start();
  hub.gateway.down();
  hub.gateway.ready(['ack']);
  await ticks();
  expect(hub.runtime.logged).toEqual([]);
});

describe('an answer', () => {
  test('waits for its gateway', async () => {
    const hub = await new TestHub().start();
    await hub.tell('hello');
    hub.gateway.down();
    await hub.answer('Hi.');
    expect(hub.gateway.texts('ann')).toEqual([]);
    hub.gateway.ready(['ack']);
    await ticks();
    expect(hub.gateway.texts('ann')).toEqual(['Hi.']);
  });

  test('that a crash left uncertain comes again with a mark', async () => {
    const hub = await new TestHub().start(['ack']);
    hub.gateway.answer = (request) => {
      hub.gateway.perform(request);
      return new Promise(() => undefined);
    };
    await hub.tell('hello');
    await hub.answer('Hi.');
    expect(hub.gateway.texts('ann')).toEqual(['Hi.']);
    await hub.restart(['ack']);
    await ticks();
    expect(hub.gateway.texts('ann')).toEqual([`${REPEATED_MARK}Hi.`]);
  });

  test('whose preview was removed is posted anew, and marked where that may be the second time', async () => {
    const hub = await new TestHub().start(['ack', 'edit', 'preview']);
    let isLost = true;
    hub.gateway.answer = (request) => {
      if (request.type !== 'send_message') return undefined;
      const { request_id } = request;
      if (request.replaces?.message_id !== undefined) {
        const refusal = { code: 'message_not_found', message: '', uncertain: false } as const;
        return { type: 'answered', answer: { type: 'command_error', request_id, ...refusal } };
      }
      if (!isLost) return undefined;
      isLost = false;
      hub.gateway.perform(request);
      return { type: 'lost', reason: 'it died' };
    };
    await hub.tell('hello');
    const begin = 'Hello there, this is the beginning of it. ';
    await preview(hub, begin);
    await hub.answer(`${begin}The end.`);
    await hub.runtime.clock.advance(10_000);
    const whole = `${begin}The end.`;
    expect(hub.gateway.texts('ann')).toEqual([whole, `${REPEATED_MARK}${whole}`]);
    expect(hub.runtime.sessions.summaries()).toMatchObject([{ owed: 0, dead: 0 }]);
  });

  test('that was looked for and found is not sent again', async () => {
    const hub = await new TestHub().start(['ack', 'find']);
    hub.gateway.answer = (request) => {
      hub.gateway.perform(request);
      return { type: 'lost', reason: 'it died' };
    };
    await hub.tell('hello');
    const answered = hub.answer('Hi.');
    await answered;
    hub.gateway.answer = (request) =>
      request.type === 'find_message'
        ? {
            type: 'answered',
            answer: { type: 'message_found', request_id: request.request_id, message_id: 'm1' },
          }
        : undefined;
    await hub.runtime.clock.advance(5000);
    expect(hub.gateway.texts('ann')).toEqual(['Hi.']);
    expect(hub.runtime.sessions.summaries()).toMatchObject([{ owed: 0, dead: 0 }]);
  });

  test('that is refused for good is dead, and the next one comes', async () => {
    const hub = await new TestHub().start();
    hub.gateway.answer = ({ request_id }) => ({
      type: 'answered',
      answer: { type: 'command_error', request_id, code: 'blocked', message: '', uncertain: false },
    });
    await hub.tell('hello');
    await hub.answer('Hi.');
    expect(hub.runtime.sessions.summaries()).toMatchObject([{ owed: 0, dead: 1 }]);
    hub.gateway.answer = () => undefined;
    await hub.tell('again');
    await hub.answer('Yes.');
    expect(hub.gateway.texts('ann')).toEqual(['Yes.']);
  });

  test('waits as long as the platform asks', async () => {
    const hub = await new TestHub().start();
    hub.gateway.answer = rateLimited(7000);
    await hub.tell('hello');
    await hub.answer('Hi.');
    hub.gateway.answer = () => undefined;
    await hub.runtime.clock.advance(6900);
    expect(hub.gateway.texts('ann')).toEqual([]);
    await hub.runtime.clock.advance(200);
    expect(hub.gateway.texts('ann')).toEqual(['Hi.']);
  });

  test('waits too where the platform asked it of another session in the chat', async () => {
    const hub = await new TestHub().start();
    hub.gateway.answer = rateLimited(30_000);
    await hub.tell('hello');
    await hub.answer('Hi.');
    hub.gateway.answer = () => undefined;
    await hub.tell('/new');
    await hub.tell('again');
    await hub.answer('Yes.');
    expect(hub.gateway.texts('ann')).not.toContain('Yes.');
    await hub.runtime.clock.advance(30_000);
    expect(hub.gateway.texts('ann')).toContain('Yes.');
  });

  test('grows in a preview and is finished in it', async () => {
    const hub = await new TestHub().start(['ack', 'edit', 'preview']);
    await hub.tell('hello');
    const call = hub.runtime.model.calls.at(-1);
    call?.text('Hello there, this is the beginning of it. ');
    await hub.runtime.clock.advance(300);
    const [preview] = hub.gateway.previews;
    expect(preview?.content).toContain('Hello');
    hub.gateway.host.event({
      type: 'preview_posted',
      preview_id: preview?.preview_id ?? '',
      message_id: 'm77',
    });
    hub.gateway.posts.push({ id: 'm77', chat_id: 'ann', text: 'Hello', keyboard: [] });
    await ticks();
    call?.text('And this is the end.');
    await hub.answer('Hello there, this is the beginning of it. And this is the end.');
    await hub.runtime.clock.advance(1000);
    expect(hub.gateway.texts('ann')).toEqual([
      'Hello there, this is the beginning of it. And this is the end.',
    ]);
  });

  test('is never all there in a preview that is not known to be posted', async () => {
    const hub = await new TestHub().start(['ack', 'edit', 'preview']);
    const most = hub.gateway.status.ready?.limits?.max_length ?? 2000;
    const answers = [
      'Hello there, this is all of it.',
      'All of a part and more. '.repeat(most / 10),
    ];
    for (const answer of answers) {
      hub.gateway.previews.length = 0;
      await hub.tell('hello');
      const call = hub.runtime.model.calls.at(-1);
      // A gateway that has to wait shows the newest.
      for (let from = 0; from < answer.length; from += answer.length / 2) {
        call?.text(answer.slice(from, from + answer.length / 2));
        await hub.runtime.clock.advance(300);
      }
      const posts = hub.gateway.posts.length;
      await hub.answer(answer);
      await hub.runtime.clock.advance(1000);
      const parts = hub.gateway.texts('ann').slice(posts);
      expect(hub.gateway.previews.length).toBeGreaterThan(1);
      for (const { content } of hub.gateway.previews) {
        expect(parts[0]?.startsWith(content)).toBe(true);
        expect(content.length).toBeLessThan(parts[0]?.trimEnd().length ?? 0);
      }
    }
  });

  test('ends its preview by both of its names', async () => {
    const hub = await new TestHub().start(['ack', 'edit', 'preview']);
    const replaces: unknown[] = [];
    hub.gateway.answer = (request) => {
      if (request.type === 'send_message') replaces.push(request.replaces);
      return undefined;
    };
    await hub.tell('hello');
    hub.runtime.model.calls.at(-1)?.text('Hello there, this is the beginning of it. ');
    await hub.runtime.clock.advance(300);
    const preview_id = hub.gateway.previews[0]?.preview_id ?? '';
    hub.gateway.host.event({ type: 'preview_posted', preview_id, message_id: 'm77' });
    await ticks();
    await hub.answer('Hello there, this is the beginning of it. And the end.');
    expect(replaces).toEqual([{ message_id: 'm77', preview_id }]);
  });

  test('answers the message of a group with its preview already', async () => {
    const hub = await new TestHub().start(['ack', 'edit', 'preview', 'reply']);
    await hub.tell('@my_bot hello', { ...inGroup('g1'), mentions_bot: true });
    hub.runtime.model.calls.at(-1)?.text('Hello there, this is the beginning of it. ');
    await hub.runtime.clock.advance(300);
    expect(hub.gateway.previews).toMatchObject([{ reply_to: 'p1' }]);
  });

  test('is not shown before what the chat is still owed', async () => {
    const hub = await new TestHub({ agent: { greeting: 'I am a bot.' } }).start(['ack', 'preview']);
    const held = Promise.withResolvers<void>();
    hub.gateway.answer = async (request) => {
      await held.promise;
      return { type: 'answered', answer: hub.gateway.perform(request) };
    };
    await hub.tell('hello');
    hub.runtime.model.calls.at(-1)?.text('Hello there, this is the beginning of it. ');
    await hub.runtime.clock.advance(1000);
    expect(hub.gateway.previews).toEqual([]);
    held.resolve();
    await hub.answer('Hello there.');
    expect(hub.gateway.texts('ann')).toEqual(['I am a bot.', 'Hello there.']);
  });

  test('that may not be repeated is repeated when a person asks for it', async () => {
    const settings = { onUncertain: 'never' as const, mirror: true, ttlMs: 86_400_000 };
    const hub = await new TestHub({ settings: { delivery: settings } }).start(['ack']);
    hub.gateway.answer = () => ({ type: 'lost', reason: 'it died' });
    await hub.tell('hello');
    await hub.answer('Hi.');
    await hub.runtime.clock.advance(10_000);
    const [summary] = hub.runtime.sessions.summaries();
    expect(summary).toMatchObject({ dead: 1, owed: 0 });
    hub.gateway.answer = () => undefined;
    const actor = await hub.runtime.sessions.open(summary?.session ?? '');
    await actor.decideDelivery('deliver_again', actor.outbox.dead[0]?.out ?? '');
    await ticks();
    expect(hub.gateway.texts('ann')).toEqual([`${REPEATED_MARK}Hi.`]);
  });

  test('whose preview another process posted is only finished there', async () => {
    const hub = await new TestHub().start(['ack', 'edit', 'preview']);
    await hub.tell('hello');
    const begin = 'Hello there, this is the beginning of it. ';
    await preview(hub, begin);
    await hub.restart(['ack', 'edit', 'preview']);
    await hub.runtime.clock.advance(11_000);
    hub.gateway.posts.push({ id: 'm77', chat_id: 'ann', text: begin, keyboard: [] });
    hub.runtime.model.calls.at(-1)?.text(begin);
    await hub.runtime.clock.advance(300);
    expect(hub.gateway.previews).toEqual([]);
    await hub.answer(`${begin}And the end.`);
    expect(hub.gateway.texts('ann')).toEqual([`${begin}And the end.`]);
  });

  test('is preceded by the sign that the bot writes', async () => {
    const hub = await new TestHub().start();
    await hub.tell('hello');
    await hub.runtime.clock.advance(4500);
    expect(hub.gateway.typing.length).toBeGreaterThanOrEqual(2);
    await hub.answer('Hi.');
    const shown = hub.gateway.typing.length;
    await hub.runtime.clock.advance(20_000);
    expect(hub.gateway.typing).toHaveLength(shown);
  });
});

describe('the sign that the bot writes', () => {
  test('ends with a session that can no longer be written', async () => {
    const hub = await new TestHub().start();
    await hub.tell('hello');
    const [session = ''] = hub.runtime.sessions.summaries().map((one) => one.session);
    const actor = await hub.runtime.sessions.open(session);
    actor.abandon(new DuragentError('storage_failed', 'The disk is gone.'));
    const shown = hub.gateway.typing.length;
    await hub.runtime.clock.advance(20_000);
    expect(hub.gateway.typing).toHaveLength(shown);
  });
});

describe('a delivery that nobody knows', () => {
  test('is not said to be decided because something else was', async () => {
    const hub = await new TestHub().start();
    await hub.tell('hello');
    const [session = ''] = hub.runtime.sessions.summaries().map((one) => one.session);
    const actor = await hub.runtime.sessions.open(session);
    const asked = actor.decideDelivery('deliver_again', 'out_unknown');
    const ended = actor.cancel();
    expect(await asked).toBe(false);
    await ended;
  });
});

describe('a slash command', () => {
  test('begins a fresh session, once also when it comes again after a crash', async () => {
    const hub = await new TestHub().start();
    await hub.tell('one');
    await hub.answer('1');
    await hub.tell('/new');
    await hub.tell('two');
    await hub.answer('2');
    await hub.restart();
    await hub.runtime.clock.advance(20_000);
    await hub.tell('three');
    await hub.answer('3');
    const turns = hub.runtime.sessions.summaries().map((one) => one.turns);
    expect(turns.sort(byNumber)).toEqual([1, 2]);
  });

  test('is not answered again by a server that starts at once after a crash', async () => {
    const access = {
      ...defaultAccess,
      dm: { policy: 'pairing' as const, allowlist: ['fake:ann'] },
    };
    const hub = await new TestHub({ agent: { access } }).start();
    await hub.tell('/help');
    await hub.tell('let me in', { from: 'bob' });
    expect(hub.gateway.posts).toHaveLength(2);
    await hub.restart();
    expect(hub.gateway.posts).toEqual([]);
  });

  test('ends the old session with /reset', async () => {
    const hub = await new TestHub().start();
    await hub.tell('one');
    await hub.answer('1');
    await hub.tell('/reset');
    const ended = hub.runtime.sessions.summaries().map((one) => one.end_reason);
    expect(ended).toEqual(expect.arrayContaining(['reset', undefined]));
  });

  test('stops the turn', async () => {
    const hub = await new TestHub().start();
    await hub.tell('one');
    await hub.tell('/stop');
    expect(hub.gateway.texts('ann').at(-1)).toContain('Stopped.');
  });

  test('pauses the session and lets it go on; a message does not', async () => {
    const hub = await new TestHub().start();
    await hub.tell('/pause');
    expect(hub.gateway.texts('ann').at(-1)).toContain('no session yet');
    await hub.tell('one');
    await hub.tell('/pause');
    expect(hub.gateway.texts('ann').at(-1)).toMatch(/^Paused. It stops after .* session_/);
    await hub.answer('1');
    await hub.tell('two');
    const [summary] = hub.runtime.sessions.summaries();
    expect(summary).toMatchObject({ turns: 1, paused_by: 'fake:ann' });
    await hub.tell('/resume');
    expect(hub.gateway.texts('ann').at(-1)).toContain('It goes on.');
    await hub.answer('2');
    expect(hub.runtime.sessions.summaries()[0]).toMatchObject({ turns: 2 });
  });

  test('attaches the chat to another session, and detach gives it back its own', async () => {
    const access = {
      ...defaultAccess,
      owners: ['fake:ann'],
      dm: { policy: 'open' as const, allowlist: [] },
    };
    const hub = await new TestHub({ agent: { access } }).start();
    await hub.tell('mine');
    await hub.answer('1');
    const other = await hub.runtime.sessions.create({ origin: { kind: 'cli' } });
    await hub.tell(`/attach ${other.session}`);
    await hub.tell('in the other');
    await hub.answer('2');
    expect(other.view()).toMatchObject({ turns: 1 });
    await hub.tell('/detach');
    await hub.tell('mine again');
    await hub.answer('3');
    expect(other.view()).toMatchObject({ turns: 1 });
    expect(
      hub.runtime.sessions
        .summaries()
        .map((one) => one.turns)
        .sort(byNumber),
    ).toEqual([1, 2]);
  });

  test('reaches no agent that does not let the asker in', async () => {
    const access = {
      ...defaultAccess,
      owners: ['fake:ann'],
      dm: { policy: 'open' as const, allowlist: [] },
    };
    const hub = await new TestHub({ agent: { access } }).start();
    hub.runtime.catalog.set(testAgent({ name: 'payroll', access: defaultAccess }));
    const secret = await hub.runtime.sessions.create({ agent: 'payroll', origin: { kind: 'cli' } });
    await hub.tell('/sessions');
    expect(hub.gateway.texts('ann').at(-1)).not.toContain(secret.session);
    await hub.tell(`/attach ${secret.session}`);
    expect(hub.gateway.texts('ann').at(-1)).toContain('no such session');
  });

  test('/detach in its own session stays there', async () => {
    const hub = await new TestHub().start();
    await hub.tell('one');
    await hub.answer('1');
    await hub.tell('/detach');
    expect(hub.runtime.sessions.summaries()).toHaveLength(1);
  });

  test('with the name of the bot is done also before the gateway is ready', async () => {
    const hub = await new TestHub().start();
    await hub.tell('one');
    await hub.answer('1');
    await hub.gateway.host.inbound(hub.message('/new@my_bot'));
    await hub.restart();
    await hub.runtime.clock.advance(1_000);
    expect(hub.runtime.sessions.summaries()).toHaveLength(2);
  });

  test('does not show the sessions of others', async () => {
    const hub = await new TestHub().start();
    await hub.tell('secret', { from: 'bob' });
    await hub.answer('1');
    const [bobs = ''] = hub.runtime.sessions.summaries().map((one) => one.session);
    await hub.tell('/sessions');
    expect(hub.gateway.texts('ann').at(-1)).not.toContain(bobs);
    await hub.tell(`/attach ${bobs}`);
    expect(hub.gateway.texts('ann').at(-1)).toContain('no such session');
  });

  test('for owners is refused to others, also by a button', async () => {
    const access = {
      ...defaultAccess,
      owners: ['fake:ann'],
      groups: { ...defaultAccess.groups, policy: 'open' as const },
    };
    const hub = await new TestHub({ agent: { access } }).start();
    await hub.tell('hi', { ...inGroup('g1'), mentions_bot: true });
    await hub.answer('Hi.');
    await hub.tell('/queue', inGroup('g1'));
    const card = hub.gateway.posts.at(-1);
    expect(card?.keyboard).toContain('/queue drop');
    const press = (from: string, id: string) =>
      hub.send({
        type: 'callback_query',
        event_id: id,
        callback_query_id: id,
        chat_id: 'g1',
        chat_type: 'group',
        sender: { id: from, is_bot: false },
        message_id: card?.id ?? '',
        data: '/queue drop',
      });
    await press('bob', 'q1');
    expect(hub.gateway.pressAnswers.at(-1)).toContain('Only an owner');
    expect(card?.text).toContain('Messages while a turn works');
    await press('ann', 'q2');
    expect(hub.gateway.pressAnswers.at(-1)).toContain('drop');
    expect(hub.runtime.sessions.summaries()).toMatchObject([{ settings: { queue: 'drop' } }]);
  });

  test.each([
    ['rate_limited', { retry_after_ms: 7000 }, false, 1],
    ['not_connected', {}, false, 1],
    ['platform_error', {}, true, 0],
    ['blocked', {}, false, 0],
  ] as const)(
    'refused with %s %o, uncertain: %s, is answered',
    async (code, more, uncertain, n) => {
      const hub = await new TestHub().start();
      let refusals = 1;
      hub.gateway.answer = ({ request_id }) => {
        if (refusals === 0) return undefined;
        refusals -= 1;
        const refusal = { code, message: '', uncertain, ...more };
        return { type: 'answered', answer: { type: 'command_error', request_id, ...refusal } };
      };
      await hub.tell('/help');
      expect(hub.gateway.texts('ann')).toEqual([]);
      await hub.runtime.clock.advance(8000);
      expect(hub.gateway.texts('ann')).toHaveLength(n);
    },
  );

  test('is not answered for ever where the chat takes nothing', async () => {
    const hub = await new TestHub().start();
    let tries = 0;
    hub.gateway.answer = ({ request_id }) => {
      tries += 1;
      const refusal = { code: 'not_connected', message: '', uncertain: false } as const;
      return { type: 'answered', answer: { type: 'command_error', request_id, ...refusal } };
    };
    await hub.tell('/help');
    await hub.runtime.clock.advance(600_000);
    expect(tries).toBeGreaterThan(10);
    expect(tries).toBeLessThan(70);
  });

  test.each(['passive', 'silent', 'block'] as const)(
    'by a button of somebody whose words are %s is answered, and does nothing',
    async (disposition) => {
      const groups = {
        ...defaultAccess.groups,
        policy: 'open' as const,
        senderOverrides: { 'fake:mallory': disposition },
      };
      const hub = await new TestHub({ agent: { access: { ...defaultAccess, groups } } }).start();
      await hub.send(pressOf('mallory', { chat_id: 'g1', chat_type: 'group' }));
      expect(hub.gateway.pressAnswers).toEqual(['You may not do this here.']);
      expect(hub.runtime.sessions.summaries()).toEqual([]);
    },
  );

  test('by a button of a stranger is answered, and gives no code', async () => {
    const hub = await new TestHub({ agent: { access: defaultAccess } }).start();
    await hub.send(pressOf('mallory', { chat_id: 'mallory', chat_type: 'dm' }));
    expect(hub.gateway.pressAnswers).toEqual(['You may not do this here.']);
    expect(hub.book.requests).toEqual([]);
  });

  test('by a button of somebody who is not heard is answered, and does nothing', async () => {
    const hub = await new TestHub({ agent: { access: defaultAccess } }).start();
    await hub.send(pressOf('mallory', { chat_id: 'g1', chat_type: 'group' }));
    expect(hub.gateway.pressAnswers).toEqual(['You may not do this here.']);
    expect(hub.runtime.sessions.summaries()).toEqual([]);
  });

  test('that nobody knows goes to the agent', async () => {
    const hub = await new TestHub().start();
    await hub.tell('/weather Berlin');
    expect(hub.runtime.model.calls).toHaveLength(1);
  });
});

describe('a session in a chat', () => {
  test('shows there what is said elsewhere', async () => {
    const hub = await new TestHub().start();
    await hub.tell('hello');
    await hub.answer('Hi.');
    const [session = ''] = hub.runtime.sessions.summaries().map((one) => one.session);
    const actor = await hub.runtime.sessions.open(session);
    await actor.receive({
      content: [{ type: 'text', text: 'from here' }],
      handling: 'turn',
      source: { kind: 'cli', sender: { name: 'bob' } },
    });
    await ticks();
    await hub.answer('To both.');
    expect(hub.gateway.texts('ann')).toEqual(['Hi.', 'bob (terminal): from here', 'To both.']);
  });

  test('counts as attached while its gateway is ready, and for 30 s after', async () => {
    const hub = await new TestHub().start();
    await hub.tell('hello');
    const [session = ''] = hub.runtime.sessions.summaries().map((one) => one.session);
    const actor = await hub.runtime.sessions.open(session);
    expect(actor.view().status).toBe('active');
    hub.gateway.down();
    await hub.runtime.clock.advance(29_000);
    expect(actor.view().status).toBe('active');
    await hub.runtime.clock.advance(2_000);
    expect(actor.view().status).toBe('running');
    hub.gateway.ready([]);
    expect(actor.view().status).toBe('active');
  });

  test('lets its turn work on; one that its limit stopped goes on when the gateway is back', async () => {
    const done = () => Promise.resolve({ outcome: 'ok' as const, content: 'done' });
    const tools = [testTool({ name: 'read', run: done })];
    const hub = await new TestHub({ tools, settings: { maxBackgroundMs: 60_000 } }).start();
    await hub.tell('work');
    const { clock, model, sessions } = hub.runtime;
    await clock.advance(90_000);
    (await model.call(1)).done('', [{ name: 'read', arguments: {} }]);
    const second = await model.call(2);
    const [session = ''] = sessions.summaries().map((one) => one.session);
    const actor = await sessions.open(session);
    hub.gateway.down();
    // 30 s count as attached.
    await clock.advance(91_000);
    second.done('', [{ name: 'read', arguments: {} }]);
    await until(() => actor.view().status === 'paused');
    hub.gateway.ready([]);
    (await model.call(3)).done('all of it');
    await until(() => actor.view().turn_state === 'idle');
    await until(() => hub.gateway.texts('ann').includes('all of it'));
    const told = hub.gateway.texts('ann').filter((text) => text.includes('nobody attached'));
    expect(told).toHaveLength(1);
  });
});
