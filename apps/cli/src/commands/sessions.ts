import type { SessionView } from '@duragent/protocol';
import type { Writable } from 'node:stream';
import { connect } from '../client/connect.ts';
import type { CliContext } from '../context.ts';
import type { ExitCode } from '../exit-codes.ts';
import { sanitizeLine } from '../terminal/sanitize.ts';
import { table } from '../terminal/table.ts';
import { ago } from './ago.ts';

/** `duragent sessions`: all of this workspace, newest first. */
export async function sessions(
  context: CliContext,
  options: { status?: string; agent?: string; gateway?: string; output: 'table' | 'json' },
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connect(context, { signal });
  const filter: { status?: string; agent?: string; gateway?: string } = {};
  if (options.status !== undefined) filter.status = options.status;
  if (options.agent !== undefined) filter.agent = options.agent;
  if (options.gateway !== undefined) filter.gateway = options.gateway;
  const found = await client.sessions(filter, { signal });
  if (options.output === 'json') context.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
  else listSessions(context, found);
  return 0;
}

/** Writes sessions as a table. */
export function listSessions(
  context: CliContext,
  found: readonly SessionView[],
  out: Writable = context.stdout,
): void {
  if (found.length === 0) {
    context.stderr.write('There is no such session. `duragent chat` begins one.\n');
    return;
  }
  const rows = found.map((one) => [
    one.session,
    sanitizeLine(one.agent),
    stateOf(one),
    String(one.turns),
    ago(one.updated_at),
    sanitizeLine(one.key ?? one.preview ?? ''),
  ]);
  const columns = context.stdout.isTTY ? context.stdout.columns : null;
  out.write(table(['SESSION', 'AGENT', 'STATUS', 'TURNS', 'LAST', 'ABOUT'], rows, columns));
}

/** A session as a person knows it again, in one short line. */
export function sessionLabel(one: SessionView): string {
  const about = sanitizeLine(one.key ?? one.preview ?? '').slice(0, 40) || 'nothing said yet';
  return [about, sanitizeLine(one.agent), stateOf(one), ago(one.updated_at)].join(' · ');
}

function stateOf(one: SessionView): string {
  return one.turn_state === 'idle' || one.status === 'ended'
    ? one.status
    : `${one.status}, ${one.turn_state}`;
}
