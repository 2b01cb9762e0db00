import { type QueueMode, queueModeSchema, type SessionEvent } from '@duragent/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decide } from './decide.ts';
import type { CallVerdict, SessionInput } from './session-input.ts';
import { evolve } from './evolve.ts';
import { foldLog, foldOn, packState } from './fold.ts';
import { next } from './next.ts';
import {
  initialState,
  MAX_CALLS,
  MAX_CHATS,
  MAX_DEAD,
  MAX_DELIVERIES,
  MAX_PENDING,
} from './state.ts';
import { answer, Drive, failure, fold, say, START, testRules } from './testing.ts';
import { emptyWindow } from './window.ts';

const kinds = {
  read: { effect: 'pure', on_interrupt: 'retry' },
  put: { effect: 'idempotent', on_interrupt: 'retry' },
  write: { effect: 'effectful', on_interrupt: 'retry' },
  deploy: { effect: 'effectful', on_interrupt: 'ask' },
  look: { effect: 'pure', on_interrupt: 'ask' },
  none: {},
} as const;
const verdicts: readonly CallVerdict[] = [
  { kind: 'run', hash: 'h', notify: null },
  { kind: 'run', hash: 'h', notify: 'it runs' },
  { kind: 'refuse', outcome: 'denied', content: 'no' },
  {
    kind: 'approve',
    hash: 'h'.repeat(64),
    tool: 'write',
    shown: 'rm -r x'.repeat(30),
    reason: 'the policy',
    always: 'bash:rm',
    file: 'art_1',
  },
  { kind: 'ask', text: 'Which?', timeoutMs: 5_000, default: 'a' },
  { kind: 'ask', text: 'Which?', choices: ['a', 'b'], timeoutMs: null },
];
const decisions = ['allow_once', 'allow_always', 'deny'] as const;

const chatOf = (id: string) => ({
  gateway: 'telegram',
  account: 'telegram',
  chat_id: id,
  chat_type: 'dm' as const,
  peer: id,
  inbox: 0,
  by: 'server',
});

const bindings = [chatOf('7'), { ...chatOf('-100'), chat_type: 'group' as const }] as const;

/** What may happen to a session; numbers choose among what is possible at that moment. */
type Step =
  | { do: 'say'; handling: 'turn' | 'passive' | 'silent'; key: number | null }
  | { do: 'answer'; calls: (keyof typeof kinds)[]; summarize: number | null }
  | { do: 'summary'; fails: boolean }
  | { do: 'fail'; retryable: boolean }
  | { do: 'tool'; pick: number }
  | { do: 'judge'; pick: number; verdict: number }
  | { do: 'consent'; pick: number; decision: number }
  | { do: 'expire' }
  | { do: 'stale'; pick: number }
  /** A message in a chat; `edits` one of the last few there. */
  | { do: 'tell'; chat: number; bot: boolean; edits: number | null }
  /** A part is sent, and this becomes of it. */
  | { do: 'deliver'; pick: number; end: DeliverEnd }
  | { do: 'pass'; ms: number }
  | { do: 'leave' | 'attach' | 'cancel' | 'drain' | 'deadline' | 'end' | 'hold' | 'release' }
  /** Time passes with nobody attached. */
  | { do: 'alone'; ms: number }
  | { do: 'crash'; lost: number };

type DeliverEnd = 'delivered' | 'failed' | 'lost' | 'dead' | 'crash_before' | 'crash_after';

