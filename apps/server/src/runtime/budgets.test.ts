import fc from 'fast-check';
import { beforeEach, describe, expect, it, test } from 'vitest';
import { memoryUsageStore } from '../adapters/usage-store/memory.ts';
import type { BudgetRules } from '../core/budget/budget-rules.ts';
import { type BudgetLimits, noLimits } from '../core/budget/limits.ts';
import { nanosOf } from '../core/budget/money.ts';
import type { SettledCall } from '../core/budget/settled-call.ts';
import type { Clock } from '../ports/clock.ts';
import type { UsageStore } from '../ports/usage-store.ts';
import { Budgets, type CallToReserve, type Reservation, type Reserved } from './budgets.ts';

const HOUR = 60 * 60_000;
const DAY = 24 * HOUR;
const NOON = Date.parse('2026-11-20T12:00:00.000Z');

/** A dollar per million tokens in, two out. */
const price = { input: 1, output: 2, cacheRead: 1, cacheWrite: 1 };
const prices = { 'openai/test': price };

let now: number;
let rules: BudgetRules;
let kept: Map<string, SettledCall[]>;
/** What the logs of sessions say. */
let logged: SettledCall[];
let replays: number[];
let faults: unknown[];
let calls: number;
beforeEach(() => {
  now = NOON;
  rules = { budget: noLimits, prices };
  kept = new Map();
  logged = [];
  replays = [];
  faults = [];
  calls = 0;
});

const clock: Clock = { now: () => now, monotonic: () => now, after: () => () => undefined };

function limit(change: Partial<BudgetLimits>): void {
  rules = { ...rules, budget: { ...noLimits, ...change } };
}

/** As a new process would open them. */
function open(usage: UsageStore = memoryUsageStore(kept)): Budgets {
  return new Budgets({
    clock,
    timezone: 'UTC',
    rules: () => rules,
    usage,
    replay: async function* (since) {
      replays.push(since);
      yield* logged;
    },
    onFault: (error) => faults.push(error),
  });
}

/** A call of at most `usd`, all of it for what the model says. */
function callOf(usd: number, change: Partial<CallToReserve> = {}): CallToReserve {
  calls += 1;
  return {
    session: 'session_a',
    call: { turn: 'turn_a', step: calls, attempt: 1 },
    sessionUsd: 0,
    agent: { name: 'helper', budget: noLimits },
    sender: null,
    model: { provider: 'openai', name: 'test', baseUrl: null },
    inputTokens: 0,
    maxOutputTokens: usd * 500_000,
    ...change,
  };
}

async function ask(
  budgets: Budgets,
  usd: number,
  change: Partial<CallToReserve> = {},
): Promise<Reserved> {
  const call = callOf(usd, change);
  return (await budgets.open(call.agent)).reserve(call);
}

async function allowed(...given: Parameters<typeof ask>): Promise<Reservation> {
  const reserved = await ask(...given);
  if (!reserved.ok) throw new Error(reserved.message);
  return reserved;
}

async function isAllowed(...given: Parameters<typeof ask>): Promise<boolean> {
  const reserved = await ask(...given);
  if (reserved.ok) reserved.release();
  return reserved.ok;
}

const used = (usd: number) => ({ input_tokens: usd * 1_000_000, output_tokens: 0 });

