import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Writable } from 'node:stream';
import { DuragentError } from '@duragent/protocol';
import type { ExitCode } from '../exit-codes.ts';
import { allRules, runSuite, type Report } from '../gateway-test/run-suite.ts';
import { sanitize, sanitizeLine } from '../terminal/sanitize.ts';
import { table } from '../terminal/table.ts';

export interface GatewayTestOptions {
  /** The program that is the gateway, and its arguments. */
  command: string;
  args: readonly string[];
  /** What `config:` would say in duragent.yaml: a JSON object, or the path of a file with one. */
  config?: string | undefined;
  /** A chat where it may post. */
  chat?: string | undefined;
  /** A shell command that makes somebody say `$DURAGENT_TEST_TEXT` in `$DURAGENT_TEST_CHAT`. */
  provoke?: string | undefined;
  /** How long the gateway may take to become ready, and to answer. Default: 10. */
  timeoutSeconds?: number | undefined;
  /** Prints the report as JSON. */
  json?: boolean | undefined;
}

type Screen = Writable & { isTTY?: boolean; columns?: number };

/** The surroundings that it needs; a `CliContext` has them. */
export interface GatewayTestIo {
  cwd: string;
  env: NodeJS.ProcessEnv;
  stdout: Screen;
  stderr: Screen;
}

/** How long a gateway may take to end once its stdin has ended. */
const EXIT_MS = 5000;

/** `duragent gateway test -- <command>`: which rules of the protocol a gateway keeps; 1 when it breaks one. */
export async function testGateway(
  options: GatewayTestOptions,
  io: GatewayTestIo,
): Promise<ExitCode> {
  if (options.command === '') {
    throw new DuragentError(
      'usage',
      'Name the gateway to test: duragent gateway test -- <command>.',
    );
  }
  const config = await readConfig(options.config, io.cwd);
  const dir = await mkdtemp(path.join(tmpdir(), 'duragent-gateway-test-'));
  const interrupt = new AbortController();
  const stop = (): void =>
    interrupt.abort(new DuragentError('failed', 'Interrupted; the gateway was ended.'));
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  try {
    const report = await runSuite(
      {
        command: options.command,
        args: options.args,
        cwd: io.cwd,
        env: io.env,
        config,
        chat: options.chat ?? null,
        provoke: options.provoke ?? null,
        dir,
        answerMs: (options.timeoutSeconds ?? 10) * 1000,
        exitMs: EXIT_MS,
      },
      { onRule: ({ id }) => showProgress(io.stderr, id), signal: interrupt.signal },
    );
    showProgress(io.stderr, null);
    if (options.json === true) io.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    else showReport(report, io);
    return report.rules.some(({ result }) => result === 'fail') ? 1 : 0;
  } finally {
    showProgress(io.stderr, null);
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
    await rm(dir, { recursive: true, force: true });
  }
}

async function readConfig(
  given: string | undefined,
  cwd: string,
): Promise<Readonly<Record<string, unknown>>> {
  if (given === undefined) return {};
  const isJson = given.trimStart().startsWith('{');
  try {
    const text = isJson ? given : await readFile(path.resolve(cwd, given), 'utf8');
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DuragentError('usage', `--config cannot be read: ${reason}`, { cause: error });
  }
  throw new DuragentError('usage', '--config takes a JSON object, or a file with one.');
}

function showReport(report: Report, io: GatewayTestIo): void {
  const { gateway, version, protocol, capabilities, rules, log } = report;
  if (gateway !== null) {
    const name = [gateway, version, `protocol ${protocol ?? ''}`].filter(Boolean).join(', ');
    io.stdout.write(sanitizeLine(`${name}; ${capabilities.join(' ') || 'no capabilities'}`));
    io.stdout.write('\n\n');
  }
  const rows = rules.map((one) => [one.result, one.id, sanitizeLine(one.rule)]);
  const columns = io.stdout.isTTY === true ? (io.stdout.columns ?? null) : null;
  io.stdout.write(table(['RESULT', 'RULE', 'WHAT IT SAYS'], rows, columns));
  for (const result of ['skipped', 'fail'] as const) {
    for (const one of rules.filter((rule) => rule.result === result)) {
      const where = result === 'fail' ? ` (PROTOCOL.md, ${one.section})` : '';
      io.stdout.write(`\n${result}: ${one.id}${where}\n  ${sanitizeLine(one.why ?? '')}\n`);
    }
  }
  const count = (wanted: string): number => rules.filter(({ result }) => result === wanted).length;
  io.stdout.write(
    `\n${count('pass')} passed, ${count('fail')} failed, ${count('skipped')} skipped\n`,
  );
  if (log !== '') {
    const last = sanitize(log).trimEnd().split('\n').slice(-20).join('\n  ');
    io.stderr.write(`\nThe end of the gateway's stderr in the last rule that failed:\n  ${last}\n`);
  }
}

/** On a terminal: which rule is being tested, on a line that is written over. */
function showProgress(out: Screen, id: string | null): void {
  if (out.isTTY !== true) return;
  const at = allRules.findIndex((rule) => rule.id === id) + 1;
  out.write(id === null ? '\r\x1b[K' : `\r\x1b[K${at}/${allRules.length} ${id}`);
}