const call = fc.constantFrom<keyof typeof kinds>('read', 'put', 'write', 'deploy', 'look', 'none');
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('tell' as const),
      chat: fc.nat(1),
      bot: fc.boolean(),
      edits: fc.option(fc.nat(3), { freq: 3 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('deliver' as const),
      pick: fc.nat(3),
      end: fc.constantFrom<DeliverEnd>(
        'delivered',
        'delivered',
        'failed',
        'lost',
        'dead',
        'crash_before',
        'crash_after',
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.nat(8000) }),
  },
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
      calls: fc.oneof(
        { weight: 9, arbitrary: fc.array(call, { maxLength: 3 }) },
        { weight: 1, arbitrary: fc.array(call, { minLength: 16, maxLength: 20 }) },
      ),
      summarize: fc.option(fc.nat(10)),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('summary' as const), fails: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('fail' as const), retryable: fc.boolean() }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('tool' as const), pick: fc.nat(5) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('judge' as const),
      pick: fc.nat(5),
      verdict: fc.nat(verdicts.length - 1),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('consent' as const),
      pick: fc.nat(5),
      decision: fc.nat(2),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('expire' as const) }) },
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
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('alone' as const), ms: fc.nat(50_000) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('hold' as const, 'release' as const) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('crash' as const), lost: fc.nat(3) }) },
);
const scenario = fc.record({
  steps: fc.array(step, { maxLength: 60 }),
  queue: fc.constantFrom(null, ...queueModeSchema.options),
  overflow: fc.constantFrom('drop_old' as const, 'drop_new' as const, 'reject' as const),
  onDisconnect: fc.constantFrom('continue' as const, 'pause' as const),
});

