import type { Command } from 'commander';
import { tableOrJson } from './options.ts';
import type { RunWith } from './run-with.ts';

/** Adds `duragent outbox`, with what it can do. */
export function addOutbox(program: Command, runWith: RunWith): void {
  const outbox = program.command('outbox').description('what is owed to chats, and what died');
  outbox
    .command('list')
    .description('deliveries that wait, are being sent, or died')
    .option('--session <session>', 'only those of this session')
    .option('--gateway <name>', 'only those to chats of this gateway')
    .addOption(tableOrJson())
    .action(async (options: { session?: string; gateway?: string; output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('../commands/outbox.ts')).listOutbox(context, options),
      ),
    );
  for (const [what, description] of [
    ['retry', 'try dead ones again'],
    ['drop', 'give up what is owed or dead'],
  ] as const) {
    outbox
      .command(`${what} <delivery...>`)
      .description(description)
      .action(async (deliveries: string[]) =>
        runWith(async (context) =>
          (await import('../commands/outbox.ts')).decideDeliveries(context, what, deliveries),
        ),
      );
  }
}
