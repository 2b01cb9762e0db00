import { type EventOf, MAX_DELIVER_TO, type ResumeCause } from '@duragent/protocol';
import { type CallEvent, evolveCall, finishedCall, proposedCalls } from './evolve-calls.ts';
import { oweDeliveries } from './evolve-deliveries.ts';
import { wantSummary } from './evolve-summary.ts';
import type { OpenTurn, SessionState } from './state.ts';
import { addUsage, charge } from './usage.ts';
import { keepTime, workedMs } from './working-time.ts';

/** Events that begin a turn, or mean something only for the open turn they name. */
type TurnEvent =
  | CallEvent
  | EventOf<
      | 'turn_started'
      | 'assistant_message'
      | 'model_call_failed'
      | 'tool_finished'
      | 'turn_paused'
      | 'turn_resumed'
      | 'turn_finished'
    >;

/** The state after an event of a turn; as it was where it is not about the open one, or one is open already. */
export function evolveTurn(state: SessionState, event: TurnEvent): SessionState {
  if (event.type === 'turn_started') return startTurn(state, event);
  if (state.turn === null || state.turn.turn !== event.turn) return state;
  const turn = countAlone(state.turn, event);
  switch (event.type) {
    case 'assistant_message':
      return oweDeliveries(answer(state, turn, event), event.seq, event.deliveries);
    case 'model_call_failed':
      return { ...charge(state, event.usage), turn: failCall(turn, event) };
    case 'approval_requested':
    case 'question_asked':
      return oweDeliveries(
        { ...state, turn: changeCall(turn, event) },
        event.seq,
        event.deliveries,
      );
    case 'approval_decided':
      return oweDeliveries(
        { ...state, turn: changeCall(turn, event) },
        event.seq,
        event.deliveries ?? [],
      );
    case 'tool_started':
      return { ...state, turn: changeCall(turn, event) };
    case 'question_answered': {
      const keys = state.keys.map((known) =>
        known.message_id === event.message_id ? { ...known, turn: turn.turn } : known,
      );
      const after = { ...state, turn: changeCall(turn, event), keys };
      return oweDeliveries(after, event.seq, event.deliveries ?? []);
    }
    case 'tool_finished':
      return oweDeliveries(
        { ...state, turn: finishCall(turn, event) },
        event.seq,
        event.deliveries ?? [],
      );
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
        ...charge(state, event.usage),
        turn: keepTime(
          {
            ...turn,
            usage: addUsage(turn.usage, event.usage),
            paused: null,
            // Somebody knows of it: from here on it may work alone as long again.
            unattendedFrom: byPeople.has(event.cause) ? turn.unattendedMs : turn.unattendedFrom,
            attempt: event.attempt,
            phaseSeq: event.seq,
            crashes: turn.crashes + (event.cause === 'crash' ? 1 : 0),
          },
          event.at,
        ),
      };
    case 'turn_finished':
      return {
        ...state,
        turn: null,
        previews: [],
        lastTurn: { turn: turn.turn, outcome: event.outcome },
      };
  }
}

const byPeople: ReadonlySet<ResumeCause> = new Set<ResumeCause>([
  'attached',
  'operator',
  'message',
]);

function countAlone(turn: OpenTurn, event: TurnEvent): OpenTurn {
  const ms = 'unattended_ms' in event ? (event.unattended_ms ?? 0) : 0;
  return ms > turn.unattendedMs ? { ...turn, unattendedMs: ms } : turn;
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
      replyTo: replyToOf(state, event),
      deliverTo: state.pending
        .filter((message) => event.trigger.includes(message.message_id))
        .flatMap((message) => message.deliverTo ?? [])
        .slice(0, MAX_DELIVER_TO),
      error: null,
      usage: { input_tokens: 0, output_tokens: 0 },
      unattendedMs: 0,
      unattendedFrom: 0,
      workedMs: 0,
      workingSince: event.at,
    },
  };
}

function firstSeqOf(state: SessionState, event: EventOf<'turn_started'>): number {
  const first = state.pending.find((message) => event.trigger.includes(message.message_id));
  return first?.seq ?? event.seq;
}

/** The newest of the messages that it answers. */
function replyToOf(state: SessionState, event: EventOf<'turn_started'>): OpenTurn['replyTo'] {
  const last = state.pending.findLast((message) => event.trigger.includes(message.message_id));
  if (last?.chat === undefined || last.platform_id === undefined) return null;
  return { chat: last.chat, message: last.platform_id };
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
  const calls = proposedCalls(event);
  const steered = turn.queue === 'steer';
  const pending = steered
    ? state.pending.filter((message) => message.seq > event.input_seq)
    : state.pending;
  const after: OpenTurn = { ...turn, error: null, usage: addUsage(turn.usage, event.usage) };
  return {
    ...charge(state, event.usage),
    pending,
    summary: wantSummary(state.summary, event, pending),
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

function changeCall(turn: OpenTurn, event: CallEvent): OpenTurn {
  const calls = turn.calls.map((call) =>
    call.call === event.call ? evolveCall(call, event) : call,
  );
  return keepTime({ ...turn, calls }, event.at);
}

function finishCall(turn: OpenTurn, event: EventOf<'tool_finished'>): OpenTurn {
  const calls = turn.calls.map((call) => (call.call === event.call ? finishedCall(call) : call));
  if (turn.phase !== 'tools' || calls.some((call) => call.status !== 'finished')) {
    return keepTime({ ...turn, calls }, event.at);
  }
  return keepTime({ ...turn, ...freshStep(turn.step + 1, event.seq) }, event.at);
}