/** A session in a world that keeps its own count of what was done. */
class World extends Drive {
  /** How often each call ran, by call id. */
  readonly ran = new Map<string, number>();
  /** How often each part was posted without a mark, by delivery and part. */
  readonly unmarked = new Map<string, number>();
  /** Parts that are on the platform, marked or not. */
  readonly posted = new Set<string>();
  /** What was told in chats: handed over again after a crash, as the inbox does. */
  readonly #told: SessionInput[] = [];
  readonly #running = new Set<string>();
  readonly #inputs: SessionInput[] = [];
  override policy = () => null;
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
    this.pass(1000);
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
          ...kinds[name],
        }));
        const { seq } = this.state;
        const summarize_seq = Math.max(1, seq - (step.summarize ?? 0));
        const given = {
          from_seq: 1,
          masked_seq: 0,
          tokens: 10,
          ...(step.summarize === null ? {} : { summarize_seq }),
        };
        this.submit((state) => answer(state, { tool_calls, given }));
        return;
      }
      case 'summary': {
        const effect = next(this.state).find(({ type }) => type === 'summarize');
        if (effect?.type !== 'summarize') return;
        const fields = { up_to_seq: effect.upTo, model: 'm' };
        const error = { code: 'code', message: '' };
        this.submit(
          step.fails
            ? { type: 'summary_failed', ...fields, error }
            : { type: 'summary_finished', ...fields, summary: 'all of it' },
        );
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
      case 'judge': {
        const owed = next(this.state).filter((effect) => effect.type === 'judge_call');
        const effect = owed[step.pick % Math.max(1, owed.length)];
        const verdict = verdicts[step.verdict];
        if (effect?.type !== 'judge_call' || !verdict) return;
        const { turn: of, call } = effect;
        this.submit({ type: 'call_judged', turn: of, call, verdict });
        return;
      }
      case 'consent': {
        const asked = turn?.calls.filter((call) => call.status === 'asked') ?? [];
        const { approval, question } = asked[step.pick % Math.max(1, asked.length)] ?? {};
        const decision = decisions[step.decision] ?? 'deny';
        if (approval) {
          const { approval: id } = approval;
          this.submit({ type: 'decide_approval', approval: id, decision, by: 'http' });
        } else if (question) {
          const { question: id } = question;
          this.submit({ type: 'answer_question', question: id, answer: 'a', by: 'http' });
        }
        return;
      }
      case 'expire':
        for (const effect of next(this.state)) {
          if (effect.type !== 'wait_until' || effect.input.type !== 'expire') continue;
          this.rules = { ...this.rules, now: Math.max(this.rules.now, effect.at) };
          this.submit(effect.input);
        }
        return;
      case 'stale': {
        const input = this.#inputs[step.pick % Math.max(1, this.#inputs.length)];
        // A server that drains stops; there is no later input to it. A delivery ends as it began.
        if (input && !['receive', 'drain', 'deliver_start'].includes(input.type))
          this.submit(input);
        return;
      }
      case 'leave':
        this.rules = { ...this.rules, leftTurn: turn?.turn ?? null };
        this.attended(false);
        this.submit({ type: 'detach' });
        return;
      case 'tell':
        this.#tell(step);
        return;
      case 'deliver':
        this.#deliver(step);
        return;
      case 'pass':
        this.pass(step.ms);
        this.submit({ type: 'wake' });
        return;
      case 'attach':
        this.rules = { ...this.rules, leftTurn: null };
        this.attended(true);
        this.submit({ type: 'attach' });
        return;
      case 'alone':
        this.attended(false);
        this.pass(step.ms);
        this.submit({ type: 'background_limit', turn: turn?.turn ?? 'turn_none' });
        return;
      case 'hold':
        this.submit({ type: 'pause', by: 'http:owner' });
        return;
      case 'release':
        this.submit({ type: 'resume', by: 'http:owner' });
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

  #tell({ chat, bot, edits }: Extract<Step, { do: 'tell' }>): void {
    const n = this.#told.length + 1;
    const { gateway, account, chat_id, chat_type } = bindings[chat] ?? bindings[0];
    const input: SessionInput = say(`t${n}`, {
      source: {
        kind: 'gateway',
        sender: { id: bot ? 'bot' : 'ann', name: 'Ann', is_bot: bot },
        chat: { gateway, account, chat_id, chat_type, message_id: `p${n}` },
        inbox: { account, n },
      },
      ...(edits === null ? {} : { edits: `p${Math.max(1, n - 1 - edits)}` }),
    });
    this.#told.push(input);
    this.submit(input);
  }

  #deliver({ pick, end }: Extract<Step, { do: 'deliver' }>): void {
    const owed = next(this.state).filter((effect) => effect.type === 'deliver');
    const effect = owed[pick % Math.max(1, owed.length)];
    if (effect?.type !== 'deliver') return;
    const { out, part, attempt, uncertain, edits, preview } = effect.delivery;
    // Nothing is edited before it is known which message it is.
    if (edits !== undefined) expect(preview).toBe('m');
    const name = { out, part, attempt };
    if (this.submit({ type: 'deliver_start', ...name }).length === 0) return;
    const post = (): void => {
      const key = `${out}/${part}`;
      this.posted.add(key);
      if (!uncertain) this.unmarked.set(key, (this.unmarked.get(key) ?? 0) + 1);
    };
    const error = { code: 'code', message: '' };
    switch (end) {
      case 'delivered':
        post();
        this.submit({ type: 'deliver_end', ...name, outcome: 'delivered', message: 'm' });
        return;
      case 'lost':
        post();
        this.submit({ type: 'deliver_end', ...name, outcome: 'uncertain', error });
        return;
      case 'failed':
      case 'dead':
        this.submit({ type: 'deliver_end', ...name, outcome: end, error });
        return;
      case 'crash_after':
        post();
        this.crash();
        return;
      case 'crash_before':
        this.crash();
    }
  }

  /** Records whose sync may not have happened: none behind which an effect has begun. */
  #lostable(): number {
    const tail = this.events.slice(this.events.length - this.#unsynced);
    const started = tail.findLastIndex(
      (event) => event.type === 'tool_started' || event.type === 'delivery_started',
    );
    return started < 0 ? tail.length : tail.length - 1 - started;
  }

  override crash(kept?: number): string[] {
    this.#running.clear();
    const types = super.crash(kept);
    if (this.state.seq === 0) return types;
    for (const binding of bindings) this.submit({ type: 'bind', chat: binding });
    for (const input of this.#told) this.submit(input);
    return types;
  }

  /** Answers everything that is owed until nothing is. */
  settle(): void {
    this.take({ do: 'release' });
    this.take({ do: 'attach' });
    const owes = (): boolean =>
      next(this.state).some((effect) => effect.type !== 'wait_until') ||
      (this.state.turn === null && this.state.pending.length > 0) ||
      this.state.turn?.calls.some((call) => call.status === 'asked') === true;
    for (let i = 0; owes(); i += 1) {
      if (i > 1000) throw new Error('it does not settle');
      this.take({ do: 'pass', ms: 8000 });
      this.take({ do: 'deliver', pick: 0, end: 'delivered' });
      this.take({ do: 'judge', pick: 0, verdict: i % verdicts.length });
      this.take({ do: 'consent', pick: 0, decision: i % decisions.length });
      this.take({ do: 'expire' });
      this.take({ do: 'tool', pick: 0 });
      this.take({ do: 'answer', calls: [], summarize: i % 2 });
      this.take({ do: 'summary', fails: i % 3 === 0 });
    }
  }
}