describe('a call', () => {
  it('is charged with what it used, and the rest of its reserve is free again', async () => {
    limit({ dayUsd: 1 });
    const budgets = open();
    const first = await allowed(budgets, 0.9);
    expect(await isAllowed(budgets, 0.2)).toBe(false);
    expect(first.settle(used(0.1))).toEqual({ ...used(0.1), usd: 0.1 });
    expect(await isAllowed(budgets, 0.9)).toBe(true);
    expect(await isAllowed(budgets, 0.91)).toBe(false);
  });

  it('that was cut is charged with its reserve', async () => {
    limit({ dayUsd: 1 });
    const budgets = open();
    const cut = await allowed(budgets, 0.9);
    const usage = { input_tokens: 0, output_tokens: 450_000, usd: 0.9 };
    expect(cut.reserved).toEqual(usage);
    expect(cut.settle(null)).toEqual(usage);
    expect(await isAllowed(budgets, 0.11)).toBe(false);
    expect(kept.get('2026-11-20')).toMatchObject([{ usd: 0.9, cut: true, step: 1 }]);
  });

  it('that was not made is charged with nothing', async () => {
    limit({ dayUsd: 1 });
    const budgets = open();
    (await allowed(budgets, 1)).release();
    expect(await isAllowed(budgets, 1)).toBe(true);
    expect(kept.size).toBe(0);
  });

  it.each(['dayUsd', 'sessionUsd'])('is settled once, and lets go once: %s', async (budget) => {
    limit({ [budget]: 1 });
    const budgets = open();
    const inFlight = await allowed(budgets, 0.3);
    const call = await allowed(budgets, 0.5);
    call.settle(used(0.2));
    expect(call.settle(null)).toEqual({ ...used(0.2), usd: 0.2 });
    call.release();
    expect(await isAllowed(budgets, 0.5)).toBe(true);
    expect(await isAllowed(budgets, 0.51)).toBe(false);
    const other = await allowed(budgets, 0.5);
    other.release();
    expect(other.settle(used(0.3))).toBeUndefined();
    expect(kept.get('2026-11-20')).toHaveLength(1);
    inFlight.release();
    expect(await isAllowed(budgets, 0.8)).toBe(true);
  });

  it('that used more than was reserved is charged with that', async () => {
    limit({ dayUsd: 1 });
    const budgets = open();
    (await allowed(budgets, 0.1)).settle(used(0.95));
    expect(await isAllowed(budgets, 0.06)).toBe(false);
  });

  it('is written down with whom it was for', async () => {
    const budgets = open();
    (await allowed(budgets, 1, { sender: 'telegram:1' })).settle(used(0.5));
    const { call: _, ...request } = callOf(1);
    const summary = { ...request, call: { summary: 40 } };
    const reserved = (await budgets.open(request.agent)).reserve(summary);
    if (reserved.ok) reserved.settle(used(0.25));
    const shared = {
      at: '2026-11-20T12:00:00.000Z',
      session: 'session_a',
      agent: 'helper',
      model: 'openai/test',
    };
    expect(kept.get('2026-11-20')).toEqual([
      {
        ...shared,
        turn: 'turn_a',
        step: 1,
        attempt: 1,
        sender: 'telegram:1',
        usage: used(0.5),
        usd: 0.5,
      },
      { ...shared, summary: 40, usage: used(0.25), usd: 0.25 },
    ]);
  });

  it('of a model on this machine is made whatever was spent, and costs nothing', async () => {
    limit({ dayUsd: 0, sessionUsd: 0 });
    const budgets = open();
    const local = await allowed(budgets, 1, {
      model: { provider: 'ollama', name: 'llama3', baseUrl: null },
    });
    expect(local.reserved).toBeUndefined();
    expect(local.settle(used(1))).toEqual({ ...used(1) });
  });

  it('of unknown price is made where there is no budget, and refused where there is one', async () => {
    const budgets = open();
    const model = { provider: 'openrouter' as const, name: 'x/y', baseUrl: null };
    const call = await allowed(budgets, 1, { model });
    expect(call.settle(used(1))).toEqual(used(1));
    expect(kept.get('2026-11-20')).toMatchObject([{ usd: null }]);
    limit({ sessionUsd: 100 });
    expect(await ask(budgets, 1, { model })).toMatchObject({
      ok: false,
      code: 'price_unknown',
      message: expect.stringContaining('openrouter/x/y'),
    });
    rules = { ...rules, prices: { 'openrouter/x/': price } };
    expect(await isAllowed(budgets, 1, { model })).toBe(true);
  });
});

