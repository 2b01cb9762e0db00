import type { CliContext } from '../context.ts';

/** Runs a command with the options that all have; what it resolves to is how the program ends. */
export type RunWith = (work: (context: CliContext) => Promise<number>) => Promise<void>;
