import { access } from 'node:fs/promises';
import { DuragentError } from '@duragent/protocol';
import type { CliContext } from '../context.ts';
import { importServer } from '../server.ts';
import { resolve } from 'node:path';
import { findServer, readServerFile } from './find-server.ts';
import type { ServerAddress } from './http.ts';
import type { ResolveServer } from './api-calls.ts';
import { OperatorClient } from './operator-client.ts';
import { ScheduleClient } from './schedule-client.ts';
import { SessionClient } from './session-client.ts';
import { startServer } from './start-server.ts';

/** A server without clients, turns and owed deliveries ends after so many seconds. */
const EPHEMERAL_SECONDS = 300;

/**
 * A client of the server that this command is about: `--server`'s, else this workspace's, which
 * is started in the background if none answers.
 * @throws DuragentError config_invalid, when there is no workspace here
 */
export async function connect(
  context: CliContext,
  options: { signal: AbortSignal; dataDir?: string },
): Promise<SessionClient> {
  return new SessionClient(await findOrStart(context, options));
}

/** As `connect`, for what operators do. */
export async function connectOperator(
  context: CliContext,
  options: { signal: AbortSignal },
): Promise<OperatorClient> {
  return new OperatorClient(await findOrStart(context, options));
}

/** As `connect`, for schedules. */
export async function connectSchedules(
  context: CliContext,
  options: { signal: AbortSignal },
): Promise<ScheduleClient> {
  return new ScheduleClient(await findOrStart(context, options));
}

async function findOrStart(
  context: CliContext,
  options: { signal: AbortSignal; dataDir?: string },
): Promise<ResolveServer> {
  const { server } = context.globals;
  if (server !== null) {
    const address = givenAddress(context, server);
    return () => Promise.resolve(address);
  }
  const dataDir = options.dataDir ?? (await existingDataDir(context));
  return await resolveInWorkspace(context, dataDir, options.signal);
}

/** Whether a path exists. */
export async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw error;
  }
}

/**
 * The data directory that the options, the environment and the configuration name. A configuration
 * that is broken here, or whose variables only the server knows, names none; then a server that runs
 * where one without it would be is meant.
 */
export async function findDataDir(
  context: CliContext,
  { dataDir: asked, config: file }: { dataDir?: string; config?: string },
): Promise<string> {
  const { loadConfig } = await importServer();
  const { cwd, env } = context;
  try {
    return (await loadConfig({ cwd, env, flags: { dataDir: asked, config: file } })).dataDir;
  } catch (error) {
    if (!(error instanceof DuragentError) || error.code !== 'config_invalid') throw error;
    const dataDir = resolve(cwd, asked ?? env['DURAGENT_DATA_DIR'] ?? '.duragent');
    if ((await readServerFile(dataDir)) !== null) return dataDir;
    throw error;
  }
}

/** The data directory of the workspace that the working directory belongs to. */
async function existingDataDir(context: CliContext): Promise<string> {
  const dataDir = await findDataDir(context, {});
  if (await exists(dataDir)) return dataDir;
  throw new DuragentError(
    'config_invalid',
    `There is no workspace here: ${dataDir} does not exist. \`duragent init\` makes one, and so does \`duragent chat\`.`,
  );
}

/**
 * Finds the workspace's server, or starts one. Later, at a new connection, one that crashed is only
 * started again if a client had started it: whoever started another one looks after it.
 */
async function resolveInWorkspace(
  context: CliContext,
  dataDir: string,
  signal: AbortSignal,
): Promise<ResolveServer> {
  const start = async (options: { signal: AbortSignal }): Promise<ServerAddress> => {
    const args = [
      '--ephemeral',
      String(EPHEMERAL_SECONDS),
      '--data-dir',
      dataDir,
      '--host',
      '127.0.0.1',
    ];
    const { cwd, env } = context;
    const { server } = await startServer({ dataDir, args, cwd, env, signal: options.signal });
    return server.address;
  };
  const found = await findServer(dataDir, { signal });
  let first: ServerAddress | null =
    found.state === 'up' && found.ready ? found.address : await start({ signal });
  return async (options) => {
    if (first !== null) {
      const address = first;
      first = null;
      return address;
    }
    const now = await findServer(dataDir, options);
    if (now.state === 'up') return now.address;
    if (now.state === 'dead' && now.file.ephemeral !== null) return await start(options);
    const message = {
      none: 'The server was stopped',
      dead: 'The server is gone',
      silent: 'The server does not answer',
    }[now.state];
    const advice = `${message}. \`duragent serve\` starts it again.`;
    throw new DuragentError('no_server', advice, { details: { transient: true } });
  };
}

function givenAddress(context: CliContext, server: string): ServerAddress {
  const token = context.globals.token ?? context.env['DURAGENT_API_TOKEN'] ?? '';
  if (!URL.canParse(server) || !/^https?:$/.test(new URL(server).protocol)) {
    throw new DuragentError(
      'usage',
      '--server takes the address of a server, such as http://127.0.0.1:8080.',
    );
  }
  if (token === '') {
    throw new DuragentError(
      'usage',
      '--server needs the token of that server: give it with --token, or in DURAGENT_API_TOKEN.',
    );
  }
  return { url: new URL(server).origin, token };
}