describe('budgets', () => {
  it('of the agent and of the server hold together', async () => {
    limit({ dayUsd: 1 });
    const budgets = open();
    const helper = { name: 'helper', budget: { ...noLimits, dayUsd: 0.5 } };
    const other = { name: 'other', budget: noLimits };
    (await allowed(budgets, 0.5, { agent: helper })).settle(null);
    expect(await ask(budgets, 0.1, { agent: helper })).toMatchObject({
      message: expect.stringContaining("the agent helper's budget for a day ($0.50"),
    });
    (await allowed(budgets, 0.5, { agent: other })).settle(null);
    expect(await ask(budgets, 0.1, { agent: other })).toMatchObject({
      message: expect.stringContaining("the server's budget for a day ($1.00"),
    });
  });

  it('of senders are of each person, and of no one else', async () => {
    limit({ senderDayUsd: 1 });
    const budgets = open();
    (await allowed(budgets, 0.9, { sender: 'telegram:1' })).settle(null);
    expect(await isAllowed(budgets, 0.2, { sender: 'telegram:1', session: 'b' })).toBe(false);
    expect(await isAllowed(budgets, 0.2, { sender: 'telegram:2' })).toBe(true);
    expect(await isAllowed(budgets, 5)).toBe(true);
    const other = { name: 'other', budget: noLimits };
    expect(await isAllowed(budgets, 0.2, { sender: 'telegram:1', agent: other })).toBe(false);
  });

  it('of senders with one agent leave them the others', async () => {
    const budgets = open();
    const helper = { name: 'helper', budget: { ...noLimits, senderDayUsd: 1 } };
    const other = { name: 'other', budget: { ...noLimits, senderDayUsd: 1 } };
    (await allowed(budgets, 1, { sender: 'telegram:1', agent: helper })).settle(null);
    expect(await isAllowed(budgets, 0.1, { sender: 'telegram:1', agent: helper })).toBe(false);
    expect(await isAllowed(budgets, 0.1, { sender: 'telegram:1', agent: other })).toBe(true);
  });

  it('of sessions start with what the log says, and know what it does not say yet', async () => {
    limit({ sessionUsd: 1 });
    const budgets = open();
    expect(await isAllowed(budgets, 0.3, { sessionUsd: 0.8 })).toBe(false);
    (await allowed(budgets, 0.1, { sessionUsd: 0.8 })).settle(null);
    expect(await isAllowed(budgets, 0.11, { sessionUsd: 0.8 })).toBe(false);
    expect(await isAllowed(budgets, 0.1, { sessionUsd: 0.9 })).toBe(true);
    expect(await isAllowed(budgets, 1, { session: 'session_b' })).toBe(true);
  });

  it('of sessions do not begin anew with the day', async () => {
    limit({ sessionUsd: 1 });
    const budgets = open();
    (await allowed(budgets, 0.9)).settle(null);
    now += DAY;
    expect(await isAllowed(budgets, 0.2)).toBe(false);
  });

  it('that are changed hold from the next call on, over all that was spent', async () => {
    const budgets = open();
    (await allowed(budgets, 0.6)).settle(null);
    const inFlight = await allowed(budgets, 0.3);
    limit({ dayUsd: 1 });
    expect(await ask(budgets, 0.2)).toMatchObject({ ok: false, retryable: true });
    inFlight.settle(used(0.1));
    expect(await isAllowed(budgets, 0.3)).toBe(true);
    expect(await ask(budgets, 0.4)).toMatchObject({ ok: false, retryable: false });
  });
});

