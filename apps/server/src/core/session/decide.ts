import type { ErrorInfo, SessionEvent } from '@duragent/protocol';
import { evolve, workedMs } from './evolve.ts';
import type { Facts } from './facts.ts';
import { retryAfterFailure } from './retry.ts';
import type { Rules } from './rules.ts';
import type { Draft, SessionInput } from './session-input.ts';
import {
  type KnownKey,
  MAX_CRASH_RESUMES,
  MAX_PENDING,
  type OpenTurn,
  type SessionState,
} from './state.ts';
import { closeCutCalls, endStartedCalls, startTools } from './tool-calls.ts';

/**
 * The events that an input causes, stamped and in order; none where it changes nothing. Never
 * throws. Every prefix of the result is a legal log: what is cut off, `recover` decides again.
 */
export function decide(state: SessionState, input: SessionInput, rules: Rules): SessionEvent[] {
  const events: SessionEvent[] = [];
  let current = state;
  const record = (facts: Facts): void => {
    for (const fact of facts) {
      const event: SessionEvent = {
        seq: current.seq + 1,
        epoch: rules.epoch,
        at: new Date(rules.now).toISOString(),
        ...fact,
      };
      events.push(event);
      current = evolve(current, event);
    }
  };
  record(react(state, input, rules));
  if (current.seq === 0) return events;
  const calls = input.type === 'model_finished' ? input.tool_calls : rules.calls;
  for (;;) {
    const facts = settle(current, state, { ...rules, calls });
    if (facts.length === 0) return events;
    record(facts);
  }
}

/** What the input itself says. */
function react(state: SessionState, input: SessionInput, rules: Rules): Facts {
  if (input.type === 'start') return start(state, input, rules);
  if (input.type === 'recover') return recover(state, input, rules);
  if (state.seq === 0 || state.ended) return [];
  const turn = state.turn;
  switch (input.type) {
    case 'receive':
      return receive(state, input);
    case 'model_finished': {
      if (!isCurrentCall(turn, input)) return [];
      const { type: _, usage, model, ...fields } = input;
      return [
        {
          type: 'assistant_message',
          ...fields,
          ...(usage ? { usage } : {}),
          model,
          deliveries: [],
        },
      ];
    }
    case 'model_failed': {
      if (!isCurrentCall(turn, input)) return [];
      const { type: _, usage, retryable: _r, retryAfterMs: _a, ...fields } = input;
      const retry = retryAfterFailure(turn, input, rules.now);
      return [
        {
          type: 'model_call_failed',
          ...fields,
          ...(usage ? { usage } : {}),
          ...(retry ? { retry } : {}),
        },
      ];
    }
    case 'tool_result': {
      const call = turn?.calls.find((one) => one.call === input.call);
      if (!turn || turn.turn !== input.turn || call?.status !== 'started') return [];
      const { type: _, ...fields } = input;
      return [{ type: 'tool_finished', ...fields }];
    }
    case 'cancel':
      return turn ? stopTurn(turn, input.draft, 'cancelled') : [];
    case 'deadline': {
      const limit = turn?.limits.turn_timeout_ms;
      if (!turn || turn.turn !== input.turn || limit == null) return [];
      const at = new Date(rules.now).toISOString();
      if (turn.paused || workedMs(turn, at) < limit) return [];
      return stopTurn(turn, undefined, 'failed', {
        code: 'turn_timeout',
        message: `The turn worked for ${limit / 1000} s, its limit (session.turn_timeout). Send a message to go on.`,
      });
    }
    case 'attach':
      return turn?.paused === 'disconnected' ? [resume(turn, 'attached')] : [];
    case 'detach':
      return [];
    case 'drain':
      return turn && !turn.paused
        ? [...endStartedCalls(turn), { type: 'turn_paused', turn: turn.turn, reason: 'drain' }]
        : [];
    case 'end':
      return [
        ...(turn ? stopTurn(turn, input.draft, 'cancelled') : []),
        { type: 'session_ended', reason: input.reason },
      ];
  }
}

function start(
  state: SessionState,
  input: Extract<SessionInput, { type: 'start' }>,
  rules: Rules,
): Facts {
  if (state.seq > 0) return [];
  const { session, agent, key, origin, on_disconnect, labels } = input;
  return [
    {
      type: 'session_started',
      session,
      agent,
      agent_hash: rules.agentHash,
      ...(key === undefined ? {} : { key }),
      origin,
      ...(on_disconnect === undefined ? {} : { on_disconnect }),
      labels,
    },
  ];
}

function receive(state: SessionState, input: Extract<SessionInput, { type: 'receive' }>): Facts {
  if (findMessage(state, input.source.idempotency)) return [];
  if (input.handling === 'turn' && state.pending.length >= MAX_PENDING) return [];
  const { message_id, source, content, handling } = input;
  const facts: Facts = [{ type: 'user_message', message_id, source, content, handling }];
  if (input.handling === 'turn' && state.turn?.paused === 'disconnected') {
    facts.push(resume(state.turn, 'message'));
  }
  return facts;
}

/** The message that was received under this idempotency key, if it is remembered. */
export function findMessage(state: SessionState, key: string | undefined): KnownKey | undefined {
  return key === undefined ? undefined : state.keys.find((known) => known.key === key);
}

/**
 * What was in flight when the log was last left is closed: its tools become `unknown`, its model
 * call gets the next attempt. Twice adds nothing, because what it adds lies behind `openedSeq`.
 */
