import type { SessionView } from '@duragent/protocol';
import type { SessionClient } from '../client/session-client.ts';
import { hasColor, isInteractive, type CliContext } from '../context.ts';
import type { ExitCode } from '../exit-codes.ts';
import type { ConversationEnd } from '../terminal/conversation.ts';
import { converseOnTerminal } from '../terminal/interactive.ts';
import { conversePiped } from '../terminal/piped.ts';
import { myName } from '../terminal/my-name.ts';
import { sanitizeLine } from '../terminal/sanitize.ts';

export interface Talk {
  client: SessionClient;
  session: SessionView;
  /** What is said first. */
  opening: string[];
  readOnly: boolean;
  raw: boolean;
}

/** Attaches this terminal, or what is piped in, to a session, until it is left or ends. */
export async function talk(context: CliContext, first: Talk): Promise<ExitCode> {
  let session = first.session;
  let { opening } = first;
  for (;;) {
    const { client, readOnly, raw } = first;
    const options = { client, session, readOnly, raw, me: myName(), quiet: context.globals.quiet };
    const end = await converse(context, options, opening);
    if (end.how !== 'reset') {
      sayEnd(context, session, end.how);
      return isInteractive(context) || (end.failures === 0 && !isBad(end.lastOutcome)) ? 0 : 1;
    }
    const { signal } = new AbortController();
    session = await client.createSession({ agent: session.agent, origin: 'cli' }, { signal });
    opening = [`A new session with ${sanitizeLine(session.agent)}: ${session.session}`];
  }
}

async function converse(
  context: CliContext,
  options: Parameters<typeof converseOnTerminal>[1],
  opening: string[],
) {
  const { stdin, stdout, stderr } = context;
  if (isInteractive(context)) {
    const terminal = { stdin, stdout, color: hasColor(context, stdout) };
    const end = await converseOnTerminal(terminal, options, (stage) => {
      for (const text of opening) stage.note(text, 'quiet');
    });
    return { ...end, failures: 0 };
  }
  if (!options.quiet) for (const text of opening) stderr.write(`${text}\n`);
  return await conversePiped({ stdin, stdout, stderr }, options);
}

function sayEnd(context: CliContext, session: SessionView, how: ConversationEnd['how']): void {
  if (context.globals.quiet || how === 'ended') return;
  const text =
    how === 'quit'
      ? `Ended ${session.session}.`
      : `Detached; the session goes on. Come back: duragent attach ${session.session}`;
  context.stderr.write(`${text}\n`);
}

function isBad(outcome: string | null): boolean {
  return outcome !== null && outcome !== 'completed';
}
