import { MAX_KEYS, MAX_PENDING } from '../core/session/state.ts';
import { defaultAccess } from '../core/agent-access.ts';
import { DuragentError } from '@duragent/protocol';
import { describe, expect, test } from 'vitest';
import type { SessionLog, SessionStore } from '../ports/session-store.ts';
import {
  noChats,
  Reader,
  type RuntimeOptions,
  say,
  storeOf,
  testAgent,
  TestRuntime,
  ticks,
  until,
} from './testing.ts';
import { testTool } from './tools/testing.ts';

const sequential = {
  ...defaultAccess,
  queue: { ...defaultAccess.queue, mode: 'sequential' as const },
};

/** A session whose model is called for a message that the disk does not take before `letGo`. */
async function askedOnHeldDisk(options: RuntimeOptions = {}) {
  const gate = Promise.withResolvers<void>();
  let isHeld = false;
  const runtime = new TestRuntime({
    wrapStore: (store) => slowStore(store, () => (isHeld ? gate.promise : Promise.resolve())),
    ...options,
  });
  const actor = await runtime.create();
  const chat = { gateway: 'tg', account: 'tg:1', chat_id: 'c1', chat_type: 'dm' } as const;
  await actor.bind({ ...chat, inbox: 0, by: 'server' });
  const reader = new Reader(actor, { after: actor.lastSeq });
  await ticks();
  isHeld = true;
  const accepted = say(actor, 'hi');
  const call = await runtime.model.call(1);
  const letGo = async (): Promise<void> => {
    gate.resolve();
    await accepted;
  };
  /** What the reader is shown by the end of the turn: nothing of it before. */
  const shownOnceLetGo = async (): Promise<string[]> => {
    await ticks();
    expect(shownTo(reader)).toEqual([]);
    await letGo();
    await until(() => reader.events.includes('turn_finished'));
    return shownTo(reader);
  };
  return { runtime, reader, call, letGo, shownOnceLetGo };
}

/** Types of the events and texts of the tokens that a reader got, in order. */
function shownTo(reader: Reader): string[] {
  return reader.frames.flatMap((frame) => {
    if (frame.kind === 'event') return [frame.record.event.type];
    return frame.delta.type === 'token' ? [frame.delta.text] : [];
  });
}

