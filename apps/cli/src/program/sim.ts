import type { Command } from 'commander';
import type { RunWith } from './run-with.ts';

/** Adds `duragent sim`. */
export function addSim(program: Command, runWith: RunWith): void {
  program
    .command('sim <platform> [args...]')
    .description("run a platform's simulator: sim telegram --port 8081")
    .action(async (platform: string, args: string[]) =>
      runWith(async (context) =>
        (await import('../commands/sim.ts')).simulate(context, platform, args),
      ),
    );
}

/** What stands behind `sim <platform>` is the simulator's, also where this program knows such an option. */
export function keepForSimulator(argv: readonly string[]): string[] {
  const [first, platform = '-', ...rest] = argv;
  if (first !== 'sim' || platform.startsWith('-') || rest[0] === '--') return [...argv];
  return [first, platform, '--', ...rest];
}
