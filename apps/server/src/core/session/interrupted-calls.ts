import { visible } from '@duragent/protocol';
import { isHeld } from './background.ts';
import { askQuestion } from './consent.ts';
import type { Facts } from './facts.ts';
import type { Rules } from './rules.ts';
import { MAX_CRASH_RESUMES, type OpenCall, type OpenTurn, type SessionState } from './state.ts';
import { startCall } from './tool-calls.ts';
import { interruptionChoices, unknownOutcome } from './unknown-outcome.ts';

/** What people are shown of a call, and of its output, in characters: so much is read. */
const MAX_SHOWN = 1_500;
const MAX_SHOWN_OUTPUT = 1_000;

/** What calls that were cut had printed, by call. */
type Outputs = Readonly<Record<string, string>>;

/** Calls that were started before the log was opened: repeated where the tool allows it, else asked about or of unknown outcome. */
export function closeCutCalls(
  state: SessionState,
  turn: OpenTurn,
  openedSeq: number,
  outputs: Outputs,
  rules: Rules,
): Facts {
  return turn.calls
    .filter((call) => isCut(call, openedSeq))
    .map((call) =>
      repeats(state, turn, call, openedSeq, rules)
        ? startCall(turn, call, call.hash, rules)
        : closeCall(state, turn, call, outputs[call.call], rules),
    );
}

/** Calls that this server started and cannot see to their end. */
export function endStartedCalls(
  state: SessionState,
  turn: OpenTurn,
  outputs: Outputs,
  rules: Rules,
): Facts {
  return turn.calls
    .filter((call) => call.status === 'started')
    .map((call) => closeCall(state, turn, call, outputs[call.call], rules));
}

/** Whether a call that was cut is run again: not in a turn that is to begin nothing more. */
export function repeats(
  state: SessionState,
  turn: OpenTurn,
  call: OpenCall,
  openedSeq: number,
  rules: Rules,
): boolean {
  if (isHeld(state, turn, rules)) return false;
  const isHarmless = call.onInterrupt === 'retry' && call.effect !== 'effectful';
  // What it has told needs no telling again.
  return isCut(call, openedSeq) && isHarmless && !call.told && turn.crashes < MAX_CRASH_RESUMES;
}

function isCut({ status, seq }: OpenCall, openedSeq: number): boolean {
  return status === 'started' && seq <= openedSeq;
}

function closeCall(
  state: SessionState,
  turn: OpenTurn,
  call: OpenCall,
  output: string | undefined,
  rules: Rules,
): Facts[number] {
  if (call.told) return sent(turn, call);
  return call.onInterrupt === 'ask'
    ? askWhatBecame(state, turn, call, output ?? '', rules)
    : unknownOutcome(turn, call, output);
}

/** What it was to tell people is in the log, and so is owed to their chats. */
function sent({ turn }: OpenTurn, { call }: OpenCall): Facts[number] {
  const content = 'Sent, once; the server was restarted right behind it.';
  return { type: 'tool_finished', turn, call, outcome: 'ok', content, details: {} };
}

/** Nobody can know sooner than people look: it waits for them, however long that takes. */
function askWhatBecame(
  state: SessionState,
  turn: OpenTurn,
  call: OpenCall,
  output: string,
  rules: Rules,
): Facts[number] {
  const verdict = {
    text: textOf(call, output, rules),
    choices: Object.values(interruptionChoices),
    timeoutMs: null,
  };
  return { ...askQuestion(state, turn, call, verdict, rules), interrupted: { output } };
}

function textOf({ call }: OpenCall, output: string, { calls }: Rules): string {
  const asked = calls.find((one) => one.call === call);
  const printed = output.trimEnd();
  return [
    'The server was restarted while this ran, and did not see how it ended:',
    '',
    marked(shorten([asked?.name ?? '', ...linesOf(asked?.arguments)].join('\n'))),
    '',
    ...(printed === ''
      ? ['It had shown no output.']
      : ['The end of its output:', marked(endOf(printed))]),
    '',
    'It is not run again by itself. What came of it?',
  ].join('\n');
}

/** What a call was asked to do: a line for each argument, with texts as they are. */
function linesOf(args: unknown): string[] {
  if (typeof args !== 'object' || args === null) return [JSON.stringify(args) ?? ''];
  return Object.entries(args).map(
    ([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
}

/** With nothing hidden in it, and none of its lines like one of ours. */
function marked(text: string): string {
  return visible(text).replace(/^/gm, '│ ');
}

function shorten(text: string): string {
  const left = text.length - MAX_SHOWN;
  if (left <= 0) return text;
  return `${text.slice(0, MAX_SHOWN).toWellFormed()}\n… (${left} more characters, in the log of the session)`;
}

function endOf(text: string): string {
  return text.length <= MAX_SHOWN_OUTPUT
    ? text
    : `…${text.slice(-MAX_SHOWN_OUTPUT).toWellFormed()}`;
}
