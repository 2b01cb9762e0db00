import { mayBegin } from './evolve-calls.ts';
import type { Facts } from './facts.ts';
import type { Rules } from './rules.ts';
import { MAX_CALLS, MAX_CRASH_RESUMES, type OpenCall, type OpenTurn } from './state.ts';

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
  const answer = rules.answers.get(call.call) ?? null;
  const result = { type: 'tool_finished' as const, turn: turn.turn, call: call.call, details: {} };
  return answer === null
    ? { ...result, outcome: 'timed_out', content: 'Nobody answered in time.' }
    : { ...result, outcome: 'ok', content: answer };
}

/** Calls that were started before the log was opened: repeated where the tool allows it, else of unknown outcome. */
export function closeCutCalls(
  turn: OpenTurn,
  openedSeq: number,
  outputs: Readonly<Record<string, string>>,
  rules: Rules,
): Facts {
  return turn.calls
    .filter((call) => call.status === 'started' && call.seq <= openedSeq)
    .map((call) =>
      repeats(turn, call, openedSeq)
        ? startCall(turn, call, call.hash, rules)
        : cutOutcome(turn, call, outputs[call.call]),
    );
}

/** Whether a call that was cut is run again. */
export function repeats(turn: OpenTurn, call: OpenCall, openedSeq: number): boolean {
  const isHarmless = call.onInterrupt === 'retry' && call.effect !== 'effectful';
  // What it has told needs no telling again.
  const isCut = call.status === 'started' && call.seq <= openedSeq && !call.told;
  return isCut && isHarmless && turn.crashes < MAX_CRASH_RESUMES;
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

/** Calls that this server started and cannot see to their end. */
export function endStartedCalls(turn: OpenTurn): Facts {
  return turn.calls
    .filter((call) => call.status === 'started')
    .map((call) => cutOutcome(turn, call, undefined));
}

const UNKNOWN =
  'The server was restarted while this ran, so its outcome is unknown: it may have happened wholly, in part, or not at all. Check before you do it again.';

/** What is known of a call that was cut: people were told, or it is unknown. */
function cutOutcome(turn: OpenTurn, call: OpenCall, output: string | undefined): Facts[number] {
  if (!call.told) return unknownOutcome(turn, call, output);
  const fact = { type: 'tool_finished' as const, turn: turn.turn, call: call.call };
  const content = 'Sent, once; the server was restarted right behind it.';
  return { ...fact, outcome: 'ok', content, details: {} };
}

function unknownOutcome(turn: OpenTurn, call: OpenCall, output: string | undefined): Facts[number] {
  const seen = output === undefined || output === '' ? '' : `\nIts output so far:\n${output}`;
  return {
    type: 'tool_finished',
    turn: turn.turn,
    call: call.call,
    outcome: 'unknown',
    content: UNKNOWN + seen,
    details: {},
  };
}
