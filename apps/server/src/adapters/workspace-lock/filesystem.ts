import { chmod, mkdir, readdir, readFile, realpath } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { DuragentError, serverFileSchema } from '@duragent/protocol';
import { errorCode, nodeFiles, replaceFile } from '../files/files.ts';
import { findNetworkFs } from './network-fs.ts';

/** This process's hold on a data directory: nobody else writes there. */
export interface WorkspaceLock {
  /** The number of this start: one more than the last one's. */
  readonly epoch: number;
  /** Reads `EPOCH` again. False: another server has taken over, and this one must stop writing. */
  verify(): Promise<boolean>;
  /** Lets the directory go. The kernel does that too when the process dies. */
  release(): Promise<void>;
}

export interface LockOptions {
  /** Whether to lock on a file system that may not keep locks between machines. */
  allowNetworkFs?: boolean;
  /** Where session logs lie; with logs and without `EPOCH` the directory is a copy. */
  sessionsPath?: string;
}

/**
 * How long SQLite tries. Only two that come at one instant wait for each other: the one that got
 * further, until the others, which are turned back, have let go.
 */
const BUSY_TIMEOUT_MS = 250;
const SQLITE_BUSY = 5;

/**
 * Directories, by real path, that this process holds or is taking. Closing any descriptor of
 * `LOCK` would drop the lock, so a second try never opens the file.
 */
const held = new Map<string, Promise<WorkspaceLock>>();

/**
 * Takes a data directory for the life of this process and raises its `EPOCH` by one. Before it
 * has succeeded nothing but an empty `LOCK` is made in the directory.
 * @throws DuragentError `locked` within a second, naming the server that holds it; or
 *   `storage_failed`.
 */
export async function lockWorkspace(
  dataDir: string,
  options: LockOptions = {},
): Promise<WorkspaceLock> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    const directory = await realpath(dataDir);
    if (options.allowNetworkFs !== true) await refuseNetworkFs(directory);
    const other = held.get(directory);
    if (other) {
      // Its error is this one's too: they would have met it alike.
      await other;
      throw await lockedError(directory);
    }
    const lock = takeLock(directory, options);
    held.set(directory, lock);
    try {
      return await lock;
    } catch (error) {
      held.delete(directory);
      throw error;
    }
  } catch (error) {
    if (error instanceof DuragentError) throw error;
    throw failed(
      `Cannot lock ${dataDir}: ${reasonOf(error)}. Make it readable and writable.`,
      error,
    );
  }
}

async function takeLock(directory: string, options: LockOptions): Promise<WorkspaceLock> {
  const database = beginExclusive(directory);
  if (database === null) throw await lockedError(directory);
  try {
    // By its path, because LOCK must not be opened.
    await chmod(path.join(directory, 'LOCK'), 0o600);
    const epoch = ((await readEpoch(directory)) ?? (await epochOfCopy(options))) + 1;
    await replaceFile(nodeFiles, path.join(directory, 'EPOCH'), `${epoch}\n`);
    let released = false;
    return {
      epoch,
      verify: async () => (await findEpoch(directory)) === epoch,
      release: async () => {
        if (released) return;
        released = true;
        database.close();
        held.delete(directory);
      },
    };
  } catch (error) {
    database.close();
    throw error;
  }
}

/** @returns null if another process has the lock. */
function beginExclusive(directory: string): DatabaseSync | null {
  const file = path.join(directory, 'LOCK');
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    // Without a journal file: who loses must leave no trace.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database?.close();
    const { errcode } = error as { errcode?: number };
    // The low byte: the rest says why it was busy.
    if (errcode !== undefined && (errcode & 0xff) === SQLITE_BUSY) return null;
    throw failed(
      `Cannot lock ${file}: ${reasonOf(error)}. Make the directory writable; if ${file} is not empty, remove it while no server runs.`,
      error,
    );
  }
}

/** @returns null if there is none yet. */
async function readEpoch(directory: string): Promise<number | null> {
  const file = path.join(directory, 'EPOCH');
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
  const epoch = /^\d{1,15}\n?$/.test(text) ? Number(text) : 0;
  if (epoch >= 1) return epoch;
  throw failed(
    `${file} is damaged: it must hold one whole number. Write the highest "epoch" in the records of sessions/*/events.jsonl into it, and start again.`,
  );
}

/**
 * What stands for `EPOCH` where there is none: it is not copied with a workspace (its .gitignore
 * names it), and must be above every epoch in the logs. Starts are rarer than one a second, so
 * the seconds since 1970 are; an empty directory begins at 0.
 */
async function epochOfCopy({ sessionsPath }: LockOptions): Promise<number> {
  if (sessionsPath === undefined) return 0;
  try {
    const names = await readdir(sessionsPath);
    return names.length > 0 ? Math.floor(Date.now() / 1000) : 0;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 0;
    throw error;
  }
}

/** As `readEpoch`, but a damaged one is none of ours. */
async function findEpoch(directory: string): Promise<number | null> {
  try {
    return await readEpoch(directory);
  } catch (error) {
    if (error instanceof DuragentError) return null;
    throw error;
  }
}

async function refuseNetworkFs(directory: string): Promise<void> {
  const name = await findNetworkFs(directory);
  if (name === null) return;
  throw failed(
    `${directory} is on a network file system (${name}), where a lock may not keep a second server out. Set data_dir to a local disk, or allow_network_fs: true if only one machine ever uses it.`,
  );
}

async function lockedError(directory: string): Promise<DuragentError> {
  const holder = await readHolder(directory);
  const who = holder
    ? `the server with process id ${holder.pid} at ${holder.url}`
    : 'another server';
  return new DuragentError(
    'locked',
    `${directory} is in use by ${who}. Use that one, or stop it with \`duragent serve stop\`.`,
    { details: { ...holder } },
  );
}

/** What the first server says of itself; null while it has said nothing that can be read. */
async function readHolder(directory: string): Promise<{ pid: number; url: string } | null> {
  try {
    const text = await readFile(path.join(directory, 'run', 'server.json'), 'utf8');
    const read = serverFileSchema.safeParse(JSON.parse(text));
    return read.success ? { pid: read.data.pid, url: read.data.url } : null;
  } catch (error) {
    if (error instanceof SyntaxError || errorCode(error) !== undefined) return null;
    throw error;
  }
}

function failed(message: string, cause?: unknown): DuragentError {
  return new DuragentError('storage_failed', message, cause === undefined ? {} : { cause });
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
