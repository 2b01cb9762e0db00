import { type ApprovalDecision, DuragentError, INVISIBLE, visible } from '@duragent/protocol';
import { connect } from '../client/connect.ts';
import type { CliContext } from '../context.ts';
import type { ExitCode } from '../exit-codes.ts';
import { quoted } from '../terminal/open-asks.ts';
import { sanitizeLine } from '../terminal/sanitize.ts';
import { ago } from './ago.ts';

/** `duragent approvals`: what agents ask to be allowed, each with the whole of what it would do. */
export async function listApprovals(
  context: CliContext,
  options: { output: 'table' | 'json' },
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const approvals = await (await connect(context, { signal })).approvals({ signal });
  if (options.output === 'json') {
    context.stdout.write(`${visibleJson(approvals)}\n`);
    return 0;
  }
  for (const {
    approval,
    agent,
    session,
    tool,
    requested_at,
    expires_at,
    ...request
  } of approvals) {
    const { shown, command, reason, always } = request;
    const env = Object.entries(command?.env ?? {}).map(([name, value]) => `${name}=${value}`);
    const head = [approval, agent, session, ago(requested_at), untilWords(expires_at)];
    const lines = [
      head
        .filter((word) => word !== '')
        .map(sanitizeLine)
        .join('  '),
      `${visible(tool)}:`,
      ...quoted(visible(shown)).split('\n'),
      ...(command ? [visible(`in ${[command.cwd, ...env].join(' ')}`)] : []),
      visible(reason),
      ...(always === null ? [] : [visible(`--always adds the rule ${always}`)]),
    ];
    context.stdout.write(`${lines.join('\n    ')}\n`);
  }
  if (approvals.length === 0 && !context.globals.quiet) {
    context.stderr.write('No approval waits.\n');
  }
  return 0;
}

/** `duragent approvals allow|deny`: each of these, in order; stops at the first that is refused. */
export async function decideApprovals(
  context: CliContext,
  ids: readonly string[],
  decision: ApprovalDecision,
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connect(context, { signal });
  const waiting = await client.approvals({ signal });
  for (const id of ids) {
    const known = waiting.find(({ approval }) => approval === id);
    if (!known) throw noneWaits('approval', id);
    await client.decide(known.session, id, decision, { signal });
    const done = decision === 'deny' ? 'Denied' : 'Allowed';
    if (!context.globals.quiet) context.stderr.write(`${done}: ${sanitizeLine(id)}\n`);
  }
  return 0;
}

/** `duragent questions`: what agents ask people. */
export async function listQuestions(
  context: CliContext,
  options: { output: 'table' | 'json' },
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const questions = await (await connect(context, { signal })).questions({ signal });
  if (options.output === 'json') {
    context.stdout.write(`${visibleJson(questions)}\n`);
    return 0;
  }
  for (const { question, agent, session, text, choices = [], asked_at, expires_at } of questions) {
    const head = [question, agent, session, ago(asked_at), untilWords(expires_at)];
    const lines = [
      head
        .filter((word) => word !== '')
        .map(sanitizeLine)
        .join('  '),
      ...visible(text).split('\n'),
      ...choices.map((choice, i) => `${String(i + 1)}. ${sanitizeLine(choice)}`),
    ];
    context.stdout.write(`${lines.join('\n    ')}\n`);
  }
  if (questions.length === 0 && !context.globals.quiet)
    context.stderr.write('No question waits.\n');
  return 0;
}

/** `duragent questions answer`: a text; where there are choices one of them, or its number. */
export async function answerQuestion(
  context: CliContext,
  id: string,
  answer: string,
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connect(context, { signal });
  const known = (await client.questions({ signal })).find(({ question }) => question === id);
  if (!known) throw noneWaits('question', id);
  await client.answer(known.session, id, answer, { signal });
  if (!context.globals.quiet) context.stderr.write(`Answered: ${sanitizeLine(id)}\n`);
  return 0;
}

/** JSON in which nothing hides, nor acts on a terminal: what cannot be seen is escaped. */
function visibleJson(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(INVISIBLE, (char) => {
    if (char === '\n') return char;
    const units = Array.from({ length: char.length }, (_, i) => char.charCodeAt(i));
    return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
  });
}

function untilWords(expires_at: string | null): string {
  return expires_at === null ? '' : `until ${expires_at}`;
}

function noneWaits(what: 'approval' | 'question', id: string): DuragentError {
  return new DuragentError(
    'not_found',
    `No ${what} ${id.slice(0, 60)} waits: it was decided, its time is over, or there is none (duragent ${what}s lists them).`,
  );
}
