import type { Facts } from './facts.ts';
import type { OpenCall, OpenTurn } from './state.ts';

/** What people may say of a call that was cut. */
export const interruptionChoices = {
  done: 'It was done',
  notDone: 'It was not done',
  unsure: 'I cannot say',
} as const;

const UNKNOWN =
  'its outcome is unknown: it may have happened wholly, in part, or not at all. Check before you do it again.';
const ALONE = `The server was restarted while this ran, so ${UNKNOWN}`;

/** The result of a call that was cut, with what it had printed and what a person says of it. */
export function unknownOutcome(
  { turn }: OpenTurn,
  { call }: OpenCall,
  output = '',
  said?: { answer: string | null; by: string },
): Facts[number] {
  const known = said?.answer == null ? null : { answer: said.answer, by: said.by };
  const seen = output === '' ? '' : `\nIts output so far:\n${output}`;
  const fact = { type: 'tool_finished' as const, turn, call, outcome: 'unknown' as const };
  return { ...fact, content: (known ? wordOf(known) : ALONE) + seen, details: known ?? {} };
}

function wordOf({ answer, by }: { answer: string; by: string }): string {
  const asked = `The server was restarted while this ran, and did not see how it ended. A person (${by}) was asked what came of it`;
  return answer === interruptionChoices.unsure
    ? `${asked}, and cannot say, so ${UNKNOWN}`
    : `${asked}, and says: ${answer}. It was not run again.`;
}