function recover(
  state: SessionState,
  input: Extract<SessionInput, { type: 'recover' }>,
  rules: Rules,
): Facts {
  const facts: Facts = [];
  if (input.torn) {
    facts.push({ type: 'recovered', bytes: input.torn.bytes, saved_as: input.torn.savedAs });
  }
  const turn = state.turn;
  if (!turn || state.ended) return facts;
  if (turn.paused === 'drain') return [...facts, resume(turn, 'drain')];
  if (turn.paused) return facts;
  if (turn.phase === 'tools') return [...facts, ...closeCutCalls(turn, input.openedSeq, rules)];
  if (turn.phase !== 'model' || turn.phaseSeq > input.openedSeq) return facts;
  if (turn.crashes < MAX_CRASH_RESUMES) return [...facts, resume(turn, 'crash')];
  facts.push({
    type: 'turn_finished',
    turn: turn.turn,
    outcome: 'needs_attention',
    error: {
      code: 'crash_loop',
      message: `The server stopped ${turn.crashes + 1} times during this turn; it is not tried again. Send a message to go on.`,
    },
    usage: turn.usage,
  });
  return facts;
}

/** What the state asks for by itself, one step at a time; nothing at rest. `before` is the state the input met. */
function settle(state: SessionState, before: SessionState, rules: Rules): Facts {
  if (state.ended) return [];
  const turn = state.turn;
  if (!turn) return startTurn(state, rules);
  if (turn.paused) return [];
  switch (turn.phase) {
    case 'answered':
      return [{ type: 'turn_finished', turn: turn.turn, outcome: 'completed', usage: turn.usage }];
    case 'failed':
      return [
        {
          type: 'turn_finished',
          turn: turn.turn,
          outcome: 'failed',
          ...(turn.error ? { error: turn.error } : {}),
          usage: turn.usage,
        },
      ];
    case 'tools':
      return startTools(turn, rules);
    case 'model':
      return atSafePoint(state, before) ? passSafePoint(state, turn, rules) : [];
  }
}

/** Whether this decision has just brought the turn between two steps or attempts. */
function atSafePoint(state: SessionState, before: SessionState): boolean {
  const [now, then] = [state.turn, before.turn];
  if (!now) return false;
  return now.turn !== then?.turn || now.step !== then.step || now.attempt !== then.attempt;
}

function passSafePoint(state: SessionState, turn: OpenTurn, rules: Rules): Facts {
  if (turn.step > turn.limits.max_tool_iterations) {
    return [
      {
        type: 'turn_finished',
        turn: turn.turn,
        outcome: 'failed',
        error: {
          code: 'max_tool_iterations',
          message: `The turn took ${turn.limits.max_tool_iterations} steps, its limit (session.max_tool_iterations). Send a message to go on.`,
        },
        usage: turn.usage,
      },
    ];
  }
  const onDisconnect = state.onDisconnect ?? rules.onDisconnect;
  if (onDisconnect === 'pause' && rules.leftTurn === turn.turn) {
    return [{ type: 'turn_paused', turn: turn.turn, reason: 'disconnected' }];
  }
  return [];
}

function startTurn(state: SessionState, rules: Rules): Facts {
  const first = state.pending[0];
  if (!first) return [];
  return [
    {
      type: 'turn_started',
      turn: turnOf(first.message_id),
      trigger: [first.message_id],
      agent_hash: rules.agentHash,
      limits: rules.limits,
      queue: rules.queue,
    },
  ];
}

/** The turn that a message starts is named after it, so that deciding twice names the same turn. */
function turnOf(messageId: string): string {
  return `turn_${messageId.slice(messageId.indexOf('_') + 1)}`;
}

/** Closes a turn before its end: no call stays without a result, and what was seen of the answer is kept. */
function stopTurn(
  turn: OpenTurn,
  draft: Draft | undefined,
  outcome: 'cancelled' | 'failed',
  error?: ErrorInfo,
): Facts {
  const facts: Facts = turn.calls
    .filter((call) => call.status !== 'finished')
    .map((call) => ({
      type: 'tool_finished',
      turn: turn.turn,
      call: call.call,
      outcome: call.status === 'started' ? 'cancelled' : 'skipped',
      content: 'The turn was stopped.',
      details: {},
    }));
  if (draft && draft.text !== '' && isCurrentCall(turn, draft)) {
    const { text, ...fields } = draft;
    facts.push({
      type: 'assistant_message',
      ...fields,
      content: [{ type: 'text', text }],
      tool_calls: [],
      finish_reason: 'cancelled',
      deliveries: [],
    });
  }
  facts.push({
    type: 'turn_finished',
    turn: turn.turn,
    outcome,
    ...(error ? { error } : {}),
    usage: turn.usage,
  });
  return facts;
}

function resume(turn: OpenTurn, cause: 'attached' | 'message' | 'crash' | 'drain'): Facts[number] {
  const cut = cause === 'crash' || cause === 'drain';
  return {
    type: 'turn_resumed',
    turn: turn.turn,
    cause,
    attempt: cut ? turn.attempt + 1 : turn.attempt,
  };
}

function isCurrentCall(
  turn: OpenTurn | null,
  call: { turn: string; step: number; attempt: number },
): turn is OpenTurn {
  return (
    turn !== null &&
    turn.phase === 'model' &&
    !turn.paused &&
    turn.turn === call.turn &&
    turn.step === call.step &&
    turn.attempt === call.attempt
  );
}
