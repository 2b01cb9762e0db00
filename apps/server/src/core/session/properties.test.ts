import type { SessionEvent } from '@duragent/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decide } from './decide.ts';
import type { SessionInput } from './session-input.ts';
import { evolve } from './evolve.ts';
import { foldLog, foldOn, packState } from './fold.ts';
import { next } from './next.ts';
import { initialState } from './state.ts';
import { answer, Drive, failure, fold, say, START, testRules } from './testing.ts';
import { emptyWindow } from './window.ts';

const tools = new Map([
  ['read', { effect: 'pure', onInterrupt: 'retry' }],
  ['put', { effect: 'idempotent', onInterrupt: 'retry' }],
  ['write', { effect: 'effectful', onInterrupt: 'retry' }],
] as const);

/** What may happen to a session; numbers choose among what is possible at that moment. */
type Step =
  | { do: 'say'; handling: 'turn' | 'passive' | 'silent'; key: number | null }
  | { do: 'answer'; calls: ('read' | 'put' | 'write' | 'none')[] }
  | { do: 'fail'; retryable: boolean }
  | { do: 'tool'; pick: number }
  | { do: 'stale'; pick: number }
  | { do: 'leave' | 'attach' | 'cancel' | 'drain' | 'deadline' | 'end' }
  | { do: 'crash'; lost: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('say' as const),
      handling: fc.constantFrom(
        'turn' as const,
        'turn' as const,
        'passive' as const,
        'silent' as const,
      ),
      key: fc.option(fc.nat(3)),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      calls: fc.array(
        fc.constantFrom('read' as const, 'put' as const, 'write' as const, 'none' as const),
        { maxLength: 3 },
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('fail' as const), retryable: fc.boolean() }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('tool' as const), pick: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stale' as const), pick: fc.nat(50) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'leave' as const,
        'attach' as const,
        'cancel' as const,
        'drain' as const,
        'deadline' as const,
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('crash' as const), lost: fc.nat(3) }) },
);
const scenario = fc.record({
  steps: fc.array(step, { maxLength: 60 }),
  queue: fc.constantFrom('steer' as const, 'sequential' as const),
  onDisconnect: fc.constantFrom('continue' as const, 'pause' as const),
});

/** A session in a world that keeps its own count of what was done. */
class World extends Drive {
  /** How often each call ran, by call id. */
  readonly ran = new Map<string, number>();
  readonly #running = new Set<string>();
  readonly #inputs: SessionInput[] = [];
  #ids = 0;
  /** How many of the last records may still be lost: those of the last append. */
  #unsynced = 0;

