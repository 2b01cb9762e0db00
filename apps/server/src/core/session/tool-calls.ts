import type { OnInterrupt, ToolEffect } from '@duragent/protocol';
import type { Facts } from './facts.ts';
import type { Rules } from './rules.ts';
import type { OpenCall, OpenTurn } from './state.ts';

/** Starts what may run now: any number of calls without effect side by side, one with effect by itself. */
export function startTools(turn: OpenTurn, rules: Rules): Facts {
  const proposed = turn.calls.filter((call) => call.status === 'proposed');
  const unknown = proposed.filter((call) => !rules.tools.has(call.name));
  if (unknown.length > 0) return unknown.map((call) => noSuchTool(turn, call, rules));
  const running = turn.calls.filter((call) => call.status === 'started');
  const [call] = proposed;
  const tool = call && rules.tools.get(call.name);
  if (!tool) return [];
  const alone = tool.effect !== 'pure' || running.some((one) => one.effect !== 'pure');
  return alone && running.length > 0 ? [] : [startCall(turn, call, tool, rules)];
}

function noSuchTool(turn: OpenTurn, call: OpenCall, rules: Rules): Facts[number] {
  const known = [...rules.tools.keys()].sort().join(', ');
  return {
    type: 'tool_finished',
    turn: turn.turn,
    call: call.call,
    outcome: 'error',
    content: `There is no tool named ${call.name.slice(0, 100)}. ${known ? `There are: ${known}.` : 'This agent has no tools.'}`,
    details: {},
  };
}

function startCall(
  turn: OpenTurn,
  call: OpenCall,
  tool: { effect: ToolEffect; onInterrupt: OnInterrupt },
  rules: Rules,
): Facts[number] {
  const asked = rules.calls.find((one) => one.call === call.call);
  return {
    type: 'tool_started',
    turn: turn.turn,
    call: call.call,
    provider_call_id: asked?.provider_call_id ?? '',
    name: call.name,
    arguments: asked?.arguments ?? {},
    effect: tool.effect,
    on_interrupt: tool.onInterrupt,
  };
}

/** Calls that were started before the log was opened: repeated where the tool allows it, else of unknown outcome. */
export function closeCutCalls(turn: OpenTurn, openedSeq: number, rules: Rules): Facts {
  return turn.calls
    .filter((call) => call.status === 'started' && call.seq <= openedSeq)
    .map((call) =>
      call.onInterrupt === 'retry' && call.effect !== 'effectful'
        ? startCall(turn, call, call, rules)
        : unknownOutcome(turn, call),
    );
}

/** Calls that this server started and cannot see to their end. */
export function endStartedCalls(turn: OpenTurn): Facts {
  return turn.calls
    .filter((call) => call.status === 'started')
    .map((call) => unknownOutcome(turn, call));
}

function unknownOutcome(turn: OpenTurn, call: OpenCall): Facts[number] {
  return {
    type: 'tool_finished',
    turn: turn.turn,
    call: call.call,
    outcome: 'unknown',
    content:
      'The server was restarted while this ran, so its outcome is unknown: it may have happened wholly, in part, or not at all. Check before you do it again.',
    details: {},
  };
}
