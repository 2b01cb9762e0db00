import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { CliContext, GlobalOptions } from './context.ts';
import type { ExitCode } from './exit-codes.ts';

/** What is known before the options are read. */
export type Surroundings = Omit<CliContext, 'globals'>;

/**
 * Reads the arguments and runs the command they name; each command is imported when it runs.
 * @returns how the program is to end; 2 after an argument that makes no sense, which has been said
 * @throws what the command throws
 */
export async function runProgram(
  argv: readonly string[],
  surroundings: Surroundings,
  options: { version: string; onGlobals: (globals: GlobalOptions) => void },
): Promise<ExitCode> {
  let exitCode: ExitCode = 0;
  const program = new Command('duragent');
  const runWith = async (work: (context: CliContext) => Promise<ExitCode>): Promise<void> => {
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

  program
    .command('init [path]')
    .description('make a workspace with a starter agent')
    .option('--no-interactive', 'do not ask')
    .action(async (path: string | undefined, options: { interactive: boolean }) =>
      runWith(async (context) => (await import('./commands/init.ts')).init(context, path, options)),
    );

  program
    .command('chat')
    .description('begin a session, and talk')
    .option('--agent <name>', 'with this agent')
    .option('--session <session>', 'go on with this session')
    .action(async (options: { agent?: string; session?: string }) =>
      runWith(async (context) => (await import('./commands/chat.ts')).chat(context, options)),
    );

  program
    .command('attach [session]')
    .description('go on with a session: its id, the beginning of it, or its key')
    .option('--list', 'list the sessions that are open')
    .option('--read-only', 'look, and send nothing')
    .option('--raw', 'pass control sequences of the agent on to the terminal')
    .action(
      async (
        session: string | undefined,
        options: { list?: boolean; readOnly?: boolean; raw?: boolean },
      ) =>
        runWith(async (context) =>
          (await import('./commands/attach.ts')).attach(context, session, options),
        ),
    );

  program
    .command('run [prompt]')
    .description('ask once: the answer goes to stdout, what is piped in is added to the prompt')
    .option('--agent <name>', 'ask this agent')
    .addOption(
      new Option('-o, --output <format>', 'how to print it')
        .choices(['text', 'json'])
        .default('text'),
    )
    .addHelpText(
      'after',
      '\nEnds with 0 when the turn completed, with 1 when it failed or was cancelled (Ctrl-C).',
    )
    .action(
      async (prompt: string | undefined, options: { agent?: string; output: 'text' | 'json' }) =>
        runWith(async (context) =>
          (await import('./commands/run.ts')).run(context, prompt, options),
        ),
    );

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
    .addOption(tableOrJson())
    .action(async (options: { status?: string; agent?: string; output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('./commands/sessions.ts')).sessions(context, options),
      ),
    );

  addSession(program, runWith);
  addAgent(program, runWith);
  addServe(program, runWith);

  try {
    if (argv.length === 0) program.help({ error: true });
    await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? 0 : 2;
  }
  return exitCode;
}

type RunWith = (work: (context: CliContext) => Promise<ExitCode>) => Promise<void>;

function addSession(program: Command, runWith: RunWith): void {
  const session = program.command('session').description('show, end or delete one session');
  session
    .command('show <session>')
    .description('all that is known of it')
    .addOption(tableOrJson())
    .action(async (wanted: string, options: { output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('./commands/session.ts')).showSession(context, wanted, options),
      ),
    );
  session
    .command('end <session>')
    .description('end it; it can still be read')
    .action(async (wanted: string) =>
      runWith(async (context) =>
        (await import('./commands/session.ts')).endSession(context, wanted),
      ),
    );
  session
    .command('delete <session>')
    .description('end it and delete its data')
    .action(async (wanted: string) =>
      runWith(async (context) =>
        (await import('./commands/session.ts')).deleteSession(context, wanted),
      ),
    );
}

function addAgent(program: Command, runWith: RunWith): void {
  const agent = program.command('agent').description('list or check agents');
  agent
    .command('list')
    .description('the agents of this workspace; * is the default')
    .addOption(tableOrJson())
    .action(async (options: { output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('./commands/agent.ts')).listAgents(context, options),
      ),
    );
  agent
    .command('validate [dir]')
    .description("check an agent's folder, or all of this workspace's")
    .action(async (dir: string | undefined) =>
      runWith(async (context) =>
        (await import('./commands/agent.ts')).validateAgents(context, dir),
      ),
    );
}

function addServe(program: Command, runWith: RunWith): void {
  const serve = program
    .command('serve')
    .description('run the server of this workspace')
    .option('--host <address>', 'listen on this address (127.0.0.1)')
    .option('--port <port>', 'listen on this port, and no other (8080)')
    .option('--data-dir <dir>', 'keep everything there (.duragent)')
    .option('--agents-dir <dir>', 'read agents from there')
    .option('--config <file>', 'the configuration')
    .option('--require-config', 'fail without a configuration file')
    .option('--admin-token <token>', 'a further token, for administration')
    .option('--detach', 'run in the background; return when it is ready')
    .option('--ephemeral <seconds>', 'end after so long without use', readSeconds)
    .action(async () =>
      runWith(async (context) =>
        (await import('./commands/serve.ts')).serve(context, serve.opts()),
      ),
    );
  serve
    .command('status')
    .description('where it listens; 69 when there is none')
    .action(async () =>
      runWith(async (context) =>
        (await import('./commands/serve.ts')).serveStatus(context, serve.opts()),
      ),
    );
  serve
    .command('stop')
    .description('end it, and wait until it is gone')
    .action(async () =>
      runWith(async (context) =>
        (await import('./commands/serve.ts')).serveStop(context, serve.opts()),
      ),
    );
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

function tableOrJson(): Option {
  return new Option('-o, --output <format>', 'how to print it')
    .choices(['table', 'json'])
    .default('table');
}

function readSeconds(text: string): number {
  const seconds = Number(text);
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= 86_400) return seconds;
  throw new InvalidArgumentError('Give whole seconds, from 1 to 86400.');
}
