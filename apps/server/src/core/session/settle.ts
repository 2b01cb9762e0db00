import { dropExcess } from './deliveries.ts';
import { waitsForPeople } from './evolve-calls.ts';
import type { Facts } from './facts.ts';
import type { Rules } from './rules.ts';
import type { OpenTurn, SessionState } from './state.ts';
import { settleCalls } from './tool-calls.ts';
import { finishTurn, startTurn, stopTurn } from './turns.ts';

/** What the state asks for by itself, one step at a time; nothing at rest. `before` is the state the input met. */
export function settle(state: SessionState, before: SessionState, rules: Rules): Facts {
  const excess = dropExcess(state);
  if (excess.length > 0) return excess;
  if (state.ended) return [];
  const turn = state.turn;
  if (!turn) return startTurn(state, rules);
  if (turn.paused) return [];
  switch (turn.phase) {
    case 'answered':
      return [{ type: 'turn_finished', turn: turn.turn, outcome: 'completed', usage: turn.usage }];
    case 'failed':
      return finishTurn(state, turn, rules, 'failed', turn.error ?? undefined);
    case 'tools': {
      const isCalled = turn.queue === 'interrupt' && state.pending.length > 0;
      if (isCalled && isBetweenCalls(turn)) return stopTurn(state, rules, undefined, 'interrupted');
      return isBetweenCalls(turn) && isLeft(state, turn, rules)
        ? [{ type: 'turn_paused', turn: turn.turn, reason: 'disconnected' }]
        : settleCalls(turn, rules);
    }
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
    return finishTurn(state, turn, rules, 'failed', {
      code: 'max_tool_iterations',
      message: `The turn took ${turn.limits.max_tool_iterations} steps, its limit (session.max_tool_iterations). Send a message to go on.`,
    });
  }
  if (turn.queue === 'interrupt' && state.pending.length > 0) {
    return finishTurn(state, turn, rules, 'interrupted');
  }
  if (isLeft(state, turn, rules)) {
    return [{ type: 'turn_paused', turn: turn.turn, reason: 'disconnected' }];
  }
  return [];
}

/** Whether no call is under way, and one has ended or people have to speak. */
function isBetweenCalls(turn: OpenTurn): boolean {
  const statuses = new Set(turn.calls.map(({ status }) => status));
  return !statuses.has('started') && (statuses.has('finished') || waitsForPeople(turn));
}

/** Whether everyone left this turn, and it is not to go on without them. */
function isLeft(state: SessionState, turn: OpenTurn, rules: Rules): boolean {
  return (state.onDisconnect ?? rules.onDisconnect) === 'pause' && rules.leftTurn === turn.turn;
}
