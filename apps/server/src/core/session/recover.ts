import { closeCutDeliveries } from './deliveries.ts';
import type { Facts } from './facts.ts';
import { closeCutCalls, repeats } from './interrupted-calls.ts';
import type { Rules } from './rules.ts';
import type { SessionInput } from './session-input.ts';
import { MAX_CRASH_RESUMES, type SessionState } from './state.ts';
import { closeCutAnswers, expireStale, skipExcess } from './tool-calls.ts';
import { finishTurn, resume } from './turns.ts';

/**
 * What was in flight when the log was last left is closed: its tools become `unknown` or are asked about, its model
 * call gets the next attempt. Twice adds nothing, because what it adds lies behind `openedSeq`.
 */
export function recover(
  state: SessionState,
  input: Extract<SessionInput, { type: 'recover' }>,
  rules: Rules,
): Facts {
  const facts: Facts = [];
  if (input.torn) {
    facts.push({ type: 'recovered', bytes: input.torn.bytes, saved_as: input.torn.savedAs });
  }
  facts.push(...closeCutDeliveries(state, input.openedSeq));
  const turn = state.turn;
  if (!turn || state.ended) return facts;
  const { openedSeq, outputs = {}, cut } = input;
  facts.push(...skipExcess(turn.turn, rules.calls, rules.finished));
  facts.push(...closeCutAnswers(turn, rules), ...expireStale(turn, openedSeq, rules));
  if (turn.paused === 'drain') return [...facts, resume(turn, 'drain', cut)];
  if (turn.paused) return facts;
  if (turn.phase === 'tools') {
    const isRepeated = turn.calls.some((call) => repeats(state, turn, call, openedSeq, rules));
    // Counted like a cut model call: what kills the server is not repeated for ever.
    if (isRepeated) facts.push(resume(turn, 'crash'));
    return [...facts, ...closeCutCalls(state, turn, openedSeq, outputs, rules)];
  }
  if (turn.phase !== 'model' || turn.phaseSeq > input.openedSeq) return facts;
  if (turn.crashes < MAX_CRASH_RESUMES) return [...facts, resume(turn, 'crash', input.cut)];
  const error = {
    code: 'crash_loop',
    message: `The server stopped ${turn.crashes + 1} times during this turn; it is not tried again. Send a message to go on.`,
  };
  const charged = input.cut ? [resume(turn, 'crash', input.cut)] : [];
  return [...facts, ...charged, ...finishTurn(state, turn, rules, 'needs_attention', error)];
}