function live(given: {
  steps: Step[];
  queue: QueueMode | null;
  overflow: 'drop_old' | 'drop_new' | 'reject';
  onDisconnect: 'continue' | 'pause';
}): World {
  const limits = {
    ...testRules().limits,
    max_tool_iterations: 5,
    turn_timeout_ms: 20_000,
    fallbacks: 1,
  };
  const { queue, onDisconnect, overflow } = given;
  const waiting = { maxPending: 3, overflow, rejectMessage: '', debounceMs: 1500 };
  const world = new World({ queue, onDisconnect, limits, waiting, maxBackgroundMs: 30_000 });
  world.submit(START);
  for (const binding of bindings) world.submit({ type: 'bind', chat: binding });
  for (const one of given.steps) world.take(one);
  return world;
}

/** Every part that some record owes to a chat, but for deliveries that died. */
function owedParts(events: readonly SessionEvent[]): Set<string> {
  const parts = new Set<string>();
  for (const event of events) {
    const deliveries = 'deliveries' in event ? (event.deliveries ?? []) : [];
    for (const { out, parts: all } of deliveries) {
      for (const part of all.keys()) parts.add(`${out}/${part + 1}`);
    }
  }
  for (const event of events) {
    if (event.type !== 'delivery_finished' || event.outcome !== 'dead') continue;
    // With a card that was never shown, nothing of it is edited.
    const gone = [event.out, ...editsOf(event.out, events)];
    for (const out of gone) {
      for (const key of parts) if (key.startsWith(`${out}/`)) parts.delete(key);
    }
  }
  return parts;
}

/** The deliveries that edit the card of this one. */
function editsOf(out: string, events: readonly SessionEvent[]): string[] {
  return events.flatMap((event) => {
    const deliveries = 'deliveries' in event ? (event.deliveries ?? []) : [];
    return deliveries.flatMap((one) => (one.edits?.out === out ? [one.out] : []));
  });
}

/** Cards of what is no longer asked that still show their buttons, or were told twice that they go. */
function openCards(events: readonly SessionEvent[]): string[] {
  const cards = events.flatMap((event) => {
    const deliveries = 'deliveries' in event ? (event.deliveries ?? []) : [];
    return deliveries.filter(({ keyboard }) => keyboard).map(({ out }) => out);
  });
  const shown = new Set(
    events.flatMap((event) =>
      event.type === 'delivery_finished' && event.outcome === 'delivered' && event.part === 1
        ? [event.out]
        : [],
    ),
  );
  return cards.filter((out) => shown.has(out) && editsOf(out, events).length !== 1);
}

