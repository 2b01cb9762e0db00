import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { AddOptions } from './commands/schedules.ts';
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

function addSchedules(program: Command, runWith: RunWith): void {
  const load = () => import('./commands/schedules.ts');
  const schedules = program.command('schedules').description('what agents do later, and what ran');
  schedules
    .command('list')
    .description('all of them, and why others do not run')
    .option('--agent <name>', 'only those of this agent')
    .addOption(tableOrJson())
    .action(async (options: { agent?: string; output: 'table' | 'json' }) =>
      runWith(async (context) => (await load()).listSchedules(context, options)),
    );
  schedules
    .command('show <schedule>')
    .description('one of them, and what it ran: its id, the beginning of it, or its name')
    .addOption(tableOrJson())
    .action(async (wanted: string, options: { output: 'table' | 'json' }) =>
      runWith(async (context) => (await load()).showSchedule(context, wanted, options)),
    );
  schedules
    .command('add')
    .description('make one')
    .option('--agent <name>', 'of this agent')
    .option('--at <time>', 'once: 2026-03-01T07:00')
    .option('--every <duration>', 'again and again: 10s, 15m, 2h, 7d')
    .option('--cron <rule>', 'minute hour day-of-month month day-of-week: "30 7 * * 1-5"')
    .option('--zone <zone>', "the time zone of --cron; default: the server's")
    .option('--task <text>', 'what the agent does then')
    .option('--message <text>', 'what is sent then, as it is')
    .option('--session <session>', 'in this session')
    .option('--key <key>', 'in the session that holds this key')
    .option('--deliver <chat...>', 'to these chats: <gateway>:<chat>[:<thread>]')
    .addOption(
      new Option('--misfire <rule>', 'what becomes of missed runs (run_once)').choices([
        'run_once',
        'skip',
        'run_all',
      ]),
    )
    .option('--process <process>', 'it ends with this process')
    .option('--name <name>', 'what you call it')
    .addOption(tableOrJson())
    .action(async (options: AddOptions) =>
      runWith(async (context) => (await load()).addSchedule(context, options)),
    );
  schedules
    .command('remove <schedule...>')
    .description('end them, with what is known of their runs')
    .action(async (wanted: string[]) =>
      runWith(async (context) => (await load()).removeSchedules(context, wanted)),
    );
  schedules
    .command('run <schedule>')
    .description('run it now, beside what is planned')
    .action(async (wanted: string) =>
      runWith(async (context) => (await load()).runSchedule(context, wanted)),
    );
  schedules
    .command('runs <schedule>')
    .description('what ran, newest first')
    .option('--limit <count>', 'only so many (100)', (text) => readCount(text, 1000))
    .addOption(tableOrJson())
    .action(async (wanted: string, options: { limit?: number; output: 'table' | 'json' }) =>
      runWith(async (context) => (await load()).scheduleRuns(context, wanted, options)),
    );
}

function addConsent(program: Command, runWith: RunWith): void {
  const approvals = program.command('approvals').description('what agents ask to be allowed');
  approvals
    .command('list', { isDefault: true })
    .description('what waits, each with the whole of what it would do')
    .addOption(tableOrJson())
    .action(async (options: { output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('./commands/consent.ts')).listApprovals(context, options),
      ),
    );
  approvals
    .command('allow <approval...>')
    .description('let it be done once')
    .option('--always', 'from now on too: adds a rule for just this to policy.local.yaml')
    .action(async (ids: string[], options: { always?: boolean }) =>
      runWith(async (context) => {
        const { decideApprovals } = await import('./commands/consent.ts');
        return decideApprovals(context, ids, options.always ? 'allow_always' : 'allow_once');
      }),
    );
  approvals
    .command('deny <approval...>')
    .description('do not let it be done')
    .action(async (ids: string[]) =>
      runWith(async (context) =>
        (await import('./commands/consent.ts')).decideApprovals(context, ids, 'deny'),
      ),
    );

  const questions = program.command('questions').description('what agents ask people');
  questions
    .command('list', { isDefault: true })
    .description('what waits for an answer')
    .addOption(tableOrJson())
    .action(async (options: { output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('./commands/consent.ts')).listQuestions(context, options),
      ),
    );
  questions
    .command('answer <question> <answer...>')
    .description('answer it: a text, or the number of a choice')
    .action(async (id: string, words: string[]) =>
      runWith(async (context) =>
        (await import('./commands/consent.ts')).answerQuestion(context, id, words.join(' ')),
      ),
    );
}

function addMemory(program: Command, runWith: RunWith): void {
  program
    .command('memory')
    .description('what agents remember')
    .command('export <agent>')
    .description('write it to a folder, as Markdown')
    .option('--to <folder>', 'a folder that is new or empty; default: <agent>-memory')
    .action(async (agent: string, options: { to?: string }) =>
      runWith(async (context) =>
        (await import('./commands/memory.ts')).exportMemory(context, agent, options),
      ),
    );
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
