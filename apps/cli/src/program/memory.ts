import type { Command } from 'commander';
import type { RunWith } from './run-with.ts';

/** Adds `duragent memory export`. */
export function addMemory(program: Command, runWith: RunWith): void {
  program
    .command('memory')
    .description('what agents remember')
    .command('export <agent>')
    .description('write it to a folder, as Markdown')
    .option('--to <folder>', 'a folder that is new or empty; default: <agent>-memory')
    .action(async (agent: string, options: { to?: string }) =>
      runWith(async (context) =>
        (await import('../commands/memory.ts')).exportMemory(context, agent, options),
      ),
    );
}