  override submit(input: SessionInput | ((state: World['state']) => SessionInput)): string[] {
    const actual = typeof input === 'function' ? input(this.state) : input;
    this.#inputs.push(actual);
    const types = super.submit(actual);
    this.#unsynced = types.length;
    for (const effect of next(this.state)) {
      if (effect.type !== 'run_tool' || this.#running.has(effect.key)) continue;
      this.#running.add(effect.key);
      this.ran.set(effect.call, (this.ran.get(effect.call) ?? 0) + 1);
    }
    return types;
  }

  take(step: Step): void {
    this.rules = { ...this.rules, now: this.rules.now + 1000 };
    this.#ids += 1;
    const { turn } = this.state;
    switch (step.do) {
      case 'say': {
        const idempotency = step.key === null ? {} : { idempotency: `key${step.key}` };
        const source = { kind: 'http' as const, ...idempotency };
        this.submit(say(`${this.#ids}`, { handling: step.handling, source }));
        return;
      }
      case 'answer': {
        if (turn?.phase !== 'model' || turn.paused) return;
        const tool_calls = step.calls.map((name, i) => ({
          call: `call_${this.#ids}_${i}`,
          provider_call_id: `p${i}`,
          name,
          arguments: {},
        }));
        this.submit((state) => answer(state, { tool_calls }));
        return;
      }
      case 'fail':
        if (turn?.phase === 'model')
          this.submit((state) => failure(state, { retryable: step.retryable }));
        return;
      case 'tool': {
        const running = next(this.state).filter((effect) => effect.type === 'run_tool');
        const effect = running[step.pick % Math.max(1, running.length)];
        if (effect?.type !== 'run_tool') return;
        const { turn: of, call } = effect;
        this.#running.delete(effect.key);
        this.submit({
          type: 'tool_result',
          turn: of,
          call,
          outcome: 'ok',
          content: '',
          details: {},
        });
        return;
      }
      case 'stale': {
        const input = this.#inputs[step.pick % Math.max(1, this.#inputs.length)];
        // A server that drains stops; there is no later input to it.
        if (input && input.type !== 'receive' && input.type !== 'drain') this.submit(input);
        return;
      }
      case 'leave':
        this.rules = { ...this.rules, leftTurn: turn?.turn ?? null };
        this.submit({ type: 'detach' });
        return;
      case 'attach':
        this.rules = { ...this.rules, leftTurn: null };
        this.submit({ type: 'attach' });
        return;
      case 'cancel':
        this.submit({ type: 'cancel' });
        return;
      case 'drain':
        this.submit({ type: 'drain' });
        this.crash();
        return;
      case 'deadline':
        this.submit({ type: 'deadline', turn: turn?.turn ?? 'turn_none' });
        return;
      case 'end':
        this.submit({ type: 'end', reason: 'user' });
        return;
      case 'crash':
        // What a tool did before its start was durable cannot be: it runs only then.
        this.crash(Math.max(1, this.events.length - Math.min(step.lost, this.#lostable())));
    }
  }

  /** Records whose sync may not have happened: none behind which an effect has begun. */
  #lostable(): number {
    const tail = this.events.slice(this.events.length - this.#unsynced);
    const started = tail.findLastIndex((event) => event.type === 'tool_started');
    return started < 0 ? tail.length : tail.length - 1 - started;
  }

  override crash(kept?: number): string[] {
    this.#running.clear();
    return super.crash(kept);
  }

  /** Answers everything that is owed until nothing is. */
  settle(): void {
    this.take({ do: 'attach' });
    for (let i = 0; next(this.state).some((effect) => effect.type !== 'wait_until'); i += 1) {
      if (i > 1000) throw new Error('it does not settle');
      this.take({ do: 'tool', pick: 0 });
      this.take({ do: 'answer', calls: [] });
    }
  }
}

function live(given: {
  steps: Step[];
  queue: 'steer' | 'sequential';
  onDisconnect: 'continue' | 'pause';
}): World {
  const limits = {
    ...testRules().limits,
    max_tool_iterations: 5,
    turn_timeout_ms: 20_000,
    fallbacks: 1,
  };
  const world = new World({ tools, queue: given.queue, onDisconnect: given.onDisconnect, limits });
  world.submit(START);
  for (const one of given.steps) world.take(one);
  return world;
}

function assertLegal(events: readonly SessionEvent[]): void {
  const openTurns = new Set<string>();
  const turns = new Set<string>();
  const asked = new Set<string>();
  const results = new Set<string>();
  for (const [i, event] of events.entries()) {
    expect(event.seq).toBe(i + 1);
    expect(event.epoch).toBeGreaterThanOrEqual(events[i - 1]?.epoch ?? 0);
    if (event.type === 'turn_started') {
      expect(turns.has(event.turn)).toBe(false);
      expect(openTurns.size).toBe(0);
      turns.add(event.turn);
      openTurns.add(event.turn);
    }
    if (event.type === 'assistant_message') {
      expect(openTurns.has(event.turn)).toBe(true);
      for (const call of event.tool_calls) asked.add(call.call);
    }
    if (event.type === 'tool_finished') {
      expect(asked.has(event.call) && !results.has(event.call)).toBe(true);
      results.add(event.call);
    }
    if (event.type === 'turn_finished') {
      expect(openTurns.delete(event.turn)).toBe(true);
      expect(asked.difference(results).size).toBe(0);
    }
  }
}

describe('any order of inputs and crashes', () => {
  test('gives a legal log that settles, with every effectful tool run at most once', () => {
    fc.assert(
      fc.property(scenario, (given) => {
        const world = live(given);
        assertLegal(world.events);
        world.settle();
        assertLegal(world.events);
        expect(world.state.turn).toBeNull();
        expect(world.state.pending).toEqual([]);
        const names = new Map(
          world.events.flatMap((event) =>
            event.type === 'assistant_message'
              ? event.tool_calls.map((call) => [call.call, call.name] as const)
              : [],
          ),
        );
        for (const [call, times] of world.ran) {
          if (names.get(call) === 'write') expect(times).toBe(1);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('lets a log be killed after any record: it settles with every message answered once', () => {
    fc.assert(
      fc.property(scenario, fc.nat(), (given, cut) => {
        const world = live(given);
        world.crash(cut % (world.events.length + 1));
        if (world.state.seq === 0) return;
        world.settle();
        assertLegal(world.events);
        expect(world.state.turn).toBeNull();
        const triggers = world.events.flatMap((event) =>
          event.type === 'turn_started' ? event.trigger : [],
        );
        expect(new Set(triggers).size).toBe(triggers.length);
      }),
      { numRuns: 2000 },
    );
  });

  test('lets recovery run twice: the second adds nothing', () => {
    fc.assert(
      fc.property(scenario, fc.nat(), (given, cut) => {
        const world = live(given);
        world.crash(cut % (world.events.length + 1));
        expect(world.recover()).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  test('lets every prefix of an append be a log that folds on to the same end', () => {
    fc.assert(
      fc.property(scenario, (given) => {
        const { events, state } = live(given);
        for (let cut = 0; cut <= events.length; cut += 1) {
          const resumed = events.slice(cut).reduce(evolve, fold(events.slice(0, cut)));
          if (cut % 7 === 0) expect(resumed).toEqual(state);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('keeps the state small, also with all the keys and messages that may wait', () => {
    const full = new Drive();
    full.submit(START);
    for (let i = 0; i < 150; i += 1) {
      const idempotency = i.toString(16).padStart(16, '0');
      const id = i.toString().padStart(26, '0');
      full.submit(say(id, { source: { kind: 'http', idempotency } }));
    }
    expect(full.state.pending).toHaveLength(100);
    expect(JSON.stringify(full.state, null, 1).length).toBeLessThan(16 * 1024);
    fc.assert(
      fc.property(scenario, (given) => {
        expect(JSON.stringify(live(given).state).length).toBeLessThan(16 * 1024);
      }),
      { numRuns: 200 },
    );
  });
});

describe('a fold', () => {
  const snapshotAt = (events: SessionEvent[], at: number) => {
    const then = foldOn({ state: initialState(), window: emptyWindow() }, events.slice(0, at));
    const state: unknown = JSON.parse(JSON.stringify(packState(then.state)));
    const rest = events.filter((event) => event.seq >= then.window.start);
    return { snapshot: { state, seq: at }, rest };
  };

  test('from a snapshot and the rest equals the fold of the whole log, window included', () => {
    fc.assert(
      fc.property(scenario, fc.nat(), fc.integer({ min: 1, max: 40 }), (given, where, tokens) => {
        const { events } = live(given);
        for (const event of events) {
          if (event.type === 'turn_started') event.limits.max_history_tokens = tokens;
        }
        const at = 1 + (where % events.length);
        const { snapshot, rest } = snapshotAt(events, at);
        expect(foldLog(snapshot, rest)).toEqual(foldLog(null, events));
      }),
      { numRuns: 1000 },
    );
  });

  test('of very many messages keeps a bounded window', () => {
    const drive = new Drive();
    drive.submit(START);
    for (let i = 0; i < 5000; i += 1) drive.submit(say(`${i}`, { handling: 'passive' }));
    const { window } = foldLog(null, drive.events);
    expect(window.events).toHaveLength(4096);
    expect(window.start).toBe(5001 - 4096 + 1);
  });

  test('of a snapshot of another version is refused', () => {
    expect(foldLog({ state: { version: 99, seq: 3 }, seq: 3 }, [])).toBeNull();
    expect(foldLog({ state: { seq: 3 }, seq: 3 }, [])).toBeNull();
  });

  test('takes events in any order, unknown ones too, without throwing', () => {
    fc.assert(
      fc.property(scenario, fc.array(fc.nat(), { minLength: 1 }), (given, order) => {
        const { events } = live(given);
        const mixed = order
          .map((i) => events[i % events.length])
          .filter((one) => one !== undefined);
        const unknown = { seq: 1, epoch: 1, at: '', type: 'of_tomorrow' };
        const state = [...mixed, unknown].reduce(evolve, initialState());
        expect(() => next(state)).not.toThrow();
        for (const input of [
          { type: 'recover', openedSeq: 99 },
          { type: 'cancel' },
          { type: 'drain' },
        ] as const) {
          expect(() => decide(state, input, testRules({ tools, epoch: 9 }))).not.toThrow();
        }
      }),
    );
  });
});
