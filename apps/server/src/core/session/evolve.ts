import {
  type EventOf,
  isKnownEvent,
  type SessionEvent,
  type StoredEvent,
  type Usage,
} from '@duragent/protocol';
import { KEY_TTL_MS, MAX_KEYS, type OpenCall, type OpenTurn, type SessionState } from './state.ts';

const PREVIEW_CHARS = 80;

/**
 * The state after one more event. Pure and total: any event on any state gives a state, an event
 * that does not fit changes nothing but `seq`, `epoch` and `updatedAt`.
 */
export function evolve(state: SessionState, event: StoredEvent): SessionState {
  const next = isKnownEvent(event) ? apply(state, event) : state;
  return { ...next, seq: event.seq, epoch: event.epoch, updatedAt: event.at };
}

function apply(state: SessionState, event: SessionEvent): SessionState {
  switch (event.type) {
    case 'session_started':
      return {
        ...state,
        session: event.session,
        agent: event.agent,
        ...(event.key === undefined ? {} : { key: event.key }),
        labels: event.labels,
        origin: event.origin,
        ...(event.on_disconnect === undefined ? {} : { onDisconnect: event.on_disconnect }),
        createdAt: event.at,
      };
    case 'user_message':
      return receive(state, event);
    case 'turn_started':
      return startTurn(state, event);
    case 'session_ended':
      return { ...state, ended: { reason: event.reason, at: event.at }, turn: null, pending: [] };
    case 'recovered':
      return state;
    default:
      return onTurn(state, event);
  }
}

/** Events that mean something only for the open turn they name. */
type TurnEvent = Exclude<
  SessionEvent,
  { type: 'session_started' | 'user_message' | 'turn_started' | 'session_ended' | 'recovered' }
>;

function onTurn(state: SessionState, event: TurnEvent): SessionState {
  const turn = state.turn;
  if (turn === null || turn.turn !== event.turn) return state;
  switch (event.type) {
    case 'assistant_message':
      return answer(state, turn, event);
    case 'model_call_failed':
      return { ...charge(state, event.usage), turn: failCall(turn, event) };
    case 'tool_started':
      return { ...state, turn: changeCall(turn, event, { status: 'started', seq: event.seq }) };
    case 'tool_finished':
      return { ...state, turn: finishCall(turn, event) };
    case 'turn_paused':
      return {
        ...state,
        turn: {
          ...turn,
          paused: event.reason,
          workedMs: workedMs(turn, event.at),
          workingSince: null,
        },
      };
    case 'turn_resumed':
      return {
        ...state,
        turn: {
          ...turn,
          paused: null,
          attempt: event.attempt,
          phaseSeq: event.seq,
          crashes: turn.crashes + (event.cause === 'crash' ? 1 : 0),
          workingSince: event.at,
        },
      };
    case 'turn_finished':
      return {
        ...state,
        turn: null,
        lastTurn: { turn: turn.turn, outcome: event.outcome },
      };
  }
}

function receive(state: SessionState, event: EventOf<'user_message'>): SessionState {
  const key = event.source.idempotency;
  const text = event.content.map((part) => part.text).join(' ');
  const isSteered = event.handling === 'turn' && state.turn?.queue === 'steer';
  const steered = isSteered ? state.turn?.turn : undefined;
  return {
    ...state,
    pending:
      event.handling === 'turn'
        ? [...state.pending, { seq: event.seq, message_id: event.message_id }]
        : state.pending,
    keys:
      key === undefined
        ? state.keys
        : [
            ...state.keys.filter((known) => ageMs(known.at, event.at) < KEY_TTL_MS),
            {
              key,
              seq: event.seq,
              message_id: event.message_id,
              ...(steered === undefined ? {} : { turn: steered }),
              at: event.at,
            },
          ].slice(-MAX_KEYS),
    preview: Array.from(text.slice(0, 2 * PREVIEW_CHARS))
      .slice(0, PREVIEW_CHARS)
      .join(''),
  };
}

function startTurn(state: SessionState, event: EventOf<'turn_started'>): SessionState {
  if (state.turn !== null) return state;
  return {
    ...state,
    turns: state.turns + 1,
    windowTokens: 4 * event.limits.max_history_tokens,
    pending: state.pending.filter((message) => !event.trigger.includes(message.message_id)),
    keys: state.keys.map((known) =>
      event.trigger.includes(known.message_id) ? { ...known, turn: event.turn } : known,
    ),
    turn: {
      turn: event.turn,
      trigger: event.trigger,
      agentHash: event.agent_hash,
      limits: event.limits,
      queue: event.queue,
      startedSeq: event.seq,
      firstSeq: firstSeqOf(state, event),
      ...freshStep(1, event.seq),
      crashes: 0,
      paused: null,
      error: null,
      usage: { input_tokens: 0, output_tokens: 0 },
      workedMs: 0,
      workingSince: event.at,
    },
  };
}

