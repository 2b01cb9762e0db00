import { type Command, Option } from 'commander';
import { tableOrJson } from './options.ts';
import type { RunWith } from './run-with.ts';

/** Adds `duragent sessions`, and `duragent session` for one of them. */
export function addSessions(program: Command, runWith: RunWith): void {
  program
    .command('sessions')
    .description('list sessions, newest first')
    .addOption(
      new Option('--status <status>', 'only these').choices([
        'active',
        'running',
        'paused',
        'ended',
        'quarantined',
      ]),
    )
    .option('--agent <name>', 'only those of this agent')
    .option('--gateway <name>', 'only those of chats of this gateway')
    .addOption(tableOrJson())
    .action(
      async (options: {
        status?: string;
        agent?: string;
        gateway?: string;
        output: 'table' | 'json';
      }) =>
        runWith(async (context) =>
          (await import('../commands/sessions.ts')).sessions(context, options),
        ),
    );

  const session = program.command('session').description('show, end or delete one session');
  session
    .command('show <session>')
    .description('all that is known of it')
    .addOption(tableOrJson())
    .action(async (wanted: string, options: { output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('../commands/session.ts')).showSession(context, wanted, options),
      ),
    );
  session
    .command('end <session>')
    .description('end it; it can still be read')
    .action(async (wanted: string) =>
      runWith(async (context) =>
        (await import('../commands/session.ts')).endSession(context, wanted),
      ),
    );
  session
    .command('delete <session>')
    .description('end it and delete its data')
    .action(async (wanted: string) =>
      runWith(async (context) =>
        (await import('../commands/session.ts')).deleteSession(context, wanted),
      ),
    );
}
