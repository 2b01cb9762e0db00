import { readdir } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { DuragentError } from '@duragent/protocol';
import { connect, exists } from '../client/connect.ts';
import type { CliContext } from '../context.ts';
import type { ExitCode } from '../exit-codes.ts';
import { importServer } from '../server.ts';
import { sanitize, sanitizeLine } from '../terminal/sanitize.ts';
import { table } from '../terminal/table.ts';

/** `duragent agent list`: those that load, and what is wrong with the others. */
export async function listAgents(
  context: CliContext,
  options: { output: 'table' | 'json' },
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const client = await connect(context, { signal });
  const list = await client.agents({ signal });
  if (options.output === 'json') {
    context.stdout.write(`${JSON.stringify(list, null, 2)}\n`);
    return 0;
  }
  const rows = list.agents.map((agent) =>
    [agent.name + (agent.default ? ' *' : ''), agent.model, agent.version, agent.description].map(
      sanitizeLine,
    ),
  );
  const columns = context.stdout.isTTY ? context.stdout.columns : null;
  context.stdout.write(table(['AGENT', 'MODEL', 'VERSION', 'ABOUT'], rows, columns));
  for (const { name, faults } of list.broken) {
    context.stderr.write(
      `${sanitizeLine(name)} does not load:\n${faults.map((fault) => `  ${formatFault(fault)}\n`).join('')}`,
    );
  }
  return 0;
}

/** `duragent agent validate`: this folder, or every agent of the workspace; 78 when one does not load. */
export async function validateAgents(
  context: CliContext,
  dir: string | undefined,
): Promise<ExitCode> {
  const { validateAgent } = await importServer();
  const rules = await budgetRules(context);
  const dirs = dir === undefined ? await agentDirs(context) : [resolve(context.cwd, dir)];
  let broken = 0;
  for (const one of dirs) {
    const { faults, warnings, hints } = await validateAgent(one, rules);
    const shown = sanitizeLine(relative(context.cwd, one) || one);
    const lines = [
      ...faults.map((fault) => formatFault(fault)),
      ...warnings.map((warning) => `${formatFault(warning)} (warning)`),
      ...hints.flatMap((hint) => sanitize(hint).trimEnd().split('\n')),
    ];
    const out = faults.length === 0 ? context.stdout : context.stderr;
    out.write(
      `${shown}: ${faults.length === 0 ? 'ok' : 'does not load'}\n${lines.map((text) => `  ${text}\n`).join('')}`,
    );
    if (faults.length > 0) broken += 1;
  }
  return broken === 0 ? 0 : 78;
}

/** What duragent.yaml says of money; undefined: it does not load, which other commands say. */
async function budgetRules(context: CliContext) {
  const { loadConfig } = await importServer();
  try {
    const { budget, models } = await loadConfig({ cwd: context.cwd, env: context.env });
    return { budget, prices: models.prices };
  } catch (error) {
    if (error instanceof DuragentError) return undefined;
    throw error;
  }
}

async function agentDirs(context: CliContext): Promise<string[]> {
  const { loadConfig } = await importServer();
  const { agents } = await loadConfig({ cwd: context.cwd, env: context.env });
  const entries = (await exists(agents.path))
    ? await readdir(agents.path, { withFileTypes: true })
    : [];
  const dirs = entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(agents.path, entry.name));
  if (dirs.length > 0) return dirs.toSorted();
  throw new DuragentError(
    'config_invalid',
    `There is no agent in ${agents.path}. \`duragent init\` makes one.`,
  );
}

function formatFault(fault: {
  file: string;
  line: number;
  column: number;
  message: string;
}): string {
  return sanitize(`${fault.file}:${String(fault.line)}:${String(fault.column)}: ${fault.message}`);
}
