import { constants, write } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { DuragentError } from '@duragent/protocol';

/** What is known of a file without reading it. */
export interface FileFacts {
  size: number;
  dev: number;
  ino: number;
  /** How many names it has. */
  nlink: number;
  mtimeMs: number;
  ctimeMs: number;
  isFile(): boolean;
  isDirectory(): boolean;
}

/** An open file, as far as stores use one; `FileHandle` is one. Writes may be short. */
export interface OpenFile {
  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesRead: number }>;
  write(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesWritten: number }>;
  datasync(): Promise<void>;
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  stat(): Promise<FileFacts>;
  chmod(mode: number): Promise<void>;
  close(): Promise<void>;
}

/** Every file system call of a store, so that tests can fail the Nth one. */
export interface Files {
  open(file: string, flags: number, mode?: number): Promise<OpenFile>;
  mkdir(
    directory: string,
    options: { mode: number; recursive?: boolean },
  ): Promise<string | undefined>;
  readdir(
    directory: string,
    options: { withFileTypes: true },
  ): Promise<{ name: string; isDirectory(): boolean }[]>;
  lstat(file: string): Promise<FileFacts>;
  rename(from: string, to: string): Promise<void>;
  rm(file: string, options: { recursive?: boolean; force: boolean }): Promise<void>;
}

export const nodeFiles: Files = {
  open: async (file, how, mode) => new NodeFile(await open(file, how, mode)),
  mkdir,
  readdir,
  lstat,
  rename,
  rm,
};

/** A `FileHandle` whose writes, which every message has several of, take one promise each in place of seven. */
class NodeFile implements OpenFile {
  readonly #handle: FileHandle;
  #underWay = 0;
  #onIdle: () => void = () => undefined;
  #closing: Promise<void> | null = null;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  write(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesWritten: number }> {
    return new Promise((resolve, reject) => {
      write(this.#handle.fd, buffer, offset, length, position, (error, bytesWritten) => {
        this.#underWay -= 1;
        if (this.#underWay === 0) this.#onIdle();
        if (error) reject(error);
        else resolve({ bytesWritten });
      });
      this.#underWay += 1;
    });
  }

  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesRead: number }> {
    return this.#handle.read(buffer, offset, length, position);
  }

  datasync(): Promise<void> {
    return this.#handle.datasync();
  }

  sync(): Promise<void> {
    return this.#handle.sync();
  }

  truncate(length: number): Promise<void> {
    return this.#handle.truncate(length);
  }

  stat(): Promise<FileFacts> {
    return this.#handle.stat();
  }

  chmod(mode: number): Promise<void> {
    return this.#handle.chmod(mode);
  }

  /** Waits for the writes under way: their descriptor might be another file's by then. */
  close(): Promise<void> {
    this.#closing ??= this.#closeIdle();
    return this.#closing;
  }

  async #closeIdle(): Promise<void> {
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    await this.#handle.close();
  }
}

export const FILE_MODE = 0o600;
export const DIRECTORY_MODE = 0o700;

const { O_CREAT, O_DIRECTORY, O_DSYNC, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } =
  constants;
/**
 * On Linux a write to a file that was opened with this is a write and an fdatasync, in one go to a
 * thread and back. Elsewhere it may end in the cache of the drive, so each write is followed by one.
 */
const SYNCED = process.platform === 'linux' ? O_DSYNC : 0;
/** Ways to open a file. None follows a symbolic link at the end of the path. */
export const flags = {
  read: O_RDONLY | O_NOFOLLOW,
  /** Does not wait for the other end of a named pipe. */
  readAny: O_RDONLY | O_NOFOLLOW | O_NONBLOCK,
  update: O_RDWR | O_NOFOLLOW,
  createOrUpdate: O_RDWR | O_CREAT | O_NOFOLLOW,
  createNew: O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
  /** For `appendDurably`. */
  updateSynced: O_RDWR | O_NOFOLLOW | SYNCED,
  createOrUpdateSynced: O_RDWR | O_CREAT | O_NOFOLLOW | SYNCED,
  createNewSynced: O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | SYNCED,
  directory: O_RDONLY | O_DIRECTORY,
} as const;

/** The system's code of an error, such as `ENOENT`. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** The error that callers of a store see for a failed file system call. */
export function storageError(error: unknown, what: string): DuragentError {
  if (error instanceof DuragentError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  const code = errorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? new DuragentError('storage_full', `${what}: ${reason}. Free space on the disk.`, {
        cause: error,
      })
    : new DuragentError('storage_failed', `${what}: ${reason}. Check the disk.`, { cause: error });
}

/** Does `work`. What the system refused is thrown in words, after `what`; a fault of the program stays one. */
export async function attempt<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw errorCode(error) === undefined ? error : storageError(error, what);
  }
}

