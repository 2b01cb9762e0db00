import type { PauseReason } from '@duragent/protocol';
import { isBeyondLimit, isHeld, isLeft, pauseAtLimit } from './background.ts';
import { dropExcess } from './deliveries.ts';
import { waitsForPeople } from './evolve-calls.ts';
import type { Facts } from './facts.ts';
import type { Rules } from './rules.ts';
import type { OpenTurn, SessionState } from './state.ts';
import { settleCalls } from './tool-calls.ts';
import { finishTurn, resume, startTurn, stopTurn } from './turns.ts';

/** What the state asks for by itself, one step at a time; nothing at rest. `before` is the state the input met. */
export function settle(state: SessionState, before: SessionState, rules: Rules): Facts {
  const excess = dropExcess(state);
  if (excess.length > 0) return excess;
  if (state.ended) return [];
  const turn = state.turn;
  if (!turn) return state.pausedBy === null ? startTurn(state, rules) : [];
  if (turn.paused) {
    return turn.paused === 'operator' && state.pausedBy === null ? [resume(turn, 'operator')] : [];
  }
  switch (turn.phase) {
    case 'answered':
      return [{ type: 'turn_finished', turn: turn.turn, outcome: 'completed', usage: turn.usage }];
    case 'failed':
      return finishTurn(state, turn, rules, 'failed', turn.error ?? undefined);
    case 'tools': {
      if (isHeld(state, turn, rules)) return isRunning(turn) ? [] : hold(state, turn, rules);
      const isCalled = turn.queue === 'interrupt' && state.pending.length > 0;
      if (isCalled && isBetweenCalls(turn)) return stopTurn(state, rules, undefined, 'interrupted');
      return isBetweenCalls(turn) && isLeft(state, turn, rules)
        ? [pause(turn, 'disconnected')]
        : settleCalls(turn, rules);
    }
    case 'model':
      if (atSafePoint(state, before)) return passSafePoint(state, turn, rules);
      return waitsToTryAgain(turn, rules) ? hold(state, turn, rules) : [];
  }
}

/** Whether this decision has just brought the turn between two steps or attempts. */
function atSafePoint(state: SessionState, before: SessionState): boolean {
  const [now, then] = [state.turn, before.turn];
  if (!now) return false;
  const isLetGo = then?.paused === 'operator' && now.paused === null;
  return (
    isLetGo || now.turn !== then?.turn || now.step !== then.step || now.attempt !== then.attempt
  );
}

function passSafePoint(state: SessionState, turn: OpenTurn, rules: Rules): Facts {
  if (turn.step > turn.limits.max_tool_iterations) {
    return finishTurn(state, turn, rules, 'failed', {
      code: 'max_tool_iterations',
      message: `The turn took ${turn.limits.max_tool_iterations} steps, its limit (session.max_tool_iterations). Send a message to go on.`,
    });
  }
  const held = hold(state, turn, rules);
  if (held.length > 0) return held;
  if (turn.queue === 'interrupt' && state.pending.length > 0) {
    return finishTurn(state, turn, rules, 'interrupted');
  }
  return isLeft(state, turn, rules) ? [pause(turn, 'disconnected')] : [];
}

/** Stops the turn where an operator holds the session, or where it worked alone for as long as it may. */
function hold(state: SessionState, turn: OpenTurn, rules: Rules): Facts {
  if (state.pausedBy !== null) return [pause(turn, 'operator')];
  return isBeyondLimit(state, turn, rules) ? pauseAtLimit(state, turn, rules) : [];
}

function pause({ turn }: OpenTurn, reason: PauseReason): Facts[number] {
  return { type: 'turn_paused', turn, reason };
}

function isRunning(turn: OpenTurn): boolean {
  return turn.calls.some(({ status }) => status === 'started');
}

/** Whether the next try of a model call has not begun. */
function waitsToTryAgain({ retryAt }: OpenTurn, { now }: Rules): boolean {
  return retryAt !== null && Date.parse(retryAt) > now;
}

/** Whether no call is under way, and one has ended or people have to speak. */
function isBetweenCalls(turn: OpenTurn): boolean {
  const hasEnded = turn.calls.some(({ status }) => status === 'finished');
  return !isRunning(turn) && (hasEnded || waitsForPeople(turn));
}
