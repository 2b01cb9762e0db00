import { DuragentError } from '@duragent/protocol';
import { describe, expect, test } from 'vitest';
import { Reader, say, storeOf, testAgent, TestRuntime, ticks, until } from './testing.ts';
import { askUserTool } from './tools/ask-user.ts';

const origin = { kind: 'http' } as const;

describe('creating a session', () => {
  test('takes the only agent, or says which there are', async () => {
    const runtime = new TestRuntime();
    expect((await runtime.create()).view().agent).toBe('assistant');
    runtime.catalog.set(testAgent({ name: 'other' }));
    await expect(runtime.create()).rejects.toMatchObject({
      code: 'agent_not_found',
      message: 'Say which agent: there is no default_agent. There are: assistant, other.',
    });
    await expect(runtime.sessions.create({ agent: 'nobody', origin })).rejects.toMatchObject({
      code: 'agent_not_found',
      details: { known: ['assistant', 'other'] },
    });
  });

  test('with a key that is taken names the session that holds it, until that one ends', async () => {
    const runtime = new TestRuntime();
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, () => runtime.sessions.create({ key: 'mine', origin })),
    );
    const made = results.filter((result) => result.status === 'fulfilled');
    expect(made).toHaveLength(1);
    const holder = made[0]?.value.session ?? '';
    await runtime.restart();
    await expect(runtime.sessions.create({ key: 'mine', origin })).rejects.toMatchObject({
      code: 'conflict',
      details: { session: holder },
    });
    await runtime.sessions.end(holder, 'user');
    const next = await runtime.sessions.create({ key: 'mine', origin });
    expect(next.session).not.toBe(holder);
  });

  test('twice with one Idempotency-Key makes one, also at once and after a restart', async () => {
    const runtime = new TestRuntime();
    const create = () => runtime.sessions.create({ origin, idempotencyKey: 'once' });
    const [one, two] = await Promise.all([create(), create()]);
    expect(one.session).toBe(two.session);
    await runtime.restart();
    expect((await create()).session).toBe(one.session);
  });
});

describe('a start after a kill', () => {
  test('lets interrupted turns go on by themselves, four at once and newest first', async () => {
    const runtime = new TestRuntime();
    const texts = new Map<string, string>();
    for (let i = 0; i < 6; i += 1) {
      const actor = await runtime.create();
      await say(actor, `${i}`);
      texts.set(actor.session, `${i}`);
    }
    // Ids sort by time, but not within a millisecond.
    const newest = [...texts.keys()].sort().slice(2);
    const report = await runtime.restart();
    expect(report).toMatchObject({ sessions: 6, resumed: 6, parked: 0, quarantined: 0 });
    expect(runtime.model.calls).toHaveLength(0);
    await runtime.clock.advance(10_000);
    expect(runtime.model.calls).toHaveLength(4);
    const asked = runtime.model.calls.map((call) => call.request.messages.at(-1));
    expect(new Set(asked.map((message) => message?.role === 'user' && message.text))).toEqual(
      new Set(newest.map((session) => texts.get(session))),
    );
    for (const call of runtime.model.calls) call.done('ok');
    await ticks();
    await runtime.clock.advance(10_000);
    expect(runtime.model.calls).toHaveLength(6);
  });

  test('goes on at once for a client that attaches', async () => {
    const runtime = new TestRuntime();
    const { session } = await runtime.create();
    await say(await runtime.sessions.open(session), 'hi');
    await runtime.restart();
    const reader = new Reader(await runtime.sessions.open(session));
    (await runtime.model.call(1)).done('ok');
    await until(() => reader.events.includes('turn_finished'));
    expect(reader.events).toEqual([
      'session_started',
      'user_message',
      'turn_started',
      'turn_resumed',
      'assistant_message',
      'turn_finished',
    ]);
    await reader.leave();
  });

  test('lets a turn go on whose answer was all that the log kept', async () => {
    const runtime = new TestRuntime({ tools: [askUserTool] });
    const actor = await runtime.create();
    await say(actor, 'hi');
    (await runtime.model.call(1)).done('', [
      { name: 'ask_user', arguments: { question: 'Which?' } },
    ]);
    await until(() => actor.view().turn_state === 'waiting_input');
    await say(actor, 'blue');
    const kept = runtime.disk.get(actor.session);
    const answered = kept?.lines.findIndex((line) => line.includes('"question_answered"')) ?? 0;
    kept?.lines.splice(answered);
    await runtime.restart();
    const call = await runtime.model.call(1);
    expect(call.signal.aborted).toBe(false);
    call.done('It is blue.');
    await until(() => runtime.sessions.view(actor.session).turn_state === 'idle');
  });

  test('leaves a parked turn parked, and lists every session', async () => {
    const runtime = new TestRuntime();
    const one = await runtime.create();
    const two = await runtime.create();
    await runtime.restart();
    expect(runtime.sessions.list().map((view) => view.session)).toEqual(
      [one.session, two.session].sort().reverse(),
    );
  });
});

