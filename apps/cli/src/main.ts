import { readFileSync } from 'node:fs';
import type { GlobalOptions } from './context.ts';

await main();

/** The `duragent` command: runs what the arguments ask for, and ends the process with its exit code. */
async function main(): Promise<void> {
  const { argv, env, stdin, stdout, stderr } = process;
  const words = argv.slice(2);
  // Alone and first, so that it costs no import.
  if (words.includes('--version') && words.every((word) => word.startsWith('-'))) {
    stdout.write(`${version()}\n`);
    return;
  }
  process.umask(0o077);
  // A reader that has seen enough (`| head`) is no fault.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 0 : 74);
  });
  let globals: GlobalOptions | null = null;
  try {
    const { runProgram } = await import('./program.ts');
    const surroundings = { env, cwd: process.cwd(), stdin, stdout, stderr };
    process.exitCode = await runProgram(words, surroundings, {
      version: version(),
      onGlobals: (read) => (globals = read),
    });
  } catch (error) {
    const { reportError } = await import('./report-error.ts');
    process.exitCode = reportError(error, stderr, globals);
  }
}

function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return String((JSON.parse(text) as { version: unknown }).version);
}