function assertLegal(events: readonly SessionEvent[]): void {
  const openTurns = new Set<string>();
  const turns = new Set<string>();
  const asked = new Set<string>();
  const results = new Set<string>();
  const waiting = new Map<string, string>();
  const started = new Set<string>();
  const asksIfCut = new Set<string>();
  const interrupted = new Set<string>();
  const sending = new Set<string>();
  const delivered = new Set<string>();
  const inbox = new Set<number>();
  let limits = 0;
  let heldTurn: string | null = null;
  let isHeld = false;
  const unattended = new Map<string, number>();
  const told = new Set<string>();
  for (const [i, event] of events.entries()) {
    expect(event.seq).toBe(i + 1);
    expect(event.epoch).toBeGreaterThanOrEqual(events[i - 1]?.epoch ?? 0);
    // While an operator holds it no turn begins, and one that it has stopped begins nothing.
    if (event.type === 'session_paused' || event.type === 'session_resumed') {
      expect(isHeld).toBe(event.type === 'session_resumed');
      isHeld = !isHeld;
    }
    if ('unattended_ms' in event && event.unattended_ms !== undefined) {
      expect(event.unattended_ms).toBeGreaterThan(unattended.get(event.turn) ?? 0);
      unattended.set(event.turn, event.unattended_ms);
    }
    // Each time that the limit pauses a turn is told of once, and never without it.
    if (event.type === 'notice' && event.idempotency !== undefined) {
      expect(told.has(event.idempotency)).toBe(false);
      told.add(event.idempotency);
    }
    if (event.type === 'turn_paused' && event.reason === 'background_limit') limits += 1;
    if (event.type === 'turn_paused') {
      expect(event.reason !== 'operator' || isHeld).toBe(true);
      heldTurn = event.reason === 'operator' ? event.turn : null;
    }
    if (event.type === 'turn_resumed' || event.type === 'turn_finished') {
      expect(heldTurn === null || !isHeld || event.type === 'turn_finished').toBe(true);
      heldTurn = null;
    }
    if (event.type === 'turn_started') expect(isHeld).toBe(false);
    if (event.type === 'tool_started' || event.type === 'model_call_failed') {
      expect(heldTurn).toBeNull();
    }
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
    if (event.type === 'approval_requested') waiting.set(event.call, event.approval);
    if (event.type === 'approval_decided') {
      // One that was allowed, and so long ago that it is asked for again, waits no more.
      if (event.decision !== 'expire' || waiting.has(event.call)) {
        expect(waiting.get(event.call)).toBe(event.approval);
      }
      if (event.decision.startsWith('allow')) waiting.delete(event.call);
    }
    if (event.type === 'question_asked' && event.interrupted) {
      expect(started.has(event.call) && !interrupted.has(event.call)).toBe(true);
      interrupted.add(event.call);
    }
    // What waited for a person and was not allowed never starts, nor what was cut and is asked about.
    if (event.type === 'tool_started') {
      expect(waiting.has(event.call) || interrupted.has(event.call)).toBe(false);
      started.add(event.call);
      if (event.on_interrupt === 'ask') asksIfCut.add(event.call);
    }
    if (event.type === 'tool_finished') {
      expect(asked.has(event.call) && !results.has(event.call)).toBe(true);
      // What came of a call that was cut is never claimed, nor left out, and nobody is passed over.
      if (interrupted.has(event.call)) expect(event.outcome).toBe('unknown');
      else if (asksIfCut.has(event.call)) expect(event.outcome).not.toBe('unknown');
      results.add(event.call);
    }
    if (event.type === 'delivery_started') {
      const key = `${event.out}/${event.part}`;
      expect(sending.has(key) || delivered.has(key)).toBe(false);
      sending.add(key);
    }
    if (event.type === 'delivery_finished') {
      const key = `${event.out}/${event.part}`;
      sending.delete(key);
      if (event.outcome === 'delivered') delivered.add(key);
    }
    if (event.type === 'user_message' && event.source.inbox) {
      expect(inbox.has(event.source.inbox.n)).toBe(false);
      inbox.add(event.source.inbox.n);
    }
    if (event.type === 'turn_finished') {
      expect(openTurns.delete(event.turn)).toBe(true);
      expect(asked.difference(results).size).toBe(0);
    }
  }
  expect(limits).toBeLessThanOrEqual(told.size);
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
        for (const [, times] of world.unmarked) expect(times).toBeLessThanOrEqual(1);
        expect(world.state.deliveries).toEqual([]);
        for (const key of owedParts(world.events)) expect(world.posted).toContain(key);
        expect(openCards(world.events)).toEqual([]);
        for (const [call, times] of world.ran) {
          if (['write', 'deploy', 'look'].includes(names.get(call) ?? '')) expect(times).toBe(1);
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

  test('lets a step of more calls than may be made be killed twice: each has one result, and none with an effect runs twice', () => {
    fc.assert(
      fc.property(
        fc.array(call, { minLength: MAX_CALLS - 1, maxLength: MAX_CALLS + 4 }),
        fc.array(fc.nat(5), { maxLength: 2 * MAX_CALLS }),
        fc.nat(),
        fc.nat(),
        (calls, picks, first, second) => {
          const world = live({
            steps: [],
            queue: null,
            overflow: 'drop_old',
            onDisconnect: 'continue',
          });
          world.take({ do: 'say', handling: 'turn', key: null });
          const before = world.events.length;
          world.take({ do: 'answer', calls, summarize: null });
          for (const pick of picks) {
            world.take(pick % 2 === 0 ? { do: 'judge', pick, verdict: 0 } : { do: 'tool', pick });
          }
          for (const cut of [first, second]) {
            // What ran was recorded before.
            const durable = world.events.findLastIndex((event) => event.type === 'tool_started');
            const kept = Math.max(before + 1, durable + 1);
            world.crash(kept + (cut % (world.events.length - kept + 1)));
          }
          world.settle();
          assertLegal(world.events);
          const finished = world.events.filter((event) => event.type === 'tool_finished');
          expect(finished).toHaveLength(calls.length);
          for (const [id, times] of world.ran) {
            const name = calls[Number(id.split('_').at(-1))];
            if (name === 'write' || name === 'none') expect(times).toBe(1);
          }
        },
      ),
      { numRuns: 500 },
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
    expect(full.state.pending).toHaveLength(MAX_PENDING);
    const platform = (n: number): string => n.toString().padStart(20, '9');
    for (let i = 0; i < MAX_CHATS; i += 1) full.submit({ type: 'bind', chat: chatOf(platform(i)) });
    full.submit({ type: 'cancel' });
    for (let i = 0; i < 30; i += 1) {
      const id = i.toString().padStart(26, '1');
      full.submit(say(id, { source: { kind: 'cli', sender: { name: 'somebody' } } }));
      full.submit({ type: 'cancel' });
    }
    while (full.state.pending.length < MAX_PENDING) {
      const id = full.state.seq.toString().padStart(26, '2');
      full.submit(say(id));
    }
    // And as many calls as a step may ask for, each waiting for a person.
    full.policy = () => verdicts[3] ?? null;
    full.submit((state) =>
      answer(state, {
        tool_calls: Array.from({ length: MAX_CALLS }, (_, i) => ({
          call: `call_${i.toString().padStart(26, '0')}`,
          provider_call_id: `p${i}`,
          name: 'read',
          arguments: {},
          ...kinds.read,
        })),
      }),
    );
    expect(full.state.turn?.calls.map((call) => call.status)).toEqual(
      Array.from({ length: MAX_CALLS }, (_, i) => (i === 0 ? 'asked' : 'proposed')),
    );
    expect(full.state.deliveries).toHaveLength(MAX_DELIVERIES);
    expect(full.state.dead).toHaveLength(MAX_DEAD);
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
    expect(window.events.length).toBeLessThanOrEqual(4096);
    expect(window.events.length).toBeGreaterThanOrEqual(3072);
    expect(window.start).toBe(5001 - window.events.length + 1);
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
          expect(() => decide(state, input, testRules({ epoch: 9 }))).not.toThrow();
        }
      }),
    );
  });
});
