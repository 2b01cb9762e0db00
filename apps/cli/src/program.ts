import { Command, CommanderError } from 'commander';
import type { CliContext, GlobalOptions } from './context.ts';
import { addAccess } from './program/access.ts';
import { addAgent } from './program/agent.ts';
import { addConsent } from './program/consent.ts';
import { addGateway } from './program/gateway.ts';
import { addMemory } from './program/memory.ts';
import { addOutbox } from './program/outbox.ts';
import type { RunWith } from './program/run-with.ts';
import { addSchedules } from './program/schedules.ts';
import { addServe } from './program/serve.ts';
import { addSessions } from './program/sessions.ts';
import { addSim, keepForSimulator } from './program/sim.ts';
import { addTalk } from './program/talk.ts';

/** What is known before the options are read. */
export type Surroundings = Omit<CliContext, 'globals'>;

/**
 * Reads the arguments and runs the command they name; each command is imported when it runs.
 * @returns how the program is to end (exit-codes.ts, or what a program that it ran ended with); 2 after an argument that makes no sense, which has been said
 * @throws what the command throws
 */
export async function runProgram(
  argv: readonly string[],
  surroundings: Surroundings,
  options: { version: string; onGlobals: (globals: GlobalOptions) => void },
): Promise<number> {
  let exitCode = 0;
  const program = new Command('duragent');
  const runWith: RunWith = async (work) => {
    const globals = readGlobals(program);
    options.onGlobals(globals);
    exitCode = await work({ ...surroundings, globals });
  };

  program
    .description('Durable agents: the server, and the terminal that talks to it.')
    .version(options.version, '--version', 'print the version')
    .option(
      '-v, --verbose',
      'say more; -vv also says what caused an error',
      (_, before: number) => before + 1,
      0,
    )
    .option('-q, --quiet', 'say only answers and errors')
    .option('--no-color', 'no colours (NO_COLOR does the same)')
    .option('--server <url>', "use this server, not the workspace's own")
    .option('--token <token>', 'the token of --server; DURAGENT_API_TOKEN does the same')
    .showSuggestionAfterError()
    .showHelpAfterError('`duragent --help` lists the commands and options.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => surroundings.stdout.write(text),
      writeErr: (text) => surroundings.stderr.write(text.replace(/^error: /, 'duragent: ')),
    })
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 failure, 2 usage, 69 no server, 73 locked, 74 I/O,\n75 try again, 77 not allowed, 78 configuration.',
    );

  addTalk(program, runWith);
  addSessions(program, runWith);
  addAgent(program, runWith);
  addGateway(program, runWith);
  addOutbox(program, runWith);
  addSchedules(program, runWith);
  addConsent(program, runWith);
  addAccess(program, runWith);
  addMemory(program, runWith);
  addSim(program, runWith);
  addServe(program, runWith);

  try {
    if (argv.length === 0) program.help({ error: true });
    await program.parseAsync(keepForSimulator(argv), { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? 0 : 2;
  }
  return exitCode;
}

function readGlobals(program: Command): GlobalOptions {
  const options: {
    verbose: number;
    quiet?: boolean;
    color: boolean;
    server?: string;
    token?: string;
  } = program.opts();
  return {
    verbose: options.verbose,
    quiet: options.quiet === true,
    color: options.color,
    server: options.server ?? null,
    token: options.token ?? null,
  };
}
