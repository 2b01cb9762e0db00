import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { startTelegramSimulator, type TelegramSimulator } from './simulator.ts';

const help = `duragent-gateway-telegram simulate serves a simulated Telegram Bot API on 127.0.0.1.

  --port N        0, the default: any free port
  --token T       the bot's token; default: one that the seed gives
  --seed N        decides ids, tokens and faults; default 1
  --limits MODE   off (default) or telegram: refuse what is posted too fast
  --username U    the bot's name; default simulated_bot
  --privacy       in groups the bot sees commands, mentions and replies only
  --topics        private chats may have topics
  --for SECONDS   ends by itself

It prints one line of JSON, {"url", "token", ...}, when it is ready, and ends with SIGINT or
SIGTERM. Speak as a person with POST <url>/control/<function>: see simulator/README.md.
`;

/**
 * The command: starts a simulator and keeps it until the signal aborts.
 * @returns the exit code: 0, 1 when the port cannot be had, 2 for wrong arguments.
 */
export async function runSimulator(argv: readonly string[], signal: AbortSignal): Promise<number> {
  let options: Options;
  try {
    options = readOptions(argv);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`simulate: ${reason}; see simulate --help\n`);
    return 2;
  }
  if (options.help) {
    process.stdout.write(help);
    return 0;
  }
  const { seconds, ...rest } = options;
  let simulator: TelegramSimulator;
  try {
    simulator = await startTelegramSimulator(rest);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`simulate: ${reason}\n`);
    return 1;
  }
  await using running = simulator;
  const { url, token, control } = running;
  const { id, username } = control.bot().user;
  process.stdout.write(
    `${JSON.stringify({ url, token, bot_id: id, username, pid: process.pid })}\n`,
  );
  const ends =
    seconds === undefined ? signal : AbortSignal.any([signal, AbortSignal.timeout(seconds * 1000)]);
  if (!ends.aborted) await once(ends, 'abort');
  return 0;
}

interface Options {
  help: boolean;
  port: number;
  seed: number;
  limits: 'off' | 'telegram';
  privacy: boolean;
  privateTopics: boolean;
  token?: string;
  username?: string;
  seconds?: number;
}

function readOptions(argv: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      port: { type: 'string', default: '0' },
      token: { type: 'string' },
      seed: { type: 'string', default: '1' },
      limits: { type: 'string', default: 'off' },
      username: { type: 'string' },
      privacy: { type: 'boolean', default: false },
      topics: { type: 'boolean', default: false },
      for: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const { limits } = values;
  if (limits !== 'off' && limits !== 'telegram') throw new Error('--limits is off or telegram');
  return {
    help: values.help,
    port: numberOf('--port', values.port, 65_535),
    seed: numberOf('--seed', values.seed, 2 ** 32 - 1),
    limits,
    privacy: values.privacy,
    privateTopics: values.topics,
    ...(values.token === undefined ? {} : { token: values.token }),
    ...(values.username === undefined ? {} : { username: values.username }),
    ...(values.for === undefined ? {} : { seconds: numberOf('--for', values.for, 86_400) }),
  };
}

function numberOf(name: string, text: string, highest: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= highest)) throw new Error(`${name} is a number from 0 to ${highest}`);
  return value;
}