describe('a turn', () => {
  test('streams to every client, is recorded once, and ends', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    const [one, two] = [new Reader(actor), new Reader(actor)];
    const accepted = await say(actor, 'hi');
    expect(accepted).toMatchObject({ seq: 2, turn: expect.stringMatching(/^turn_/) as unknown });
    const call = await runtime.model.call(1);
    expect(call.request).toMatchObject({
      system: 'Be helpful.',
      messages: [{ role: 'user', text: 'hi' }],
    });
    call.text('Hel');
    call.text('lo');
    await until(() => one.text === 'Hello' && two.text === 'Hello');
    expect(actor.view()).toMatchObject({ status: 'active', turn_state: 'working', clients: 2 });
    call.done('Hello');
    const events = [
      'session_started',
      'user_message',
      'turn_started',
      'assistant_message',
      'turn_finished',
    ];
    await until(() => one.events.length === 5 && two.events.length === 5);
    expect(one.events).toEqual(events);
    expect(two.events).toEqual(events);
    expect(actor.view()).toMatchObject({
      turn_state: 'idle',
      turns: 1,
      usage: { input_tokens: 10 },
    });
    await one.leave();
    await two.leave();
    expect(actor.view()).toMatchObject({ status: 'running', clients: 0 });
  });

  test('gives a client that comes in the middle the text so far as one token', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    await say(actor, 'hi');
    const call = await runtime.model.call(1);
    for (const part of ['Once ', 'upon ', 'a ']) call.text(part);
    await ticks();
    const reader = new Reader(actor);
    await until(() => reader.text === 'Once upon a ');
    call.text('time');
    call.done('Once upon a time');
    await until(() => reader.events.includes('turn_finished'));
    const tokens = reader.frames.flatMap((frame) =>
      frame.kind === 'delta' && frame.delta.type === 'token' ? [frame.delta] : [],
    );
    expect(tokens.map(({ offset, text }) => ({ offset, text }))).toEqual([
      { offset: 0, text: 'Once upon a ' },
      { offset: 12, text: 'time' },
    ]);
    await reader.leave();
  });

  test('shows no word of the answer before its trigger is on disk', async () => {
    const { reader, call, letGo } = await askedOnHeldDisk();
    call.text('early');
    await ticks();
    expect(reader.text).toBe('');
    expect(reader.events).toEqual([]);
    await letGo();
    await until(() => reader.text === 'early');
    expect(reader.events).toEqual(['user_message', 'turn_started']);
    await reader.leave();
  });

  test('shows chats what is said before its trigger is on disk when it is, though nothing more is said', async () => {
    const previews: string[] = [];
    const { reader, call, letGo } = await askedOnHeldDisk({
      settings: { delivery: { onUncertain: 'never', mirror: false, ttlMs: 60_000 } },
      chats: () => ({
        ...noChats,
        showsPreviews: () => true,
        preview: (_, __, ___, { text }) => void previews.push(text()),
      }),
    });
    call.text('Let me ');
    call.text('see.');
    await ticks();
    expect(previews).toEqual([]);
    await letGo();
    await until(() => previews.length > 0);
    expect(previews).toEqual(['Let me see.']);
    await reader.leave();
  });

  test('records an answer that is quicker than the disk behind its message, and shows both and its words in order', async () => {
    const { runtime, reader, call, shownOnceLetGo } = await askedOnHeldDisk();
    call.text('Quick.');
    call.done('Quick.');
    expect(await shownOnceLetGo()).toEqual([
      'user_message',
      'turn_started',
      'Quick.',
      'assistant_message',
      'turn_finished',
    ]);
    expect(runtime.model.calls).toHaveLength(1);
    await reader.leave();
  });

  test('shows what a fallback says that is quicker than the record of why it was asked', async () => {
    const { runtime, reader, call, shownOnceLetGo } = await askedOnHeldDisk({
      agent: { models: [...testAgent().models, ...testAgent().models] },
    });
    call.text('I shall no');
    call.fail({ code: 'model_unauthorized', message: 'no', retryable: false });
    const fallback = await runtime.model.call(2);
    fallback.text('I shall.');
    fallback.done('I shall.');
    expect(await shownOnceLetGo()).toEqual([
      'user_message',
      'turn_started',
      'I shall no',
      'model_call_failed',
      'I shall.',
      'assistant_message',
      'turn_finished',
    ]);
    await reader.leave();
  });

  test('takes a steered message into its next step', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    const first = await say(actor, 'one');
    const call = await runtime.model.call(1);
    const second = await say(actor, 'two');
    expect(second.turn).toBe(first.turn);
    const answers = Promise.all(
      [first, second].map((one) => actor.answer(one, { signal: new AbortController().signal })),
    );
    call.done('first');
    const next = await runtime.model.call(2);
    expect(next.request.messages).toEqual([
      { role: 'user', text: 'one' },
      expect.objectContaining({ role: 'assistant' }),
      { role: 'user', text: 'two' },
    ]);
    next.done('both');
    expect(await answers).toMatchObject([
      { text: 'both', outcome: 'completed' },
      { text: 'both', outcome: 'completed' },
    ]);
  });

  test('of a sequential agent does not see what waits for the next turn', async () => {
    const runtime = new TestRuntime({ agent: { access: sequential } });
    const actor = await runtime.create();
    await say(actor, 'one');
    const waiting = await say(actor, 'two');
    expect(waiting.turn).toBeNull();
    const call = await runtime.model.call(1);
    expect(call.request.messages).toEqual([{ role: 'user', text: 'one' }]);
    call.done('1');
    const next = await runtime.model.call(2);
    expect(next.request.messages.at(-1)).toEqual({ role: 'user', text: 'two' });
    next.done('2');
    await expect(
      actor.answer(waiting, { signal: new AbortController().signal }),
    ).resolves.toMatchObject({ text: '2' });
  });

  test('keeps its agent, and the next one, begun from the queue, has the edited one', async () => {
    const runtime = new TestRuntime({ agent: { access: sequential } });
    const actor = await runtime.create();
    await say(actor, 'one');
    const call = await runtime.model.call(1);
    await say(actor, 'two');
    runtime.catalog.set(testAgent({ access: sequential, systemPrompt: 'Be brief.' }));
    call.done('1');
    expect((await runtime.model.call(2)).request.system).toBe('Be brief.');
  });

  test('is cancelled at once, with what was seen of it kept', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    const reader = new Reader(actor);
    const { turn } = await say(actor, 'hi');
    const call = await runtime.model.call(1);
    call.text('Hel');
    await until(() => reader.text === 'Hel');
    expect(await actor.cancel()).toEqual({ turn });
    expect(call.signal.aborted).toBe(true);
    await until(() => reader.events.includes('turn_finished'));
    const kept = reader.frames.find(
      (frame) => frame.kind === 'event' && frame.record.event.type === 'assistant_message',
    );
    expect(kept).toMatchObject({
      record: { event: { content: [{ type: 'text', text: 'Hel' }], finish_reason: 'cancelled' } },
    });
    expect(await actor.cancel()).toEqual({ turn: null });
    await reader.leave();
  });

  test('fails when its model says nothing for two minutes, after three more tries', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    const accepted = await say(actor, 'hi');
    const answer = actor.answer(accepted, { signal: new AbortController().signal });
    for (let tries = 1; tries <= 4; tries += 1) {
      await runtime.model.call(tries);
      await runtime.clock.advance(120_000);
      await runtime.clock.advance(30_000);
    }
    expect(await answer).toMatchObject({ outcome: 'failed', error: { code: 'model_stalled' } });
    expect(runtime.model.calls).toHaveLength(4);
  });

  test('fails at its time also when the machine slept through it', async () => {
    const hour = 3_600_000;
    const session = { ...testAgent().session, turnTimeoutMs: hour };
    const runtime = new TestRuntime({ agent: { session } });
    const actor = await runtime.create();
    const accepted = await say(actor, 'hi');
    const answer = actor.answer(accepted, { signal: new AbortController().signal });
    await runtime.model.call(1);
    runtime.clock.suspend(hour);
    await runtime.clock.advance(30_000);
    expect(await answer).toMatchObject({ outcome: 'failed', error: { code: 'turn_timeout' } });
  });

  test('waits for a place when too many models are called at once', async () => {
    const runtime = new TestRuntime({ maxConcurrent: 1 });
    const [one, two] = [await runtime.create(), await runtime.create()];
    await say(one, 'hi');
    const call = await runtime.model.call(1);
    await say(two, 'hi');
    await ticks();
    expect(two.view().turn_state).toBe('queued');
    expect(runtime.model.calls).toHaveLength(1);
    call.done('ok');
    (await runtime.model.call(2)).done('ok');
    await until(() => two.view().turn_state === 'idle');
  });

  test('runs a tool once it is on disk and gives the model its result', async () => {
    const ran: unknown[] = [];
    const runtime = new TestRuntime({
      tools: [
        testTool({
          name: 'add',
          run: async (args, { onOutput }) => {
            ran.push(args);
            onOutput('adding\n');
            return { outcome: 'ok', content: '3' };
          },
        }),
      ],
    });
    const actor = await runtime.create();
    const reader = new Reader(actor);
    await say(actor, 'add');
    (await runtime.model.call(1)).done('', [{ name: 'add', arguments: { a: 1, b: 2 } }]);
    const next = await runtime.model.call(2);
    expect(ran).toEqual([{ a: 1, b: 2 }]);
    expect(next.request.messages.at(-1)).toMatchObject({
      role: 'tool',
      results: [{ content: '3' }],
    });
    next.done('It is 3.');
    await until(() => reader.events.includes('turn_finished'));
    expect(reader.events.slice(3)).toEqual([
      'assistant_message',
      'tool_started',
      'tool_finished',
      'assistant_message',
      'turn_finished',
    ]);
    await reader.leave();
  });
});

