import { constants } from 'node:fs';
import path from 'node:path';
import { nodeFiles, type Files, type OpenFile } from './files.ts';

/** A call of a store to its file system: `write events.jsonl`, `sync .` … */
export interface Call {
  name: keyof OpenFile | keyof Files;
  /** The file's name. */
  file: string;
  bytes: number;
}

type Fault = (call: Call) => Error | { short: number } | undefined;

/**
 * The real file system, with a record of all calls and faults at will. A fault is an error, or
 * how many bytes of a write are taken. A write to a file that was opened with `O_DSYNC` is recorded,
 * and may fail, as the `write` and the `datasync` that it is.
 */
export class FaultyFiles implements Files {
  readonly calls: Call[] = [];
  /** Files that are open now. */
  readonly opened = new Set<OpenFile>();
  fault: Fault = () => undefined;
  #ended = false;
  readonly #underWay = new Set<Promise<unknown>>();

  #call(name: Call['name'], file: string, bytes = 0): number {
    const call = { name, file: path.basename(file), bytes };
    if (this.#ended) throw systemError('EBADF');
    this.calls.push(call);
    const fault = this.fault(call);
    if (fault instanceof Error) throw fault;
    return fault === undefined ? bytes : Math.min(fault.short, bytes);
  }

  /** How often a call was made, such as `count('datasync', 'events.jsonl')`. */
  count(name: Call['name'], file: string): number {
    return this.calls.filter((call) => call.name === name && call.file === file).length;
  }

  /** Bytes asked for in reads of a file. */
  bytesRead(file: string): number {
    return this.calls
      .filter((call) => call.name === 'read' && call.file === file)
      .reduce((sum, call) => sum + call.bytes, 0);
  }

  async open(file: string, flags: number, mode?: number): Promise<OpenFile> {
    this.#call('open', file);
    const handle = await nodeFiles.open(file, flags, mode);
    if (this.#ended) {
      await handle.close();
      throw systemError('EBADF');
    }
    const call = this.#call.bind(this);
    const isSynced = (flags & constants.O_DSYNC) === constants.O_DSYNC;
    const opened: OpenFile = {
      read: async (buffer, offset, length, position) => {
        call('read', file, length);
        return handle.read(buffer, offset, length, position);
      },
      write: async (buffer, offset, length, position) => {
        const result = await handle.write(buffer, offset, call('write', file, length), position);
        // The bytes are in the file when their sync fails.
        if (isSynced) call('datasync', file);
        return result;
      },
      datasync: async () => {
        call('datasync', file);
        await handle.datasync();
      },
      sync: async () => {
        call('sync', file);
        await handle.sync();
      },
      truncate: async (length) => {
        call('truncate', file);
        await handle.truncate(length);
      },
      stat: () => handle.stat(),
      chmod: (fileMode) => handle.chmod(fileMode),
      close: () => {
        this.opened.delete(opened);
        return handle.close();
      },
    };
    this.opened.add(opened);
    return opened;
  }

  /** Closes what a test left open, as the end of a process does: nothing is done any more. */
  async closeAll(): Promise<void> {
    this.#ended = true;
    await Promise.allSettled(this.#underWay);
    await Promise.all([...this.opened].map((file) => file.close()));
  }

  /** Whether `closeAll` was called. */
  get ended(): boolean {
    return this.#ended;
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work);
    const done = (): boolean => this.#underWay.delete(work);
    work.then(done, done);
    return work;
  }

  async mkdir(directory: string, options: { mode: number; recursive?: boolean }) {
    this.#call('mkdir', directory);
    return this.#track(nodeFiles.mkdir(directory, options));
  }

  readdir: Files['readdir'] = (directory, options) => nodeFiles.readdir(directory, options);
  lstat: Files['lstat'] = (file) => nodeFiles.lstat(file);

  async rename(from: string, to: string): Promise<void> {
    this.#call('rename', to);
    await this.#track(nodeFiles.rename(from, to));
  }

  async rm(file: string, options: { recursive?: boolean; force: boolean }): Promise<void> {
    this.#call('rm', file);
    await this.#track(nodeFiles.rm(file, options));
  }
}

/** An error of the system, such as `ENOSPC`. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}
