import type { Command } from 'commander';
import { tableOrJson } from './options.ts';
import type { RunWith } from './run-with.ts';

/** Adds `duragent access`, with what it can do. */
export function addAccess(program: Command, runWith: RunWith): void {
  const access = program.command('access').description('who may speak with agents in chats');
  access
    .command('list')
    .description('who was let in by a code, and who asks')
    .addOption(tableOrJson())
    .action(async (options: { output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('../commands/access.ts')).listAccess(context, options),
      ),
    );
  access
    .command('approve <code>')
    .description('let in whoever was given this code')
    .action(async (code: string) =>
      runWith(async (context) =>
        (await import('../commands/access.ts')).approveAccess(context, code),
      ),
    );
  access
    .command('revoke <agent> <sender>')
    .description('shut somebody out again: <gateway>:<id>')
    .action(async (agent: string, sender: string) =>
      runWith(async (context) =>
        (await import('../commands/access.ts')).revokeAccess(context, agent, sender),
      ),
    );
}
