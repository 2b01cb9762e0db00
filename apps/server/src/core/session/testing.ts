import type { SessionEvent, TextPart } from '@duragent/protocol';
import { decide } from './decide.ts';
import { givenAnswer } from './receive.ts';
import type { Rules } from './rules.ts';
import { next } from './next.ts';
import type { CallVerdict, SessionInput } from './session-input.ts';
import { evolve } from './evolve.ts';
import { initialState, type SessionState } from './state.ts';
import { cutWorkMs } from './working-time.ts';

/** Rules with defaults, for tests. */
export function testRules(change: Partial<Rules> = {}): Rules {
  return {
    now: Date.parse('2026-01-01T00:00:00.000Z'),
    epoch: 1,
    agentHash: 'hash',
    limits: {
      max_tool_iterations: 10,
      turn_timeout_ms: null,
      model_retries: 3,
      fallbacks: 0,
      max_history_tokens: 1000,
    },
    greeting: null,
    queue: 'steer',
    waiting: { maxPending: 10, overflow: 'drop_old', rejectMessage: '', debounceMs: 0 },
    delivery: {
      onUncertain: 'resend_marked',
      mirror: true,
      ttlMs: 24 * 60 * 60 * 1000,
      limits: () => ({ maxLength: 100, unit: 'utf16' }),
    },
    onDisconnect: 'continue',
    approvalTimeoutMs: 10 * 60 * 1000,
    calls: [],
    finished: new Set(),
    answers: new Map(),
    defaults: new Map(),
    given: new Map(),
    interrupted: new Map(),
    requester: null,
    leftTurn: null,
    background: { turn: null, ms: 0, isAlone: false },
    maxBackgroundMs: 30 * 60 * 1000,
    ...change,
  };
}

export function fold(events: readonly SessionEvent[]): SessionState {
  return events.reduce(evolve, initialState());
}

export const START: SessionInput = {
  type: 'start',
  session: 'session_01',
  agent: 'assistant',
  origin: { kind: 'http' },
  labels: {},
};

/** A direct chat to bind, and a group. */
export const dm = {
  gateway: 'telegram',
  account: 'telegram',
  chat_id: '7',
  chat_type: 'dm' as const,
  peer: '7',
  inbox: 0,
  by: 'server',
};
export const group = { ...dm, chat_id: '-100', chat_type: 'group' as const };

const text = (value: string): TextPart[] => [{ type: 'text', text: value }];

export function say(id: string, change: Partial<Extract<SessionInput, { type: 'receive' }>> = {}) {
  return {
    type: 'receive' as const,
    message_id: `msg_${id}`,
    source: { kind: 'http' as const },
    content: text(id),
    handling: 'turn' as const,
    ...change,
  };
}

export function answer(
  state: SessionState,
  change: Partial<Extract<SessionInput, { type: 'model_finished' }>> = {},
) {
  return {
    type: 'model_finished' as const,
    turn: state.turn?.turn ?? 'turn_none',
    step: state.turn?.step ?? 1,
    attempt: state.turn?.attempt ?? 1,
    message_id: `msg_a${state.seq}`,
    input_seq: state.seq,
    content: text('hello'),
    tool_calls: [],
    finish_reason: 'stop',
    usage: { input_tokens: 10, output_tokens: 5 },
    model: 'echo/echo',
    ...change,
  };
}

export function failure(
  state: SessionState,
  change: Partial<Extract<SessionInput, { type: 'model_failed' }>> = {},
) {
  return {
    type: 'model_failed' as const,
    turn: state.turn?.turn ?? 'turn_none',
    step: state.turn?.step ?? 1,
    attempt: state.turn?.attempt ?? 1,
    model: 'openai/gpt',
    error: { code: 'model_unavailable', message: 'It does not answer.' },
    retryable: true,
    ...change,
  };
}

/** A call with an effect that a model asks for. */
export const write = (id: string) => ({
  call: `call_${id}`,
  provider_call_id: id,
  name: 'write',
  arguments: {},
  effect: 'effectful' as const,
  on_interrupt: 'tell_model' as const,
});

/** What such a call of the first turn ends in. */
export const result = (id: string) => ({
  type: 'tool_result' as const,
  turn: 'turn_1',
  call: `call_${id}`,
  outcome: 'ok' as const,
  content: '',
  details: {},
});

