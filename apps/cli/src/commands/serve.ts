import { DuragentError, type ReloadReport, type ServerFile } from '@duragent/protocol';
import { setTimeout as sleep } from 'node:timers/promises';
import { findServer, type FoundServer, isAlive, readServerFile } from '../client/find-server.ts';
import { startServer } from '../client/start-server.ts';
import { connectOperator, exists, findDataDir } from '../client/connect.ts';
import { OperatorClient } from '../client/operator-client.ts';
import type { CliContext } from '../context.ts';
import type { ExitCode } from '../exit-codes.ts';
import { importServer } from '../server.ts';
import { sanitizeLine } from '../terminal/sanitize.ts';

export interface ServeOptions {
  host?: string;
  port?: string;
  dataDir?: string;
  agentsDir?: string;
  config?: string;
  requireConfig?: boolean;
  adminToken?: string;
  detach?: boolean;
  ephemeral?: number;
}

type LivingServer = Extract<FoundServer, { state: 'up' | 'silent' }>;

const STOP_MS = 10_000;
const POLL_MS = 50;

/** `duragent serve`: the server in the foreground, or with `--detach` in the background. */
export async function serve(context: CliContext, options: ServeOptions): Promise<ExitCode> {
  const { loadConfig, serve: runServer } = await importServer();
  const { host, port, dataDir, agentsDir, config: file, requireConfig, adminToken } = options;
  const flags = { host, port, dataDir, agentsDir, config: file, requireConfig, adminToken };
  const load = () => loadConfig({ cwd: context.cwd, env: context.env, flags });
  const config = await load();
  if (options.ephemeral === undefined) await takeOver(context, config.dataDir);
  if (options.detach === true) return await detach(context, options, config.dataDir);

  // The server outlives whoever reads its output.
  for (const out of [context.stdout, context.stderr]) {
    out.removeAllListeners('error');
    out.on('error', () => undefined);
  }
  const stop = new AbortController();
  const onSignal = (): void => {
    // The second one is at once: what is durable stays, and the next start does the rest.
    if (stop.signal.aborted) process.exit(1);
    stop.abort();
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  try {
    await runServer(config, {
      signal: stop.signal,
      ephemeral: options.ephemeral ?? null,
      reload: load,
      onListening: (server) => sayListening(context, server),
    });
    return 0;
  } finally {
    process.off('SIGTERM', onSignal);
    process.off('SIGINT', onSignal);
  }
}

/** `duragent serve status`; 69 when there is none. */
export async function serveStatus(context: CliContext, options: ServeOptions): Promise<ExitCode> {
  const dataDir = await findDataDir(context, options);
  const { signal } = new AbortController();
  const found = await findLiving(
    dataDir,
    { signal, withoutToken: true },
    '. `duragent serve` starts one.',
  );
  const { file } = found;
  const state = found.state === 'silent' ? 'does not answer' : found.ready ? 'ready' : 'not ready';
  const lines = [
    `state      ${state}`,
    `url        ${sanitizeLine(file.url)}`,
    `pid        ${String(file.pid)}`,
    `version    ${sanitizeLine(file.version)}`,
    `started    ${sanitizeLine(file.started_at)}`,
    `workspace  ${sanitizeLine(dataDir)}`,
    file.ephemeral === null
      ? 'stays      until it is stopped'
      : `stays      ${String(file.ephemeral)} s after its last use`,
  ];
  context.stdout.write(`${lines.join('\n')}\n`);
  return found.state === 'up' && found.ready ? 0 : 75;
}

/** `duragent serve stop`; 69 when there is none. */
export async function serveStop(context: CliContext, options: ServeOptions): Promise<ExitCode> {
  const dataDir = await findDataDir(context, options);
  const { signal } = new AbortController();
  const found = await findLiving(
    dataDir,
    { signal, withoutToken: true },
    ': there is nothing to stop.',
  );
  await terminate(dataDir, found.file, signal);
  if (!context.globals.quiet)
    context.stderr.write(`Stopped the server (process ${String(found.file.pid)}).\n`);
  return 0;
}

/** `duragent serve reload`: the server reads its configuration again; 78 when it is broken, 69 when there is no server. */
export async function serveReload(context: CliContext, options: ServeOptions): Promise<ExitCode> {
  const { signal } = new AbortController();
  if (context.globals.server !== null) {
    const client = await connectOperator(context, { signal });
    sayReloaded(context, await client.reload({ signal }));
    return 0;
  }
  const dataDir = await findDataDir(context, options);
  const found = await findLiving(dataDir, { signal }, ': its next start reads the configuration.');
  if (found.state === 'up') {
    const { address } = found;
    try {
      const client = new OperatorClient(() => Promise.resolve(address));
      sayReloaded(context, await client.reload({ signal }));
      return 0;
    } catch (error) {
      if (!(error instanceof DuragentError) || !isClosed(error)) throw error;
    }
  }
  sendSignal(found.file, 'SIGHUP');
  if (!context.globals.quiet) {
    context.stderr.write(
      `Asked process ${String(found.file.pid)} to read its configuration again; its log says what came of it.\n`,
    );
  }
  return 0;
}

/** @throws DuragentError no_server, whose message ends in `instead`. */
async function findLiving(
  dataDir: string,
  options: Parameters<typeof findServer>[1],
  instead: string,
): Promise<LivingServer> {
  const found = await findServer(dataDir, options);
  if (found.state !== 'none' && found.state !== 'dead') return found;
  throw new DuragentError('no_server', `No server runs for ${dataDir}${instead}`);
}

/** Whether a server does not let its own workspace's command in over HTTP. */
function isClosed({ code }: DuragentError): boolean {
  return code === 'not_found' || code === 'cli_disabled';
}

function sayReloaded(context: CliContext, report: ReloadReport): void {
  const { applied, restart_needed, gateways, warnings } = report;
  for (const warning of warnings) context.stderr.write(`${sanitizeLine(warning)}\n`);
  if (context.globals.quiet) return;
  const lines = [
    ['applied', applied],
    ['started', gateways.started],
    ['stopped', gateways.stopped],
    ['restarted', gateways.restarted],
    ['needs a restart of the server', restart_needed],
  ] as const;
  const shown = lines.filter(([, words]) => words.length > 0);
  if (shown.length === 0) context.stdout.write('Nothing has changed.\n');
  for (const [what, words] of shown) {
    context.stdout.write(`${what}: ${sanitizeLine(words.join(', '))}\n`);
  }
}

/** A server that a client started for itself makes room for one that is to stay. */
async function takeOver(context: CliContext, dataDir: string): Promise<void> {
  if (!(await exists(dataDir))) return;
  // One that is to stay, or was, is not asked: that would load the HTTP client, after each crash.
  if (((await readServerFile(dataDir))?.ephemeral ?? null) === null) return;
  const { signal } = new AbortController();
  const found = await findServer(dataDir, { signal, withoutToken: true });
  if (found.state !== 'up' || found.file.ephemeral === null) return;
  if (!context.globals.quiet) {
    context.stderr.write(
      `Taking over from the background server (process ${String(found.file.pid)}).\n`,
    );
  }
  await terminate(dataDir, found.file, signal);
}

/** SIGTERM, and wait until it is gone: the process, or its entry in the workspace. */
async function terminate(dataDir: string, file: ServerFile, signal: AbortSignal): Promise<void> {
  if (!sendSignal(file, 'SIGTERM')) return;
  const deadline = Date.now() + STOP_MS;
  while (isAlive(file.pid)) {
    if (
      (await readServerFile(dataDir))?.instance !== file.instance &&
      !(await answers(dataDir, signal))
    )
      return;
    if (Date.now() > deadline) {
      throw new DuragentError(
        'failed',
        `Process ${String(file.pid)} did not end within 10 s. \`kill -9 ${String(file.pid)}\` ends it; nothing that was acknowledged is lost.`,
      );
    }
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** @returns false when its process is gone. @throws DuragentError forbidden */
function sendSignal({ pid }: ServerFile, name: 'SIGTERM' | 'SIGHUP'): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ESRCH') return false;
    throw new DuragentError(
      'forbidden',
      `The server is process ${String(pid)}, of another user. Do this as that user.`,
      { cause },
    );
  }
}

async function answers(dataDir: string, signal: AbortSignal): Promise<boolean> {
  return (await findServer(dataDir, { signal, withoutToken: true })).state === 'up';
}

async function detach(
  context: CliContext,
  options: ServeOptions,
  dataDir: string,
): Promise<ExitCode> {
  const { signal } = new AbortController();
  const args = Object.entries({
    '--host': options.host,
    '--port': options.port,
    '--agents-dir': options.agentsDir,
    '--config': options.config,
    '--data-dir': dataDir,
    '--ephemeral': options.ephemeral === undefined ? undefined : String(options.ephemeral),
  }).flatMap(([name, value]) => (value === undefined ? [] : [name, value]));
  if (options.requireConfig === true) args.push('--require-config');
  // Not in argv, which everyone on the machine can read.
  const { adminToken } = options;
  const env =
    adminToken === undefined ? context.env : { ...context.env, DURAGENT_ADMIN_TOKEN: adminToken };
  const { server, started } = await startServer({ dataDir, args, cwd: context.cwd, env, signal });
  if (!started) {
    throw new DuragentError(
      'locked',
      `Another server already serves ${dataDir}: ${server.file.url} (process ${String(server.file.pid)}). \`duragent serve stop\` ends it.`,
    );
  }
  sayListening(context, server.file);
  return 0;
}

function sayListening(context: CliContext, server: ServerFile): void {
  if (!context.globals.quiet)
    context.stdout.write(
      `Duragent listens on ${sanitizeLine(server.url)} (process ${String(server.pid)})\n`,
    );
}