describe('a message', () => {
  test('that is sent twice with one key is recorded once, also after a restart', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    const first = await say(actor, 'hi', 'key-1');
    expect(await say(actor, 'hi', 'key-1')).toEqual(first);
    (await runtime.model.call(1)).done('ok');
    await until(() => actor.view().turn_state === 'idle');
    expect(await say(actor, 'hi', 'key-1')).toEqual(first);
    await runtime.restart();
    const again = await runtime.sessions.open(actor.session);
    expect(await say(again, 'hi', 'key-1')).toEqual(first);
    expect(await say(again, 'hi', 'key-2')).not.toMatchObject({ seq: first.seq });
  });

  test('is refused as by the log of a session that is closed, whatever it has to be looked up in', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    for (let i = 0; i < MAX_KEYS; i += 1) {
      const source = { kind: 'http' } as const;
      await actor.receive({ content: [], handling: 'silent', source, idempotencyKey: `${i}` });
    }
    await actor.close();
    await expect(actor.read(0, 1)).rejects.toMatchObject({ code: 'draining' });
    await expect(say(actor, 'late', 'new')).rejects.toMatchObject({ code: 'draining' });
  });

  test('is refused after the end, when it is too large, and when too many wait', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    await expect(say(actor, '\u0001'.repeat(300_000))).rejects.toMatchObject({
      code: 'record_too_large',
    });
    for (let i = 0; i <= MAX_PENDING; i += 1) await say(actor, `${i}`);
    await expect(say(actor, 'more')).rejects.toMatchObject({ code: 'queue_full' });
    await actor.end('user');
    await expect(say(actor, 'late')).rejects.toMatchObject({ code: 'session_ended' });
  });
});

