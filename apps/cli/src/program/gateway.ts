import type { Command } from 'commander';
import { readCount, tableOrJson } from './options.ts';
import type { RunWith } from './run-with.ts';

/** Adds `duragent gateway`, with what it can do. */
export function addGateway(program: Command, runWith: RunWith): void {
  const gateway = program
    .command('gateway')
    .description('look at, restart or test what connects chat platforms');
  gateway
    .command('list')
    .description('those of duragent.yaml, and how they are')
    .addOption(tableOrJson())
    .action(async (options: { output: 'table' | 'json' }) =>
      runWith(async (context) =>
        (await import('../commands/gateway.ts')).listGateways(context, options),
      ),
    );
  gateway
    .command('restart <name>')
    .description('end its process and start it anew')
    .action(async (name: string) =>
      runWith(async (context) =>
        (await import('../commands/gateway.ts')).restartGateway(context, name),
      ),
    );
  gateway
    .command('logs <name>')
    .description('what it wrote to its log')
    .option('-f, --follow', 'go on until Ctrl-C')
    .option('--lines <count>', 'only the newest', (text) => readCount(text, 100_000))
    .action(async (name: string, options: { follow?: boolean; lines?: number }) =>
      runWith(async (context) =>
        (await import('../commands/gateway.ts')).gatewayLogs(context, name, options),
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
          return (await import('../commands/gateway-test.ts')).testGateway(asked, context);
        }),
    );
}
