import type { ErrorInfo, ResumeCause, TurnOutcome, Usage } from '@duragent/protocol';
import { chatKey } from './chat-key.ts';
import { boundChats, deliveriesTo, withOthers } from './deliveries.ts';
import { outId } from './derived-id.ts';
import type { Facts } from './facts.ts';
import { MAX_WINDOWS } from './receive.ts';
import type { Rules } from './rules.ts';
import type { Draft, SessionInput } from './session-input.ts';
import { greet, speak } from './speak.ts';
import type { OpenCall, OpenTurn, PendingMessage, SessionState } from './state.ts';
import { unknownOutcome } from './unknown-outcome.ts';
import { workedMs } from './working-time.ts';

/** A turn for the messages that wait and are not held any more; nothing where there are none. */
export function startTurn(state: SessionState, rules: Rules): Facts {
  const ready = state.pending.filter((message) => !isHeld(message, rules));
  const first = ready[0];
  if (!first) return [];
  const isGroup = state.chats.find((chat) => chat.since === first.chat)?.chat_type !== 'dm';
  const byPlace = first.chat !== undefined && isGroup ? 'batch' : 'steer';
  const queue = state.settings.queue ?? rules.queue ?? byPlace;
  const trigger = queue === 'batch' ? ready : [first];
  return [
    ...greet(state, rules),
    {
      type: 'turn_started',
      turn: turnOf(first.message_id),
      trigger: trigger.map((message) => message.message_id),
      agent_hash: rules.agentHash,
      limits: rules.limits,
      queue,
    },
  ];
}

function isHeld({ held_until }: PendingMessage, { now, waiting }: Rules): boolean {
  if (held_until === undefined) return false;
  const left = Date.parse(held_until) - now;
  // More than a burst may last: the clock was set back.
  return left > 0 && left <= MAX_WINDOWS * waiting.debounceMs;
}

/** The turn that a message starts is named after it, so that deciding twice names the same turn. */
function turnOf(messageId: string): string {
  return `turn_${messageId.slice(messageId.indexOf('_') + 1)}`;
}

/** Closes a turn before its end: no call stays without a result, and what was seen of the answer is kept. */
export function stopTurn(
  state: SessionState,
  rules: Rules,
  draft: Draft | undefined,
  outcome: 'cancelled' | 'interrupted' | 'failed',
  error?: ErrorInfo,
): Facts {
  const { turn } = state;
  if (!turn) return [];
  const facts: Facts = turn.calls
    .filter((call) => call.status !== 'finished')
    .map((call) => stopCall(turn, call, rules));
  if (draft && isCurrentCall(turn, draft)) {
    const { text, ...fields } = draft;
    const content = [{ type: 'text' as const, text }];
    const said = { ...fields, content, tool_calls: [], finish_reason: 'cancelled' };
    facts.push(speak(state, turn, said, rules));
  }
  return [...facts, ...finishTurn(state, turn, rules, outcome, error)];
}

function stopCall(turn: OpenTurn, call: OpenCall, rules: Rules): Facts[number] {
  const output = rules.interrupted.get(call.call);
  // It had begun: nobody may take it for one that was left out.
  if (output !== undefined) return unknownOutcome(turn, call, output, rules.answers.get(call.call));
  return {
    type: 'tool_finished',
    turn: turn.turn,
    call: call.call,
    outcome: call.status === 'started' ? 'cancelled' : 'skipped',
    content: 'The turn was stopped.',
    details: {},
  };
}

/** Stops the turn where it has worked for as long as it may. */
export function stopOverdue(
  state: SessionState,
  input: Extract<SessionInput, { type: 'deadline' }>,
  rules: Rules,
): Facts {
  const { turn } = state;
  const limit = turn?.limits.turn_timeout_ms;
  if (!turn || turn.turn !== input.turn || limit == null) return [];
  const at = new Date(rules.now).toISOString();
  if (turn.paused || workedMs(turn, at) < limit) return [];
  return stopTurn(state, rules, undefined, 'failed', {
    code: 'turn_timeout',
    message: `The turn worked for ${limit / 1000} s, its limit (session.turn_timeout). Send a message to go on.`,
  });
}

/** The end of a turn; one that people have to know of is told in the session's chats. */
export function finishTurn(
  state: SessionState,
  turn: OpenTurn,
  rules: Rules,
  outcome: TurnOutcome,
  error?: ErrorInfo,
): Facts {
  const { usage } = turn;
  const finished = {
    type: 'turn_finished' as const,
    turn: turn.turn,
    outcome,
    ...(error ? { error } : {}),
    usage,
  };
  const chats = withOthers(boundChats(state), turn.deliverTo);
  if (!error || chats.length === 0) return [finished];
  const what = { text: `⚠️ ${error.message}`, format: 'text' as const };
  const deliveries = deliveriesTo(chats, what, rules, {
    out: (chat) => outId(turn.turn, `end/${chatKey(chat)}`),
    replyTo: turn.replyTo,
  });
  return [{ type: 'notice', text: what.text, deliveries }, finished];
}

/** An operator lets a session go on: a turn that the pause has stopped goes on as the state asks for it. */
export function letGoOn(state: SessionState, by: string): Facts {
  const facts: Facts = state.pausedBy === null ? [] : [{ type: 'session_resumed', by }];
  const isLeft = waitsForSomebody({ ...state, pausedBy: null });
  return isLeft && state.turn ? [...facts, resume(state.turn, 'operator')] : facts;
}

/** Whether the turn is paused until somebody comes or writes; where an operator holds the session, that does not help. */
export function waitsForSomebody(state: SessionState): state is SessionState & { turn: OpenTurn } {
  const paused = state.turn?.paused;
  return state.pausedBy === null && (paused === 'disconnected' || paused === 'background_limit');
}

/** The turn goes on; behind a crash or a drain with the next attempt. `charged`: what the call that was cut is charged with. */
export function resume(
  turn: OpenTurn,
  cause: ResumeCause,
  charged?: { usage: Usage; model: string },
): Facts[number] {
  const cut = cause === 'crash' || cause === 'drain';
  return {
    type: 'turn_resumed',
    turn: turn.turn,
    cause,
    attempt: cut ? turn.attempt + 1 : turn.attempt,
    ...charged,
  };
}

/** Whether the open turn waits for this model call; what comes of another is stale. */
export function isCurrentCall(
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
