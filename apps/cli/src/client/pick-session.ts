import { DuragentError, type SessionView } from '@duragent/protocol';
import { sanitizeLine } from '../terminal/sanitize.ts';
import type { CallOptions } from './api-calls.ts';
import type { SessionClient } from './session-client.ts';

/**
 * The session that a person means by its id, its key, or a beginning of its id that only it has.
 * @throws DuragentError session_not_found, or usage when several begin so
 */
export async function pickSession(
  client: SessionClient,
  wanted: string,
  options: CallOptions,
): Promise<SessionView> {
  const sessions = await client.sessions({}, options);
  const exact =
    sessions.find((one) => one.session === wanted) ??
    sessions.find((one) => one.key === wanted && one.status !== 'ended') ??
    sessions.find((one) => one.key === wanted);
  if (exact !== undefined) return exact;
  const begun = sessions.filter((one) => begins(one.session, wanted));
  const [only] = begun;
  if (only !== undefined && begun.length === 1) return only;
  const shown = sanitizeLine(wanted);
  if (begun.length === 0) {
    throw new DuragentError(
      'session_not_found',
      `There is no session ${shown}. \`duragent sessions\` lists them.`,
    );
  }
  const ids = begun.slice(0, 10).map((one) => `\n  ${one.session}`);
  throw new DuragentError(
    'usage',
    `Several sessions begin with ${shown}; give more of it:${ids.join('')}`,
  );
}

/** With or without `session_`, in any case of letters. */
function begins(id: string, wanted: string): boolean {
  const start = wanted.toLowerCase();
  return start.length >= 4 && (id.startsWith(start) || id.startsWith(`session_${start}`));
}
