import { connectOperator } from '../client/connect.ts';
import type { CliContext } from '../context.ts';
import type { ExitCode } from '../exit-codes.ts';
import { sanitizeLine } from '../terminal/sanitize.ts';
import { table } from '../terminal/table.ts';
import { ago } from './ago.ts';

/** `duragent access list`: who was let in by a code, and who asks. */
export async function listAccess(
  context: CliContext,
  options: { output: 'table' | 'json' },
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connectOperator(context, { signal });
  const list = await client.access({ signal });
  if (options.output === 'json') {
    context.stdout.write(`${JSON.stringify(list, null, 2)}\n`);
    return 0;
  }
  const { pairings, requests } = list;
  const rows = [
    ...requests.map((one) => ['asks', one.agent, one.sender, one.name, `code ${one.code}`]),
    ...pairings.map((one) => {
      const { agent, sender, name, at, by } = one;
      return ['let in', agent, sender, name, `${ago(at)} by ${by}`];
    }),
  ].map((row) => row.map(sanitizeLine));
  if (rows.length === 0) {
    context.stderr.write(
      'Nobody was let in by a code, and nobody asks. Whom agent.yaml allows is not listed here.\n',
    );
    return 0;
  }
  const columns = context.stdout.isTTY ? context.stdout.columns : null;
  context.stdout.write(table(['STATE', 'AGENT', 'SENDER', 'NAME', 'ABOUT'], rows, columns));
  return 0;
}

/** `duragent access approve`: lets in whoever was given the code, and tells them. */
export async function approveAccess(context: CliContext, code: string): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connectOperator(context, { signal });
  const { agent, sender, name } = await client.approve(code, { signal });
  if (!context.globals.quiet) {
    const who = name === '' ? sender : `${name} (${sender})`;
    context.stderr.write(`${sanitizeLine(who)} may now speak with ${sanitizeLine(agent)}.\n`);
  }
  return 0;
}

/** `duragent access revoke`: what they are let in by agent.yaml stays. */
export async function revokeAccess(
  context: CliContext,
  agent: string,
  sender: string,
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connectOperator(context, { signal });
  await client.revoke({ agent, sender }, { signal });
  if (!context.globals.quiet) {
    context.stderr.write(
      `${sanitizeLine(sender)} may no longer speak with ${sanitizeLine(agent)}, unless its agent.yaml allows it.\n`,
    );
  }
  return 0;
}