describe('the day', () => {
  it('begins anew at midnight, and a call counts for the day on which it was reserved', async () => {
    limit({ dayUsd: 1 });
    const budgets = open();
    now = Date.parse('2026-11-20T23:59:00.000Z');
    const late = await allowed(budgets, 1);
    now += 2 * 60_000;
    expect(await isAllowed(budgets, 1)).toBe(true);
    late.settle(used(0.7));
    expect(await isAllowed(budgets, 1)).toBe(true);
    expect(kept.get('2026-11-20')).toMatchObject([{ at: '2026-11-21T00:01:00.000Z', usd: 0.7 }]);
  });

  it('is the one in the time zone', async () => {
    limit({ dayUsd: 1 });
    const budgets = new Budgets({
      clock,
      timezone: 'America/New_York',
      rules: () => rules,
      usage: memoryUsageStore(kept),
      replay: async function* () {},
      onFault: (error) => faults.push(error),
    });
    now = Date.parse('2026-11-21T04:59:00.000Z');
    (await allowed(budgets, 1)).settle(null);
    expect(await ask(budgets, 0.1)).toMatchObject({
      message: expect.stringContaining('until 2026-11-21 00:00 (America/New_York)'),
    });
    now = Date.parse('2026-11-21T05:00:00.000Z');
    expect(await isAllowed(budgets, 1)).toBe(true);
    expect([...kept.keys()]).toEqual(['2026-11-20']);
  });

  it('does not forget what was spent on it when the clock jumps away and back', async () => {
    limit({ dayUsd: 1 });
    const budgets = open();
    (await allowed(budgets, 0.9)).settle(null);
    const inFlight = await allowed(budgets, 0.05);
    for (const days of [1, 30, -2, -400, 90]) {
      now = NOON + days * DAY;
      expect(await isAllowed(budgets, 1)).toBe(true);
      now = NOON;
      expect(await isAllowed(budgets, 0.06)).toBe(false);
      expect(await isAllowed(budgets, 0.05)).toBe(true);
    }
    for (const days of [1, 2, 3, 4, 5]) {
      now = NOON + days * DAY;
      await ask(budgets, 0.1);
    }
    now = NOON - HOUR;
    expect(await isAllowed(budgets, 0.06)).toBe(false);
    inFlight.settle(null);
    expect(await isAllowed(budgets, 0.06)).toBe(false);
  });

  it('is known after a restart', async () => {
    limit({ dayUsd: 1 });
    (await allowed(open(), 0.9)).settle(null);
    now += HOUR;
    const budgets = open();
    expect(await isAllowed(budgets, 0.2)).toBe(false);
    expect(await isAllowed(budgets, 0.1)).toBe(true);
  });

  it('is counted once, for all that ask at the same time', async () => {
    limit({ dayUsd: 1 });
    const reads: string[] = [];
    const store = memoryUsageStore(kept);
    const budgets = open({
      ...store,
      read: (day) => {
        reads.push(day);
        return store.read(day);
      },
    });
    const all = await Promise.all(Array.from({ length: 20 }, () => ask(budgets, 0.3)));
    expect(all.filter(({ ok }) => ok)).toHaveLength(3);
    await ask(budgets, 0.3);
    expect(reads).toEqual(['2026-11-19', '2026-11-20']);
  });

  it('is not counted where no budget needs it', async () => {
    limit({ sessionUsd: 1 });
    const budgets = open();
    await allowed(budgets, 0.1);
    expect(replays).toEqual([]);
    limit({ dayUsd: 1 });
    await allowed(budgets, 0.1);
    expect(replays).toHaveLength(1);
  });

  it('counts a call that ends while it is counted, and only once', async () => {
    const store = memoryUsageStore(kept);
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
    const taken = Promise.withResolvers<void>();
    const budgets = open({
      ...store,
      async *read(day) {
        await gates[0].promise;
        const there = await Array.fromAsync(store.read(day));
        if (day === '2026-11-20') taken.resolve();
        await gates[1].promise;
        yield* there;
      },
    });
    const [early, late, latest] = [
      await allowed(budgets, 0.1),
      await allowed(budgets, 0.2),
      await allowed(budgets, 0.3),
    ];
    early.settle(null);
    limit({ dayUsd: 1 });
    const asked = ask(budgets, 0.4);
    late.settle(null);
    gates[0].resolve();
    gates[1].resolve();
    await taken.promise;
    latest.settle(null);
    expect(await asked).toMatchObject({ ok: true });
    expect(await isAllowed(budgets, 0.01)).toBe(false);
  });

  it('that cannot be read lets no call through that costs, until it can', async () => {
    limit({ dayUsd: 1, sessionUsd: 1 });
    const store = memoryUsageStore(kept);
    let isBroken = true;
    const budgets = open({
      ...store,
      async *read(day) {
        if (isBroken) throw new Error('EIO');
        yield* store.read(day);
      },
    });
    expect(await ask(budgets, 0.1)).toMatchObject({
      ok: false,
      code: 'spending_unknown',
      retryable: true,
      message: expect.stringContaining('budget for a day'),
    });
    expect(faults).toEqual([new Error('EIO')]);
    isBroken = false;
    expect(await isAllowed(budgets, 0.1)).toBe(true);
  });
});

/** What a crash leaves: calls that the logs know and of whose lines only the first `lines` are there. */
function crashed(usds: number[], lines: number): void {
  logged = usds.map((usd, index) => ({
    at: new Date(NOON + index * 60_000).toISOString(),
    session: 'session_a',
    turn: 'turn_z',
    step: index + 1,
    attempt: 1,
    agent: 'helper',
    sender: 'telegram:1',
    model: 'openai/test',
    usage: used(usd),
    usd,
  }));
  kept.set('2026-11-20', logged.slice(0, lines));
  now = NOON + HOUR;
}