/** A session that is driven input by input, with what it has recorded. */
export class Drive {
  readonly events: SessionEvent[] = [];
  state = initialState();
  rules: Rules;
  openedSeq = 0;
  /** What calls had printed when their server died. */
  outputs: Readonly<Record<string, string>> = {};

  constructor(rules: Partial<Rules> = {}) {
    this.rules = testRules(rules);
  }

  /** What the policy says about a call, at once; null: it has not spoken. */
  policy: (call: string) => CallVerdict | null = () => ({ kind: 'run', hash: 'h', notify: null });

  /** Submits an input, and what the policy says to the calls it led to. @returns the types of the events. */
  submit(input: SessionInput | ((state: SessionState) => SessionInput)): string[] {
    const types = this.#decide(typeof input === 'function' ? input(this.state) : input);
    for (;;) {
      const judged = next(this.state).flatMap((effect) => {
        const verdict = effect.type === 'judge_call' ? this.policy(effect.call) : null;
        if (effect.type !== 'judge_call' || !verdict) return [];
        return [{ type: 'call_judged' as const, turn: effect.turn, call: effect.call, verdict }];
      });
      const [first] = judged;
      if (!first) return types;
      types.push(...this.#decide(first));
    }
  }

  #decide(input: SessionInput): string[] {
    const last = this.events.findLastIndex((event) => event.type === 'assistant_message');
    const answer = this.events[last];
    const since = this.events.slice(Math.max(0, last));
    const steps = decide(this.state, input, {
      ...this.rules,
      calls: answer?.type === 'assistant_message' ? answer.tool_calls : [],
      finished: new Set(since.flatMap((one) => (one.type === 'tool_finished' ? [one.call] : []))),
      answers: new Map(
        since.flatMap((one) => (one.type === 'question_answered' ? [[one.call, one]] : [])),
      ),
      given: new Map(
        since.flatMap((one) =>
          one.type === 'user_message' && one.answers !== undefined
            ? [[one.answers, givenAnswer(one)]]
            : [],
        ),
      ),
      interrupted: new Map(
        since.flatMap((one) =>
          one.type === 'question_asked' && one.interrupted
            ? [[one.call, one.interrupted.output]]
            : [],
        ),
      ),
      defaults: new Map(
        since.flatMap((one) =>
          one.type === 'question_asked' && one.default !== undefined
            ? [[one.call, one.default]]
            : [],
        ),
      ),
    });
    const events = steps.map(({ event }) => event);
    this.events.push(...events);
    this.state = events.reduce(evolve, this.state);
    return events.map((event) => event.type);
  }

  /** Time passes; while nobody is there, what the open turn works in it is counted. */
  pass(ms: number): void {
    const { turn } = this.state;
    const { background } = this.rules;
    const before = background.turn === turn?.turn ? background.ms : (turn?.unattendedMs ?? 0);
    const counts = background.isAlone && turn !== null && turn.workingSince !== null;
    this.rules = {
      ...this.rules,
      now: this.rules.now + ms,
      background: {
        ...background,
        turn: turn?.turn ?? null,
        ms: before + (counts ? ms : 0),
      },
    };
  }

  /** Whether anybody is there from now on. */
  attended(isAttended: boolean): void {
    const background = { ...this.rules.background, isAlone: !isAttended };
    this.rules = { ...this.rules, background };
  }

  /** The server dies after `kept` records and another one starts. @returns what it recovers. */
  crash(kept = this.events.length): string[] {
    this.events.length = Math.min(kept, this.events.length);
    this.state = fold(this.events);
    this.openedSeq = this.state.seq;
    const { turn, updatedAt } = this.state;
    const now = new Date(this.rules.now).toISOString();
    const background = {
      turn: turn?.turn ?? null,
      ms: turn ? turn.unattendedMs + cutWorkMs(turn, updatedAt, now) : 0,
      isAlone: true,
    };
    const { epoch } = this.rules;
    this.rules = { ...this.rules, epoch: epoch + 1, leftTurn: null, background };
    return this.recover();
  }

  /** Submits the recovery of the last opening again. */
  recover(): string[] {
    return this.submit({ type: 'recover', openedSeq: this.openedSeq, outputs: this.outputs });
  }

  last<T extends SessionEvent['type']>(type: T): Extract<SessionEvent, { type: T }> {
    const event = this.events.findLast((one) => one.type === type);
    if (!event) throw new Error(`no ${type} among ${this.events.map((one) => one.type).join(' ')}`);
    return event as Extract<SessionEvent, { type: T }>;
  }
}
