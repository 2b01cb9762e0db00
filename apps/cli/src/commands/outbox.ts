import type { OutboxEntry } from '@duragent/protocol';
import { connect, connectOperator } from '../client/connect.ts';
import { pickSession } from '../client/pick-session.ts';
import type { CliContext } from '../context.ts';
import type { ExitCode } from '../exit-codes.ts';
import { sanitizeLine } from '../terminal/sanitize.ts';
import { table } from '../terminal/table.ts';
import { ago } from './ago.ts';

/** `duragent outbox list`: what is owed to chats, and what died. */
export async function listOutbox(
  context: CliContext,
  options: { session?: string; gateway?: string; output: 'table' | 'json' },
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const filter: { session?: string; gateway?: string } = {};
  if (options.gateway !== undefined) filter.gateway = options.gateway;
  if (options.session !== undefined) {
    const sessions = await connect(context, { signal });
    filter.session = (await pickSession(sessions, options.session, { signal })).session;
  }
  const client = await connectOperator(context, { signal });
  const { deliveries, unreadable } = await client.outbox(filter, { signal });
  if (options.output === 'json') {
    context.stdout.write(`${JSON.stringify({ deliveries, unreadable }, null, 2)}\n`);
    return 0;
  }
  for (const { session, message } of unreadable) {
    context.stderr.write(`${sanitizeLine(session)}: ${sanitizeLine(message)}\n`);
  }
  if (deliveries.length === 0) {
    if (!context.globals.quiet) context.stderr.write('Nothing is owed, and nothing is dead.\n');
    return 0;
  }
  const columns = context.stdout.isTTY ? context.stdout.columns : null;
  const head = ['DELIVERY', 'STATE', 'CHAT', 'PART', 'TRY', 'SINCE', 'WHY', 'TEXT'];
  context.stdout.write(table(head, deliveries.map(rowOf), columns));
  return 0;
}

function rowOf(entry: OutboxEntry): string[] {
  const { out, state, gateway, chat_id, thread_id, part, parts, attempt, since } = entry;
  const why = [entry.code, entry.message].filter((word) => word !== undefined).join(': ');
  return [
    out,
    state,
    [gateway, chat_id, thread_id].filter((word) => word !== undefined).join(':'),
    `${String(part)}/${String(parts)}`,
    String(attempt),
    ago(since),
    why,
    entry.preview,
  ].map(sanitizeLine);
}

const done = {
  retry: 'It is owed again and goes out when its turn in the chat has come',
  drop: 'Given up',
} as const;

/** `duragent outbox retry|drop`: each of these deliveries, in order; stops at the first that is refused. */
export async function decideDeliveries(
  context: CliContext,
  what: 'retry' | 'drop',
  outs: readonly string[],
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connectOperator(context, { signal });
  for (const out of outs) {
    await client.decideDelivery(what, out, { signal });
    if (!context.globals.quiet) context.stderr.write(`${done[what]}: ${sanitizeLine(out)}\n`);
  }
  return 0;
}