describe('after a crash', () => {
  it.each([0, 1, 2, 3])('%d lines of the day are left, and it is whole again', async (lines) => {
    crashed([0.2, 0.3, 0.4], lines);
    limit({ dayUsd: 1 });
    const budgets = open();
    expect(await isAllowed(budgets, 0.11)).toBe(false);
    expect(await isAllowed(budgets, 0.1)).toBe(true);
    expect(kept.get('2026-11-20')).toEqual(logged);
    expect(await isAllowed(open(), 0.11)).toBe(false);
    expect(kept.get('2026-11-20')).toEqual(logged);
  });

  it('only logs that may know more are asked', async () => {
    crashed([0.1, 0.1], 0);
    limit({ dayUsd: 1 });
    await ask(open(), 0.1);
    crashed([0.1, 0.1], 2);
    await ask(open(), 0.1);
    expect(replays).toEqual([Date.parse('2026-11-20T00:00:00.000Z'), NOON + 60_000 - HOUR]);
  });

  it('calls of the day before are not counted for this one', async () => {
    crashed([0.5, 0.5], 0);
    limit({ dayUsd: 1 });
    now = NOON + DAY;
    logged = logged.map((call, index) =>
      index === 0 ? call : { ...call, at: new Date(now - HOUR).toISOString() },
    );
    expect(await isAllowed(open(), 0.51)).toBe(false);
    expect(await isAllowed(open(), 0.5)).toBe(true);
  });

  it('a call that counted for the day before, and ended on this one, counts once', async () => {
    crashed([0.9], 1);
    limit({ dayUsd: 1 });
    logged = logged.map((call) => ({ ...call, at: '2026-11-21T00:00:01.000Z' }));
    kept.set('2026-11-20', logged);
    now = NOON + DAY;
    expect(await isAllowed(open(), 1)).toBe(true);
  });

  it('a call that it cut is charged with its reserve, once, also when the charge is lost', async () => {
    limit({ dayUsd: 1 });
    const { sessionUsd: _, ...cut } = callOf(0.6);
    const usage = { input_tokens: 0, output_tokens: 300_000, usd: 0.6 };
    expect(await open().chargeCut(cut)).toEqual(usage);
    expect(await open().chargeCut(cut)).toEqual(usage);
    const budgets = open();
    expect(await budgets.chargeCut(cut)).toEqual(usage);
    expect(await isAllowed(budgets, 0.5)).toBe(false);
    expect(await isAllowed(budgets, 0.4)).toBe(true);
    const charges = kept.get('2026-11-20') ?? [];
    expect(charges).toMatchObject([{ usd: 0.6, cut: true }]);
    // Its line is lost; the log's `turn_resumed` knows it.
    kept.clear();
    logged = charges;
    expect(await isAllowed(open(), 0.5)).toBe(false);
  });

  it('a call that was charged when the server stopped is not charged again', async () => {
    limit({ dayUsd: 1 });
    const call = callOf(0.6);
    const budgets = open();
    expect(await budgets.chargeCut(callOf(0.1))).toMatchObject({ usd: 0.1 });
    const reserved = (await budgets.open(call.agent)).reserve(call);
    if (reserved.ok) reserved.settle(null);
    expect(await budgets.chargeCut(call)).toMatchObject({ usd: 0.6 });
    now += DAY;
    expect(await open().chargeCut(call)).toMatchObject({ usd: 0.6 });
    expect([...kept.values()].flat()).toHaveLength(2);
  });

  it('a cut call that costs nothing, or nobody knows what, is not charged', async () => {
    const budgets = open();
    const local = { provider: 'echo' as const, name: 'echo', baseUrl: null };
    expect(await budgets.chargeCut(callOf(1, { model: local }))).toBeUndefined();
    const unknown = { provider: 'openrouter' as const, name: 'x/y', baseUrl: null };
    expect(await budgets.chargeCut(callOf(1, { model: unknown }))).toBeUndefined();
    expect(kept.size).toBe(0);
  });
});

