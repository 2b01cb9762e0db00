import type { Command } from 'commander';
import { tableOrJson } from './options.ts';
import type { RunWith } from './run-with.ts';

/** Adds `duragent agent`, with what it can do. */
export function addAgent(program: Command, runWith: RunWith): void {
  const agent = program.command('agent').description('list or check agents');
  agent
    .command('list')
    .description('the agents of this workspace; * is the default')
    .addOption(tableOrJson())
    .action(async (options: { output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('../commands/agent.ts')).listAgents(context, options),
      ),
    );
  agent
    .command('validate [dir]')
    .description("check an agent's folder, or all of this workspace's")
    .action(async (dir: string | undefined) =>
      runWith(async (context) =>
        (await import('../commands/agent.ts')).validateAgents(context, dir),
      ),
    );
}