describe('a reader', () => {
  test('resumes after the event it has, and misses none of 300', async () => {
    const runtime = new TestRuntime({ settings: { outputBufferSize: 10 } });
    const actor = await runtime.create();
    for (let i = 0; i < 75; i += 1) {
      await say(actor, `${i}`);
      (await runtime.model.call(i + 1)).done('ok');
      await until(() => actor.view().turn_state === 'idle');
    }
    const reader = new Reader(actor, { after: 100 });
    await until(() => reader.events.length === 201);
    const seqs = reader.frames.flatMap((frame) =>
      frame.kind === 'event' ? [frame.record.event.seq] : [],
    );
    expect(seqs).toEqual(Array.from({ length: 201 }, (_, i) => 101 + i));
    await reader.leave();
  });

  test('with an id that was never given gets reset and the tail', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    for (const after of [99, -1, Number.NaN, 1.5, 2 ** 60]) {
      const reader = new Reader(actor, { after });
      await until(() => reader.events.length === 1);
      expect(reader.frames[0]).toEqual({ kind: 'delta', delta: { type: 'reset', seq: 0 } });
      await reader.leave();
    }
  });

  test('who leaves pauses the turn at its safe point; coming back goes on there', async () => {
    const runtime = new TestRuntime({ settings: { onDisconnect: 'pause' } });
    const actor = await runtime.create();
    const reader = new Reader(actor);
    await ticks();
    await say(actor, 'one');
    await reader.leave();
    await runtime.clock.advance(5_000);
    await say(actor, 'two');
    (await runtime.model.call(1)).done('first');
    await until(() => actor.view().status === 'paused');
    expect(actor.view().turn_state).toBe('paused');
    expect(runtime.model.calls).toHaveLength(1);
    const back = new Reader(actor);
    (await runtime.model.call(2)).done('second');
    await until(() => back.events.includes('turn_finished'));
    expect(back.events.slice(-5)).toEqual([
      'assistant_message',
      'turn_paused',
      'turn_resumed',
      'assistant_message',
      'turn_finished',
    ]);
    await back.leave();
  });
});

