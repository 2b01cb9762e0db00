import { mayBegin } from './evolve-calls.ts';
import type { Facts } from './facts.ts';
import type { Rules } from './rules.ts';
import { MAX_CALLS, type OpenCall, type OpenTurn } from './state.ts';
import { unknownOutcome } from './unknown-outcome.ts';

/** An approval that was given longer ago than this is asked for again after a crash, in ms. */
const STALE_MS = 10 * 60 * 1000;

/** What follows from what people decided: calls that start, or end without having run. */
export function settleCalls(turn: OpenTurn, rules: Rules): Facts {
  for (const call of turn.calls) {
    if (call.status !== 'decided') continue;
    if (call.question) return [answered(turn, call, rules)];
    const { approval } = call;
    if (!approval) continue;
    if (approval.decision === 'allow_once' || approval.decision === 'allow_always') {
      if (mayBegin(turn, call)) return [startCall(turn, call, approval.hash, rules)];
    } else {
      return [refused(turn, call, rules)];
    }
  }
  return [];
}

/**
 * Calls of an answer that are one too many: they get their result at once. `finished`: those that
 * have it already, where the log was cut behind them.
 */
export function skipExcess(
  turn: string,
  calls: readonly { call: string }[],
  finished: ReadonlySet<string> = new Set(),
): Facts {
  const left = calls.slice(MAX_CALLS).filter(({ call }) => !finished.has(call));
  return left.map(({ call }) => ({
    type: 'tool_finished',
    turn,
    call,
    outcome: 'skipped',
    content: `At most ${MAX_CALLS} tools can be called at once; this call was left out. Ask for it again.`,
    details: {},
  }));
}

/** The record with which a call begins. `hash`: of what exactly is done. */
export function startCall(
  turn: OpenTurn,
  call: OpenCall,
  hash: string | undefined,
  rules: Rules,
): Facts[number] {
  const asked = rules.calls.find((one) => one.call === call.call);
  return {
    type: 'tool_started',
    turn: turn.turn,
    call: call.call,
    provider_call_id: asked?.provider_call_id ?? '',
    name: asked?.name ?? '',
    arguments: asked?.arguments ?? {},
    effect: call.effect,
    on_interrupt: call.onInterrupt,
    ...(hash === undefined ? {} : { hash }),
  };
}

function refused(turn: OpenTurn, call: OpenCall, rules: Rules): Facts[number] {
  const isExpired = call.approval?.decision === 'expire';
  return {
    type: 'tool_finished',
    turn: turn.turn,
    call: call.call,
    outcome: 'denied',
    content: isExpired
      ? `Nobody allowed this within ${wordsOf(rules.approvalTimeoutMs)}, so it was not run. Do not try it again unasked.`
      : 'A person denied this, so it was not run. Do not try the same by other means; ask what to do instead.',
    details: call.approval?.by === undefined ? {} : { by: call.approval.by },
  };
}

function wordsOf(ms: number): string {
  return ms < 120_000 ? `${Math.round(ms / 1000)} seconds` : `${Math.round(ms / 60_000)} minutes`;
}

function answered(turn: OpenTurn, call: OpenCall, rules: Rules): Facts[number] {
  const said = rules.answers.get(call.call);
  const output = rules.interrupted.get(call.call);
  // It had begun: what a person says of it is not what it says itself.
  if (output !== undefined) return unknownOutcome(turn, call, output, said);
  const answer = said?.answer ?? null;
  const result = { type: 'tool_finished' as const, turn: turn.turn, call: call.call, details: {} };
  return answer === null
    ? { ...result, outcome: 'timed_out', content: 'Nobody answered in time.' }
    : { ...result, outcome: 'ok', content: answer };
}

/** Approvals that were given long before the log was opened, and not acted upon: they are asked for again. */
export function expireStale(turn: OpenTurn, openedSeq: number, rules: Rules): Facts {
  return turn.calls
    .filter((call) => call.seq <= openedSeq && isStale(call, rules))
    .map((call) => expire(turn, call));
}

/** Questions whose answer is in the log, which was cut right behind the message that gave it. */
export function closeCutAnswers(turn: OpenTurn, rules: Rules): Facts {
  return turn.calls.flatMap(({ status, call, question }): Facts => {
    const given = question && rules.given.get(question.question);
    if (status !== 'asked' || !question || !given) return [];
    const fact = { type: 'question_answered' as const, turn: turn.turn, call };
    return [{ ...fact, question: question.question, ...given }];
  });
}

function isStale({ status, approval }: OpenCall, rules: Rules): boolean {
  if (status !== 'decided' || !approval?.decided_at) return false;
  if (approval.decision !== 'allow_once' && approval.decision !== 'allow_always') return false;
  return rules.now - Date.parse(approval.decided_at) > STALE_MS;
}

function expire(turn: OpenTurn, call: OpenCall): Facts[number] {
  return {
    type: 'approval_decided',
    turn: turn.turn,
    call: call.call,
    approval: call.approval?.approval ?? '',
    decision: 'expire',
    by: 'server',
  };
}
