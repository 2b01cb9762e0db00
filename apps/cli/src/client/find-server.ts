import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { DuragentError, serverFileSchema, type ServerFile } from '@duragent/protocol';
import { probeServer, type ServerAddress } from './http.ts';

/** What the boot time is rounded to, and clocks are corrected by. */
const CLOCK_SLACK_MS = 5_000;
/** USER_HZ, which is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** What is known of a workspace's server. */
export type FoundServer =
  /** It answers. `ready` is false while it starts or stops. */
  | { state: 'up'; ready: boolean; file: ServerFile; address: ServerAddress }
  /** Its process lives, but does not answer. */
  | { state: 'silent'; file: ServerFile }
  /** Its process died without taking its file along. */
  | { state: 'dead'; file: ServerFile }
  | { state: 'none' };

/**
 * Looks for the server of the workspace whose data directory this is.
 * @throws DuragentError wrong_workspace, when another workspace's server answers at its address
 */
export async function findServer(
  dataDir: string,
  options: {
    signal: AbortSignal;
    /** For those who only signal its process: the token in the address is empty. */
    withoutToken?: boolean;
  },
): Promise<FoundServer> {
  const file = await readServerFile(dataDir);
  if (file === null) return { state: 'none' };
  const workspace = await workspaceOf(dataDir);
  // A copied or moved directory brings the file of another one's server.
  if (file.workspace !== workspace) return { state: 'none' };
  const probe = await probeServer(file.url, options);
  if (probe === null) return { state: isServerAlive(file) ? 'silent' : 'dead', file };
  if (probe.workspace !== workspace) {
    // A dead server's port may have gone to anything; a living one's may not.
    if (!isServerAlive(file)) return { state: 'dead', file };
    throw new DuragentError(
      'wrong_workspace',
      `What answers at ${file.url} is not the server of ${dataDir}, though ${join(dataDir, 'run/server.json')} says so. Stop process ${String(file.pid)}, or remove that file, and try again.`,
    );
  }
  if (probe.instance !== file.instance)
    return { state: isServerAlive(file) ? 'silent' : 'dead', file };
  const token = options.withoutToken === true ? '' : await readToken(file.token_file);
  return { state: 'up', ready: probe.ready, file, address: { url: file.url, token } };
}

/** What the server of a workspace wrote about itself; null when there is nothing that can be read as that. */
export async function readServerFile(dataDir: string): Promise<ServerFile | null> {
  const text = await readText(join(dataDir, 'run', 'server.json'));
  if (text === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
  return serverFileSchema.safeParse(value, { jitless: true }).data ?? null;
}

/** The first 16 hex digits of the SHA-256 of the directory's real path. */
export async function workspaceOf(dataDir: string): Promise<string> {
  return createHash('sha256')
    .update(await realpath(dataDir))
    .digest('hex')
    .slice(0, 16);
}

/** Whether the process that wrote this file still runs: ids are given again after a crash or a reboot. */
function isServerAlive(file: ServerFile): boolean {
  if (file.host !== hostname() || !isAlive(file.pid)) return false;
  const startedAt = processStart(file.pid);
  return startedAt === null || startedAt <= Date.parse(file.started_at) + CLOCK_SLACK_MS;
}

/** When a process began, in ms since 1970; null where the system does not say. */
function processStart(pid: number): number | null {
  if (process.platform !== 'linux') return null;
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'latin1');
    const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
    const boot = /^btime (\d+)/m.exec(readFileSync('/proc/stat', 'latin1'))?.[1];
    return boot === undefined ? null : Number(boot) * 1000 + ticks * (1000 / TICKS_PER_SECOND);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return null;
    throw error;
  }
}

/** Whether a process with this id runs, also one of another user. One that only waits to be reaped does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  return !isZombie(pid);
}

/** In containers without an init, killed processes stay as zombies, which take signals. */
function isZombie(pid: number): boolean {
  if (process.platform !== 'linux') return false;
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'latin1');
    return /^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch (error) {
    // Gone in between; ESRCH is what reading tells of that.
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' || code === 'ESRCH';
  }
}

async function readToken(path: string): Promise<string> {
  const token = (await readText(path))?.trim();
  if (token !== undefined && token !== '') return token;
  throw new DuragentError(
    'unauthorized',
    `The server's token file ${path} is missing or empty. \`duragent serve stop\`, and the next start makes a new one.`,
  );
}

async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