describe('a turn that everyone left', () => {
  test('is let go on by nobody in a server that stops', async () => {
    const runtime = new TestRuntime({ settings: { onDisconnect: 'pause' } });
    const actor = await runtime.create();
    const reader = new Reader(actor);
    await ticks();
    await say(actor, 'one');
    await reader.leave();
    await runtime.clock.advance(5_000);
    await say(actor, 'two');
    (await runtime.model.call(1)).done('first');
    await until(() => actor.view().status === 'paused');
    actor.refuseMessages();
    const back = new Reader(actor);
    await ticks();
    await expect(actor.resume('http:owner')).rejects.toMatchObject({ code: 'draining' });
    expect(back.events.at(-1)).toBe('turn_paused');
    expect(actor.view().turn_state).toBe('paused');
    await back.leave();
  });
});

describe('a turn that everyone left and a message resumed', () => {
  test('goes on to its end: nobody left it again', async () => {
    const runtime = new TestRuntime({ settings: { onDisconnect: 'pause' } });
    const actor = await runtime.create();
    const reader = new Reader(actor);
    await ticks();
    await say(actor, 'one');
    await reader.leave();
    await runtime.clock.advance(5_000);
    await say(actor, 'two');
    (await runtime.model.call(1)).done('first');
    await until(() => actor.view().status === 'paused');
    await say(actor, 'three');
    const call = await runtime.model.call(2);
    await say(actor, 'four');
    call.done('second');
    (await runtime.model.call(3)).done('third');
    await until(() => actor.view().turn_state === 'idle');
  });
});

describe('a reader that is not attached', () => {
  test('keeps the session open all the same', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    const reader = new Reader(actor, { presence: false });
    runtime.sessions.resume();
    await runtime.clock.advance(200_000);
    expect(runtime.sessions.load).toMatchObject({ open: 1, clients: 0 });
    await reader.leave();
  });
});

describe('a cancelled step that had seen a steered message', () => {
  test('says so, and the message starts no other turn', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    const reader = new Reader(actor);
    await say(actor, 'one');
    const call = await runtime.model.call(1);
    await say(actor, 'two');
    call.done('first');
    (await runtime.model.call(2)).text('sec');
    await until(() => reader.text === 'sec');
    await actor.cancel();
    await until(() => reader.events.includes('turn_finished'));
    const kept = reader.frames.findLast(
      (frame) => frame.kind === 'event' && frame.record.event.type === 'assistant_message',
    );
    expect(kept).toMatchObject({ record: { event: { input_seq: 5, model: 'echo/echo' } } });
    expect(runtime.model.calls).toHaveLength(2);
    await reader.leave();
  });
});

describe('a log that cannot be written', () => {
  test('refuses what it cannot keep, and the session is opened anew without it', async () => {
    let isFull = false;
    const runtime = new TestRuntime({
      wrapStore: (store) =>
        slowStore(store, () =>
          isFull
            ? Promise.reject(new DuragentError('storage_full', 'The disk is full.'))
            : Promise.resolve(),
        ),
    });
    const actor = await runtime.create();
    const reader = new Reader(actor);
    await ticks();
    isFull = true;
    const broken = reader.done.catch((error: unknown) => error);
    await expect(say(actor, 'lost')).rejects.toMatchObject({ code: 'storage_full' });
    expect(await broken).toMatchObject({ code: 'storage_full' });
    isFull = false;
    const again = await runtime.sessions.open(actor.session);
    expect(again).not.toBe(actor);
    const accepted = await say(again, 'kept');
    expect(accepted.seq).toBe(2);
  });

  test('has the model asked once, and again only about what was written', async () => {
    let isFull = true;
    const runtime = new TestRuntime({
      wrapStore: (store) =>
        slowStore(store, async () => {
          // Long enough for a call to be made meanwhile.
          await ticks();
          if (isFull) throw new DuragentError('storage_full', 'The disk is full.');
        }),
    });
    isFull = false;
    const { session } = await runtime.create();
    isFull = true;
    for (const text of ['lost', 'lost too', 'and lost']) {
      const actor = await runtime.sessions.open(session);
      await expect(say(actor, text)).rejects.toMatchObject({ code: 'storage_full' });
    }
    expect(runtime.model.calls).toHaveLength(1);
    isFull = false;
    await say(await runtime.sessions.open(session), 'kept');
    (await runtime.model.call(2)).done('Heard.');
    await until(() => runtime.sessions.view(session).turn_state === 'idle');
    expect(runtime.model.calls).toHaveLength(2);
  });
});

