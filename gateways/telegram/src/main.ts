import { readFileSync } from 'node:fs';

const help = `duragent-gateway-telegram connects a Telegram bot to a Duragent server.

The server starts it, as duragent.yaml says:

  gateways:
    external:
      - name: telegram
        command: duragent-gateway-telegram
        config: { bot_token: \${TELEGRAM_BOT_TOKEN} }

  duragent-gateway-telegram                speaks the gateway protocol on stdin and stdout
  duragent-gateway-telegram simulate       serves Telegram's Bot API for tests; --help says more
  duragent-gateway-telegram --version
`;

await main(process.argv.slice(2));

/** Runs what the arguments ask for; the process then ends with its exit code. */
async function main(words: readonly string[]): Promise<void> {
  const [first] = words;
  if (first === '--version') {
    process.stdout.write(`${version()}\n`);
  } else if (first === '--help' || (first === undefined && process.stdin.isTTY)) {
    process.stdout.write(help);
  } else if (first === 'simulate') {
    await simulate(words.slice(1));
  } else if (first === undefined) {
    const [{ serveGateway }, { telegramGateway }] = await Promise.all([
      import('@duragent/protocol/node'),
      import('./gateway.ts'),
    ]);
    process.umask(0o077);
    process.exitCode = await serveGateway(telegramGateway(version()));
    // What is left, such as a call whose answer nobody waits for, does not hold the process.
    process.exit();
  } else {
    process.stderr.write(`there is no "${first}": see duragent-gateway-telegram --help\n`);
    process.exitCode = 2;
  }
}

async function simulate(words: readonly string[]): Promise<void> {
  const { runSimulator } = await import('../simulator/main.ts');
  const ending = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => ending.abort());
  process.exitCode = await runSimulator(words, ending.signal);
}

function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return String((JSON.parse(text) as { version: unknown }).version);
}
