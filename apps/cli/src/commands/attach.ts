import { DuragentError, type SessionView } from '@duragent/protocol';
import { connect } from '../client/connect.ts';
import { findChat, readChatName } from '../client/find-chat.ts';
import { pickSession } from '../client/pick-session.ts';
import { isInteractive, type CliContext } from '../context.ts';
import type { ExitCode } from '../exit-codes.ts';
import { introduce } from './chat.ts';
import { listSessions, sessionLabel } from './sessions.ts';
import { talk } from './talk.ts';

/** `duragent attach`: the named session, the one a chat shows, the only one that has not ended, or the one that is chosen. */
export async function attach(
  context: CliContext,
  wanted: string | undefined,
  options: { list?: boolean; readOnly?: boolean; raw?: boolean },
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connect(context, { signal });
  if (wanted === undefined || options.list === true) {
    const open = (await client.sessions({}, { signal })).filter((one) => one.status !== 'ended');
    if (options.list === true) {
      listSessions(context, open);
      return 0;
    }
    const session = open.length > 1 ? await choose(context, open) : open[0];
    if (session === undefined) {
      throw new DuragentError(
        'session_not_found',
        'No session is open. `duragent chat` begins one.',
      );
    }
    if (session === null) return 0;
    wanted = session.session;
  }
  const chat = readChatName(wanted);
  const session = chat
    ? await findChat(client, chat, { signal })
    : await pickSession(client, wanted, { signal });
  return await talk(context, {
    client,
    session,
    opening: session.status === 'ended' ? [] : await introduce(client, session, signal),
    readOnly: options.readOnly === true,
    raw: options.raw === true,
  });
}

/** @returns null when the person chose none */
async function choose(context: CliContext, open: SessionView[]): Promise<SessionView | null> {
  if (!isInteractive(context)) {
    listSessions(context, open, context.stderr);
    throw new DuragentError(
      'usage',
      'Several sessions are open; name one: duragent attach <session>',
    );
  }
  const { isCancel, select } = await import('@clack/prompts');
  const chosen = await select({
    message: 'Which session?',
    options: open.map((one) => ({
      value: one.session,
      label: sessionLabel(one),
      hint: one.session,
    })),
    maxItems: 12,
  });
  return isCancel(chosen) ? null : (open.find((one) => one.session === chosen) ?? null);
}