describe('stopping', () => {
  test('parks a turn that works, refuses messages, and the next start goes on', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    const reader = new Reader(actor);
    await say(actor, 'hi');
    const call = await runtime.model.call(1);
    call.text('Hel');
    const closed = runtime.sessions.close();
    await expect(say(actor, 'late')).rejects.toMatchObject({ code: 'draining' });
    await runtime.clock.advance(5_100);
    await closed;
    await reader.done;
    expect(call.signal.aborted).toBe(true);
    expect(reader.events.at(-1)).toBe('turn_paused');
    await runtime.restart();
    await runtime.clock.advance(10_000);
    (await runtime.model.call(1)).done('Hello');
    await until(() => runtime.sessions.view(actor.session).turn_state === 'idle');
    const again = new Reader(await runtime.sessions.open(actor.session));
    await until(() => again.events.length > 4);
    expect(again.events.slice(3)).toEqual([
      'turn_paused',
      'turn_resumed',
      'assistant_message',
      'turn_finished',
    ]);
    await again.leave();
  });

  test('waits for a turn that is about to end', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    const reader = new Reader(actor);
    await say(actor, 'hi');
    const call = await runtime.model.call(1);
    const closed = runtime.sessions.close();
    call.done('Hello');
    await runtime.clock.advance(100);
    await closed;
    await reader.done;
    expect(reader.events.at(-1)).toBe('turn_finished');
  });
});

describe('an open session', () => {
  test('that nobody uses is closed, and opened again when it is needed', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    runtime.sessions.resume();
    await runtime.clock.advance(80_000);
    expect(runtime.sessions.load.open).toBe(0);
    expect(runtime.sessions.view(actor.session).status).toBe('running');
    const again = await runtime.sessions.open(actor.session);
    expect(again).not.toBe(actor);
    expect((await say(again, 'hi')).seq).toBe(2);
  });

  test('is one of a bounded number: the longest unused are closed for new ones', async () => {
    const runtime = new TestRuntime();
    const first = await runtime.create();
    const reader = new Reader(first);
    for (let i = 0; i < 600; i += 1) {
      await runtime.create();
      await runtime.clock.advance(10);
    }
    await ticks();
    expect(runtime.sessions.load.open).toBeLessThanOrEqual(512);
    expect(runtime.sessions.list()).toHaveLength(601);
    expect(await runtime.sessions.open(first.session)).toBe(first);
    await reader.leave();
  });

  test('is one for all who open it at once', async () => {
    const runtime = new TestRuntime();
    const { session } = await runtime.create();
    await runtime.restart();
    const actors = await Promise.all(
      Array.from({ length: 5 }, () => runtime.sessions.open(session)),
    );
    expect(new Set(actors).size).toBe(1);
  });

  test('is purged once, and is not found by whoever asks meanwhile', async () => {
    const runtime = new TestRuntime();
    const { session } = await runtime.create();
    const { sessions } = runtime;
    const asked = [
      sessions.purge(session),
      sessions.open(session),
      sessions.purge(session),
      ticks().then(() => sessions.open(session)),
    ];
    const [first, , second, later] = await Promise.allSettled(asked);
    expect([first?.status, second?.status].filter((status) => status === 'fulfilled')).not.toEqual(
      [],
    );
    expect(later).toMatchObject({ status: 'rejected', reason: { code: 'session_not_found' } });
    expect(runtime.disk.size).toBe(0);
  });

  test('is gone with its data when it is purged', async () => {
    const runtime = new TestRuntime();
    const create = () => runtime.sessions.create({ key: 'mine', origin, idempotencyKey: 'once' });
    const { session } = await create();
    await runtime.sessions.purge(session);
    expect(runtime.disk.has(session)).toBe(false);
    await expect(runtime.sessions.open(session)).rejects.toMatchObject({
      code: 'session_not_found',
    });
    expect(() => runtime.sessions.view(session)).toThrow(/no session/);
    expect((await create()).session).not.toBe(session);
  });
});

