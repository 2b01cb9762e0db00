import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { CliContext, GlobalOptions } from './context.ts';

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
  const runWith = async (work: (context: CliContext) => Promise<number>): Promise<void> => {
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
    .description('go on with a session: its id, the beginning of it, its key, or <gateway>:<chat>')
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
          (await import('./commands/sessions.ts')).sessions(context, options),
        ),
    );

  addSession(program, runWith);
  addAgent(program, runWith);
  addGateway(program, runWith);
  addOutbox(program, runWith);
  addAccess(program, runWith);
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

type RunWith = (work: (context: CliContext) => Promise<number>) => Promise<void>;

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

function addGateway(program: Command, runWith: RunWith): void {
  const gateway = program
    .command('gateway')
    .description('look at, restart or test what connects chat platforms');
  gateway
    .command('list')
    .description('those of duragent.yaml, and how they are')
    .addOption(tableOrJson())
    .action(async (options: { output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('./commands/gateway.ts')).listGateways(context, options),
      ),
    );
  gateway
    .command('restart <name>')
    .description('end its process and start it anew')
    .action(async (name: string) =>
      runWith(async (context) =>
        (await import('./commands/gateway.ts')).restartGateway(context, name),
      ),
    );
  gateway
    .command('logs <name>')
    .description('what it wrote to its log')
    .option('-f, --follow', 'go on until Ctrl-C')
    .option('--lines <count>', 'only the newest', (text) => readCount(text, 100_000))
    .action(async (name: string, options: { follow?: boolean; lines?: number }) =>
      runWith(async (context) =>
        (await import('./commands/gateway.ts')).gatewayLogs(context, name, options),
      ),
    );
  gateway
    .command('test <command> [args...]')
    .description('which rules of the protocol a gateway keeps: gateway test -- <command> [args...]')
    .option('--config <json>', 'its config: a JSON object, or a file with one')
    .option('--chat <id>', 'a chat where it may post')
    .option('--provoke <shell>', 'makes somebody say $DURAGENT_TEST_TEXT in $DURAGENT_TEST_CHAT')
    .option('--timeout <seconds>', 'how long it may take to answer (10)', (text) =>
      readCount(text, 600),
    )
    .addOption(tableOrJson())
    .action(
      async (
        command: string,
        args: string[],
        options: {
          config?: string;
          chat?: string;
          provoke?: string;
          timeout?: number;
          output: 'table' | 'json';
        },
      ) =>
        runWith(async (context) => {
          const { timeout: timeoutSeconds, output, ...rest } = options;
          const asked = { command, args, ...rest, timeoutSeconds, json: output === 'json' };
          return (await import('./commands/gateway-test.ts')).testGateway(asked, context);
        }),
    );
}

function addOutbox(program: Command, runWith: RunWith): void {
  const outbox = program.command('outbox').description('what is owed to chats, and what died');
  outbox
    .command('list')
    .description('deliveries that wait, are being sent, or died')
    .option('--session <session>', 'only those of this session')
    .option('--gateway <name>', 'only those to chats of this gateway')
    .addOption(tableOrJson())
    .action(async (options: { session?: string; gateway?: string; output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('./commands/outbox.ts')).listOutbox(context, options),
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
          (await import('./commands/outbox.ts')).decideDeliveries(context, what, deliveries),
        ),
      );
  }
}

function addAccess(program: Command, runWith: RunWith): void {
  const access = program.command('access').description('who may speak with agents in chats');
  access
    .command('list')
    .description('who was let in by a code, and who asks')
    .addOption(tableOrJson())
    .action(async (options: { output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('./commands/access.ts')).listAccess(context, options),
      ),
    );
  access
    .command('approve <code>')
    .description('let in whoever was given this code')
    .action(async (code: string) =>
      runWith(async (context) =>
        (await import('./commands/access.ts')).approveAccess(context, code),
      ),
    );
  access
    .command('revoke <agent> <sender>')
    .description('shut somebody out again: <gateway>:<id>')
    .action(async (agent: string, sender: string) =>
      runWith(async (context) =>
        (await import('./commands/access.ts')).revokeAccess(context, agent, sender),
      ),
    );
}

function addSim(program: Command, runWith: RunWith): void {
  program
    .command('sim <platform> [args...]')
    .description("run a platform's simulator: sim telegram --port 8081")
    .action(async (platform: string, args: string[]) =>
      runWith(async (context) =>
        (await import('./commands/sim.ts')).simulate(context, platform, args),
      ),
    );
}

/** What stands behind `sim <platform>` is the simulator's, also where this program knows such an option. */
function keepForSimulator(argv: readonly string[]): string[] {
  const [first, platform = '-', ...rest] = argv;
  if (first !== 'sim' || platform.startsWith('-') || rest[0] === '--') return [...argv];
  return [first, platform, '--', ...rest];
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
  serve
    .command('reload')
    .description('let it read its configuration again')
    .action(async () =>
      runWith(async (context) =>
        (await import('./commands/serve.ts')).serveReload(context, serve.opts()),
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

function readCount(text: string, most: number): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= most) return count;
  throw new InvalidArgumentError(`Give a whole number, from 1 to ${String(most)}.`);
}

function readSeconds(text: string): number {
  const seconds = Number(text);
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= 86_400) return seconds;
  throw new InvalidArgumentError('Give whole seconds, from 1 to 86400.');
}