function firstSeqOf(state: SessionState, event: EventOf<'turn_started'>): number {
  const first = state.pending.find((message) => event.trigger.includes(message.message_id));
  return first?.seq ?? event.seq;
}

function freshStep(step: number, seq: number) {
  return {
    step,
    attempt: 1,
    failures: 0,
    candidate: 0,
    retryAt: null,
    phase: 'model' as const,
    phaseSeq: seq,
    calls: [],
  };
}

function answer(
  state: SessionState,
  turn: OpenTurn,
  event: EventOf<'assistant_message'>,
): SessionState {
  if (turn.phase !== 'model' || turn.step !== event.step) return state;
  const calls = event.tool_calls.map((call): OpenCall => ({
    call: call.call,
    status: 'proposed',
    name: call.name,
    effect: 'effectful',
    onInterrupt: 'tell_model',
    seq: event.seq,
  }));
  const steered = turn.queue === 'steer';
  const pending = steered
    ? state.pending.filter((message) => message.seq > event.input_seq)
    : state.pending;
  const after: OpenTurn = { ...turn, error: null, usage: addUsage(turn.usage, event.usage) };
  return {
    ...charge(state, event.usage),
    pending,
    turn:
      calls.length === 0 && steered && pending.length > 0
        ? { ...after, ...freshStep(turn.step + 1, event.seq) }
        : {
            ...after,
            attempt: event.attempt,
            phase: calls.length > 0 ? 'tools' : 'answered',
            phaseSeq: event.seq,
            retryAt: null,
            calls,
          },
  };
}

function failCall(turn: OpenTurn, event: EventOf<'model_call_failed'>): OpenTurn {
  if (turn.phase !== 'model' || turn.step !== event.step) return turn;
  const usage = addUsage(turn.usage, event.usage);
  const error = { code: event.error.code, message: event.error.message };
  const retry = event.retry;
  if (retry === undefined) return { ...turn, phase: 'failed', error, usage };
  return {
    ...turn,
    attempt: event.attempt + 1,
    failures: retry.candidate === turn.candidate ? turn.failures + 1 : 0,
    candidate: retry.candidate,
    retryAt: retry.at,
    phaseSeq: event.seq,
    error,
    usage,
  };
}

function changeCall(
  turn: OpenTurn,
  event: EventOf<'tool_started'>,
  change: Partial<OpenCall>,
): OpenTurn {
  return {
    ...turn,
    calls: turn.calls.map((call) =>
      call.call === event.call && call.status !== 'finished'
        ? { ...call, effect: event.effect, onInterrupt: event.on_interrupt, ...change }
        : call,
    ),
  };
}

function finishCall(turn: OpenTurn, event: EventOf<'tool_finished'>): OpenTurn {
  const calls = turn.calls.map((call) =>
    call.call === event.call ? { ...call, status: 'finished' as const } : call,
  );
  if (turn.phase !== 'tools' || calls.some((call) => call.status !== 'finished')) {
    return { ...turn, calls };
  }
  return { ...turn, ...freshStep(turn.step + 1, event.seq) };
}

function charge(state: SessionState, usage: Usage | undefined): SessionState {
  return usage === undefined ? state : { ...state, usage: addUsage(state.usage, usage) };
}

/** Two usages added; a count that only one of them has is kept. */
function addUsage(sum: Usage, more: Usage | undefined): Usage {
  if (more === undefined) return sum;
  const total: Usage = {
    input_tokens: plus(sum.input_tokens, more.input_tokens),
    output_tokens: plus(sum.output_tokens, more.output_tokens),
  };
  for (const name of ['cache_read_tokens', 'cache_write_tokens', 'reasoning_tokens'] as const) {
    const value = plus(sum[name] ?? 0, more[name] ?? 0);
    if (value > 0) total[name] = value;
  }
  return total;
}

/** A sum that a record may hold: counts come from servers that may say anything. */
function plus(a: number, b: number): number {
  return Math.min(a + b, Number.MAX_SAFE_INTEGER);
}

/** Working time of a turn up to an instant, in ms; what a jump of the clock took back counts as 0. */
export function workedMs(turn: OpenTurn, at: string): number {
  return turn.workedMs + (turn.workingSince === null ? 0 : ageMs(turn.workingSince, at));
}

function ageMs(from: string, to: string): number {
  const age = Date.parse(to) - Date.parse(from);
  return Number.isFinite(age) ? Math.max(0, age) : 0;
}
