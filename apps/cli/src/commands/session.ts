import { connect } from '../client/connect.ts';
import { pickSession } from '../client/pick-session.ts';
import type { CliContext } from '../context.ts';
import type { ExitCode } from '../exit-codes.ts';
import { sanitizeLine } from '../terminal/sanitize.ts';
import { table } from '../terminal/table.ts';

/** `duragent session show`. */
export async function showSession(
  context: CliContext,
  wanted: string,
  options: { output: 'table' | 'json' },
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connect(context, { signal });
  const found = await pickSession(client, wanted, { signal });
  if (options.output === 'json') {
    context.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
    return 0;
  }
  const rows = Object.entries(found).map(([name, value]) => [
    sanitizeLine(name),
    sanitizeLine(typeof value === 'string' ? value : JSON.stringify(value)),
  ]);
  context.stdout.write(table(['NAME', 'VALUE'], rows, null));
  return 0;
}

/** `duragent session end`: it can be read from then on, and takes no messages. */
export async function endSession(context: CliContext, wanted: string): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connect(context, { signal });
  const { session } = await pickSession(client, wanted, { signal });
  await client.end(session, 'user', { signal });
  if (!context.globals.quiet) context.stderr.write(`Ended ${session}.\n`);
  return 0;
}

/** `duragent session delete`: ends it and deletes its data. */
export async function deleteSession(context: CliContext, wanted: string): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connect(context, { signal });
  const { session } = await pickSession(client, wanted, { signal });
  await client.delete(session, { signal });
  if (!context.globals.quiet) context.stderr.write(`Deleted ${session} and its data.\n`);
  return 0;
}