describe('a turn whose answer cannot be written', () => {
  test('goes on by itself when it can be, without running a tool again', async () => {
    let isFull = false;
    const ran: string[] = [];
    const runtime = new TestRuntime({
      wrapStore: (store) =>
        slowStore(store, () =>
          isFull
            ? Promise.reject(new DuragentError('storage_full', 'The disk is full.'))
            : Promise.resolve(),
        ),
      tools: [
        testTool({
          name: 'write',
          run: async () => {
            ran.push('write');
            isFull = true;
            return { outcome: 'ok', content: 'written' };
          },
        }),
      ],
    });
    const { session } = await runtime.create();
    await say(await runtime.sessions.open(session), 'hi');
    (await runtime.model.call(1)).done('', [{ name: 'write', arguments: {} }]);
    await until(() => runtime.logged.some((text) => text.startsWith('session failed')));
    await runtime.clock.advance(6_000);
    isFull = false;
    await runtime.clock.advance(6_000);
    const next = await runtime.model.call(2);
    expect(next.request.messages.at(-1)).toMatchObject({
      role: 'tool',
      results: [{ content: expect.stringContaining('outcome is unknown') as unknown }],
    });
    next.done('I will look.');
    await until(() => runtime.sessions.view(session).turn_state === 'idle');
    expect(ran).toEqual(['write']);
  });
});

/** A store whose appends wait for, or fail with, what `before` gives. */
function slowStore(store: SessionStore, before: () => Promise<void>): SessionStore {
  const wrap = (log: SessionLog): SessionLog =>
    new Proxy(log, {
      get(target, name) {
        if (name === 'append') {
          return async (...args: Parameters<SessionLog['append']>) => {
            await before();
            return target.append(...args);
          };
        }
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  return {
    ...storeOf(store),
    create: async (session) => wrap(await store.create(session)),
    open: async (...args) => {
      const opened = await store.open(...args);
      return { ...opened, log: wrap(opened.log) };
    },
  };
}

describe('a snapshot', () => {
  test('is written every 50 events, and of a session that is new or written fast after 1 s, 5 s or 500', async () => {
    const runtime = new TestRuntime({ agent: { access: sequential } });
    const actor = await runtime.create();
    const seqOfSnapshot = (): number => {
      const text = runtime.disk.get(actor.session)?.snapshot;
      return text == null ? 0 : (JSON.parse(text) as { seq: number }).seq;
    };
    const setUntil = async (seq: number): Promise<void> => {
      while (actor.lastSeq < seq) {
        await actor.set('queue', actor.lastSeq % 2 === 0 ? 'batch' : 'steer', 'test');
      }
      await ticks();
    };
    await setUntil(60);
    expect(seqOfSnapshot()).toBe(0);
    await runtime.clock.advance(1_000);
    await setUntil(61);
    expect(seqOfSnapshot()).toBe(61);
    await setUntil(110);
    expect(seqOfSnapshot()).toBe(61);
    await setUntil(561);
    expect(seqOfSnapshot()).toBe(561);
    await setUntil(610);
    await runtime.clock.advance(5_000);
    expect(seqOfSnapshot()).toBe(561);
    await setUntil(611);
    expect(seqOfSnapshot()).toBe(611);
  });
});
