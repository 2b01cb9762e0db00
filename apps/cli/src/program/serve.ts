import { type Command, InvalidArgumentError } from 'commander';
import type { RunWith } from './run-with.ts';

/** Adds `duragent serve`, with what it can do. */
export function addServe(program: Command, runWith: RunWith): void {
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
        (await import('../commands/serve.ts')).serve(context, serve.opts()),
      ),
    );
  serve
    .command('status')
    .description('where it listens; 69 when there is none')
    .action(async () =>
      runWith(async (context) =>
        (await import('../commands/serve.ts')).serveStatus(context, serve.opts()),
      ),
    );
  serve
    .command('stop')
    .description('end it, and wait until it is gone')
    .action(async () =>
      runWith(async (context) =>
        (await import('../commands/serve.ts')).serveStop(context, serve.opts()),
      ),
    );
  serve
    .command('reload')
    .description('let it read its configuration again')
    .action(async () =>
      runWith(async (context) =>
        (await import('../commands/serve.ts')).serveReload(context, serve.opts()),
      ),
    );
}

function readSeconds(text: string): number {
  const seconds = Number(text);
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= 86_400) return seconds;
  throw new InvalidArgumentError('Give whole seconds, from 1 to 86400.');
}
