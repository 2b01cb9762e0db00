import { type Command, Option } from 'commander';
import type { RunWith } from './run-with.ts';

/** Adds what leads into a session: `duragent init`, `chat`, `attach` and `run`. */
export function addTalk(program: Command, runWith: RunWith): void {
  program
    .command('init [path]')
    .description('make a workspace with a starter agent')
    .option('--no-interactive', 'do not ask')
    .action(async (path: string | undefined, options: { interactive: boolean }) =>
      runWith(async (context) =>
        (await import('../commands/init.ts')).init(context, path, options),
      ),
    );

  program
    .command('chat')
    .description('begin a session, and talk')
    .option('--agent <name>', 'with this agent')
    .option('--session <session>', 'go on with this session')
    .action(async (options: { agent?: string; session?: string }) =>
      runWith(async (context) => (await import('../commands/chat.ts')).chat(context, options)),
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
          (await import('../commands/attach.ts')).attach(context, session, options),
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
          (await import('../commands/run.ts')).run(context, prompt, options),
        ),
    );
}