test('what is settled and reserved is never more than any budget, whatever happens at once', async () => {
  const cents = fc.integer({ min: 1, max: 60 });
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('ask' as const), cents, who: fc.nat(5) }) },
    fc.record({ do: fc.constant('settle' as const), part: fc.nat(100) }),
    fc.record({ do: fc.constant('cut' as const) }),
    fc.record({ do: fc.constant('release' as const) }),
    fc.record({ do: fc.constant('clock' as const), hours: fc.integer({ min: -30, max: 30 }) }),
    fc.record({ do: fc.constant('restart' as const) }),
  );
  const agents = [
    { name: 'a', budget: { sessionUsd: null, dayUsd: 1, senderDayUsd: 0.5 } },
    { name: 'b', budget: { sessionUsd: 0.7, dayUsd: null, senderDayUsd: null } },
  ];
  interface Held {
    call: CallToReserve;
    reservation: Reservation;
    day: string;
  }
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      now = NOON;
      kept = new Map();
      limit({ sessionUsd: 1, dayUsd: 1.5, senderDayUsd: 0.8 });
      let budgets = open();
      let held: Held[] = [];
      const sessionSpent = new Map<string, number>();
      const end = (settle: (one: Held) => ReturnType<Reservation['settle']>): void => {
        const one = held.shift();
        if (!one) return;
        const { session } = one.call;
        const spent = settle(one)?.usd ?? 0;
        sessionSpent.set(session, (sessionSpent.get(session) ?? 0) + spent);
      };
      let pending: Promise<void>[] = [];
      for (const one of steps) {
        if (one.do === 'ask') {
          const [agent = { name: '', budget: noLimits }] = agents.slice(one.who % 2);
          const session = `session_${agent.name}${one.who % 3}`;
          const sender = one.who < 2 ? null : `telegram:${one.who % 3}`;
          const sessionUsd = sessionSpent.get(session) ?? 0;
          const call = callOf(one.cents / 100, { session, agent, sender, sessionUsd });
          const day = new Date(now).toISOString().slice(0, 10);
          pending.push(
            budgets.open(agent).then((desk) => {
              const reservation = desk.reserve(call);
              if (reservation.ok) held.push({ call, reservation, day });
            }),
          );
          // Several ask at once.
          if (one.cents % 2 === 0) continue;
        }
        await Promise.all(pending);
        pending = [];
        if (one.do === 'settle') {
          end(({ call, reservation }) =>
            reservation.settle({
              input_tokens: 0,
              output_tokens: Math.floor((call.maxOutputTokens * one.part) / 100),
            }),
          );
        } else if (one.do === 'cut') end(({ reservation }) => reservation.settle(null));
        else if (one.do === 'release') {
          end(({ reservation }) => {
            reservation.release();
            return undefined;
          });
        } else if (one.do === 'clock') now += one.hours * HOUR;
        else if (one.do === 'restart') {
          // What is under way ends before a server does.
          while (held.length > 0) end(({ reservation }) => reservation.settle(null));
          budgets = open();
        }
        check(held, sessionSpent);
      }
      await Promise.all(pending);
      check(held, sessionSpent);
      held = [];
    }),
    { numRuns: 150 },
  );

  function check(held: readonly Held[], sessionSpent: ReadonlyMap<string, number>): void {
    const sums = new Map<string, number>();
    const add = (key: string, usd: number): void => {
      sums.set(key, (sums.get(key) ?? 0) + nanosOf(usd));
    };
    const addDay = (day: string, agent: string, sender: string | undefined, usd: number): void => {
      add(`${day} server 1.5`, usd);
      if (agent === 'a') add(`${day} a 1`, usd);
      if (sender === undefined) return;
      add(`${day} ${sender} 0.8`, usd);
      if (agent === 'a') add(`${day} a/${sender} 0.5`, usd);
    };
    for (const [day, calls] of kept) {
      for (const { agent, sender, usd } of calls) addDay(day, agent, sender, usd ?? 0);
    }
    const ofSession = (session: string): string =>
      session.startsWith('session_b') ? `${session} 0.7` : `${session} 1`;
    for (const [session, usd] of sessionSpent) add(ofSession(session), usd);
    for (const { call, reservation, day } of held) {
      const usd = reservation.reserved?.usd ?? 0;
      addDay(day, call.agent.name, call.sender ?? undefined, usd);
      add(ofSession(call.session), usd);
    }
    for (const [key, nanos] of sums) {
      const most = nanosOf(Number(key.slice(key.lastIndexOf(' '))));
      expect([key, nanos <= most]).toEqual([key, true]);
    }
  }
});
