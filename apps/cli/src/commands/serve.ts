import { DuragentError, type ServerFile } from '@duragent/protocol';
import { setTimeout as sleep } from 'node:timers/promises';
import { findServer, isAlive, readServerFile } from '../client/find-server.ts';
import { startServer } from '../client/start-server.ts';
import { exists } from '../client/connect.ts';
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

const STOP_MS = 10_000;
const POLL_MS = 50;

/** `duragent serve`: the server in the foreground, or with `--detach` in the background. */
export async function serve(context: CliContext, options: ServeOptions): Promise<ExitCode> {
  const { loadConfig, serve: runServer } = await importServer();
  const { host, port, dataDir, agentsDir, config: file, requireConfig, adminToken } = options;
  const flags = { host, port, dataDir, agentsDir, config: file, requireConfig, adminToken };
  const config = await loadConfig({ cwd: context.cwd, env: context.env, flags });
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
  const dataDir = await dataDirOf(context, options);
  const { signal } = new AbortController();
  const found = await findServer(dataDir, { signal, withoutToken: true });
  if (found.state === 'none' || found.state === 'dead') {
    throw new DuragentError(
      'no_server',
      `No server runs for ${dataDir}. \`duragent serve\` starts one.`,
    );
  }
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
  const dataDir = await dataDirOf(context, options);
  const { signal } = new AbortController();
  const found = await findServer(dataDir, { signal, withoutToken: true });
  if (found.state === 'none' || found.state === 'dead') {
    throw new DuragentError(
      'no_server',
      `No server runs for ${dataDir}: there is nothing to stop.`,
    );
  }
  await terminate(dataDir, found.file, signal);
  if (!context.globals.quiet)
    context.stderr.write(`Stopped the server (process ${String(found.file.pid)}).\n`);
  return 0;
}

async function dataDirOf(context: CliContext, options: ServeOptions): Promise<string> {
  const { loadConfig } = await importServer();
  const { dataDir: asked, config: file } = options;
  const { dataDir } = await loadConfig({
    cwd: context.cwd,
    env: context.env,
    flags: { dataDir: asked, config: file },
  });
  return dataDir;
}

/** A server that a client started for itself makes room for one that is to stay. */
async function takeOver(context: CliContext, dataDir: string): Promise<void> {
  if (!(await exists(dataDir))) return;
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
  try {
    process.kill(file.pid, 'SIGTERM');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ESRCH') return;
    throw new DuragentError(
      'forbidden',
      `The server is process ${String(file.pid)}, of another user. Stop it as that user.`,
      { cause },
    );
  }
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