/** Runs a cleanup after a failure. @returns the failure, together with the cleanup's own if it fails. */
export async function afterFailure(error: unknown, cleanUp: () => Promise<void>): Promise<unknown> {
  try {
    await cleanUp();
    return error;
  } catch (second) {
    const both = new AggregateError([error, second], `${String(error)}; then ${String(second)}`);
    const code = errorCode(error);
    return code === undefined ? both : Object.assign(both, { code });
  }
}

/** Opens a file for the time of `work`. */
export async function withFile<T>(
  files: Files,
  file: string,
  mode: number,
  work: (handle: OpenFile) => Promise<T>,
): Promise<T> {
  const handle = await files.open(file, mode, FILE_MODE);
  let result: T;
  try {
    result = await work(handle);
  } catch (error) {
    throw await afterFailure(error, () => handle.close());
  }
  await handle.close();
  return result;
}

/** Writes all of `bytes`: Node reports success for short writes. `progress` says how far it came. */
export async function writeAll(
  file: OpenFile,
  bytes: Uint8Array,
  position: number,
  progress = { bytes: 0 },
): Promise<void> {
  for (let done = 0; done < bytes.length; done = progress.bytes) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    if (bytesWritten === 0) throw Object.assign(new Error('a write took nothing'), { code: 'EIO' });
    progress.bytes = done + bytesWritten;
  }
}

/**
 * Appends `bytes` to a file that ends at `end` and was opened with one of the `Synced`
 * flags. When it resolves to null they are durable; else the file was cut to `end` again, and with
 * `isUnknown` a sync or that cut failed: the file must not be written any more.
 */
export async function appendDurably(
  file: OpenFile,
  bytes: Uint8Array,
  end: number,
): Promise<{ error: unknown; isUnknown: boolean } | null> {
  const progress = { bytes: 0 };
  try {
    await writeAll(file, bytes, end, progress);
    if (SYNCED === 0) await file.datasync();
    return null;
  } catch (error) {
    const isUnknown =
      errorCode(error) === 'EIO' ||
      progress.bytes === bytes.length ||
      (await isLonger(file, end + progress.bytes));
    const cause = await afterFailure(error, () => file.truncate(end));
    return { error: cause, isUnknown: isUnknown || cause !== error };
  }
}

/** Whether a write that failed put bytes into the file, so that it failed at their sync. */
async function isLonger(file: OpenFile, than: number): Promise<boolean> {
  try {
    return (await file.stat()).size > than;
  } catch {
    return true; // not known is the worse
  }
}

/** Reads `length` bytes, or fewer at the end of the file. */
export async function readBytes(file: OpenFile, position: number, length: number): Promise<Buffer> {
  return readInto(file, Buffer.allocUnsafe(length), position, length);
}

/** As `readBytes`, to the beginning of a buffer. @returns the part of it that holds them. */
export async function readInto(
  file: OpenFile,
  buffer: Buffer,
  position: number,
  length: number,
): Promise<Buffer> {
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return buffer.subarray(0, done);
}

/** Makes the entries of a directory durable. */
export function syncDirectory(files: Files, directory: string): Promise<void> {
  return withFile(files, directory, flags.directory, (handle) => handle.sync());
}

/**
 * Opens a file that is there for this process alone, empty and 0600. What was left there by an
 * earlier one goes: opening it would follow a link, and keep its mode.
 */
export async function openAnew(
  files: Files,
  file: string,
  how: number = flags.createNew,
): Promise<OpenFile> {
  try {
    return await files.open(file, how, FILE_MODE);
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
    await files.rm(file, { force: true });
    return files.open(file, how, FILE_MODE);
  }
}

/** Replaces a file so that after a crash it is the old or the new one, whole. */
export async function replaceFile(files: Files, file: string, content: string): Promise<void> {
  const temporary = `${file}.tmp`;
  try {
    const handle = await openAnew(files, temporary);
    try {
      await writeAll(handle, Buffer.from(content), 0);
      await handle.sync();
    } catch (error) {
      throw await afterFailure(error, () => handle.close());
    }
    await handle.close();
    await files.rename(temporary, file);
  } catch (error) {
    throw await afterFailure(error, () => files.rm(temporary, { force: true }));
  }
  await syncDirectory(files, path.dirname(file));
}

/** The whole of a small file as text; null if there is none, if it is a link, or longer than `limit`. */
export async function readSmallFile(
  files: Files,
  file: string,
  limit: number,
): Promise<string | null> {
  try {
    return await withFile(files, file, flags.read, async (handle) => {
      const { size } = await handle.stat();
      return size > limit ? null : (await readBytes(handle, 0, size)).toString('utf8');
    });
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ELOOP') return null;
    throw error;
  }
}