describe('what comes at the wrong moment', () => {
  test('a session that is being opened while the server stops begins nothing', async () => {
    const runtime = new TestRuntime();
    const { session } = await runtime.create();
    await say(await runtime.sessions.open(session), 'hi');
    await runtime.restart();
    const opening = runtime.sessions.open(session).catch((error: unknown) => error);
    const closed = runtime.sessions.close();
    await runtime.clock.advance(6_000);
    await closed;
    await opening;
    await runtime.restart();
    expect(runtime.sessions.view(session).turns).toBe(1);
    expect(runtime.sessions.load.working).toBe(1);
  });

  test('a use of a session that was closed harms neither it nor its successor', async () => {
    const runtime = new TestRuntime();
    const stale = await runtime.create();
    runtime.sessions.resume();
    await runtime.clock.advance(80_000);
    const fresh = await runtime.sessions.open(stale.session);
    await expect(say(stale, 'late')).rejects.toMatchObject({ code: 'draining' });
    expect(await runtime.sessions.open(stale.session)).toBe(fresh);
    expect((await say(fresh, 'hi')).seq).toBe(2);
  });

  test('after a failure that forbids writing nothing goes on', async () => {
    const runtime = new TestRuntime();
    const actor = await runtime.create();
    const reader = new Reader(actor);
    const ended = reader.done.catch((error: unknown) => error);
    await say(actor, 'hi');
    const call = await runtime.model.call(1);
    runtime.sessions.abandon(new DuragentError('epoch_lost', 'Another server took over.'));
    expect(await ended).toMatchObject({ code: 'epoch_lost' });
    expect(call.signal.aborted).toBe(true);
    await expect(say(actor, 'more')).rejects.toMatchObject({ code: 'epoch_lost' });
    await expect(runtime.create()).rejects.toMatchObject({ code: 'draining' });
    expect(runtime.disk.get(actor.session)?.lines).toHaveLength(3);
  });

  test('nor does a session that was being opened or made when writing was forbidden', async () => {
    const gate = Promise.withResolvers<void>();
    let isHeld = false;
    const held = async (): Promise<void> => (isHeld ? gate.promise : undefined);
    const runtime = new TestRuntime({
      wrapStore: (store) => ({
        ...storeOf(store),
        create: async (session) => held().then(() => store.create(session)),
        open: async (...args) => held().then(() => store.open(...args)),
      }),
    });
    const { session } = await runtime.create();
    await runtime.sessions.close();
    await runtime.restart();
    isHeld = true;
    const ends = Promise.allSettled([runtime.sessions.open(session), runtime.create()]);
    await ticks();
    runtime.sessions.abandon(new DuragentError('epoch_lost', 'Another server took over.'));
    gate.resolve();
    expect(await ends).toMatchObject([
      { status: 'rejected', reason: { code: 'epoch_lost' } },
      { status: 'rejected', reason: { code: 'epoch_lost' } },
    ]);
    const lines = [...runtime.disk.values()].flatMap((kept) => kept.lines);
    expect(lines).toEqual(runtime.disk.get(session)?.lines);
  });
});

describe('a damaged session', () => {
  const damaged = async () => {
    const runtime = new TestRuntime();
    const { session } = await runtime.create();
    await say(await runtime.sessions.open(session), 'hi');
    (await runtime.model.call(1)).done('ok');
    runtime.sessions.resume();
    await runtime.clock.advance(80_000);
    // A log that ends before its snapshot has lost durable records: here the end of a turn.
    const kept = runtime.disk.get(session);
    kept?.lines.pop();
    if (kept) kept.summary = null;
    const report = await runtime.restart();
    return { runtime, session, report };
  };

  test('is told at the start, stays told when it is closed, and keeps nobody busy', async () => {
    const { runtime, session, report } = await damaged();
    expect(report).toMatchObject({ quarantined: 1, resumed: 0 });
    runtime.sessions.resume();
    await runtime.clock.advance(80_000);
    expect(runtime.sessions.load).toEqual({ open: 0, clients: 0, working: 0 });
    expect(runtime.sessions.list()).toMatchObject([{ session, status: 'quarantined' }]);
  });
});

describe('a start with many interrupted turns', () => {
  test('goes on with the others when some cannot be written', async () => {
    let failures = 4;
    const runtime = new TestRuntime({
      wrapStore: (store) => ({
        ...storeOf(store),
        open: async (...args) => {
          const opened = await store.open(...args);
          if (failures === 0 || !isRestarted) return opened;
          failures -= 1;
          const { log } = opened;
          const refuse = () => Promise.reject(new DuragentError('storage_failed', 'It broke.'));
          return {
            ...opened,
            log: new Proxy(log, {
              get: (target, name) => {
                if (name === 'append') return refuse;
                const value: unknown = Reflect.get(target, name, target);
                return typeof value === 'function' ? (value.bind(target) as unknown) : value;
              },
            }),
          };
        },
      }),
    });
    let isRestarted = false;
    for (let i = 0; i < 8; i += 1) await say(await runtime.create(), `${i}`);
    isRestarted = true;
    await runtime.restart();
    await runtime.clock.advance(40_000);
    expect(runtime.model.calls.length).toBeGreaterThanOrEqual(4);
  });
});
