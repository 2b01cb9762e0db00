import path from 'node:path';
import type { SettledCall } from '../../core/budget/settled-call.ts';
import { MAX_WAITING, type UsageStore } from '../../ports/usage-store.ts';
import {
  afterFailure,
  DIRECTORY_MODE,
  errorCode,
  type Files,
  flags,
  nodeFiles,
  readBytes,
  storageError,
  syncDirectory,
  withFile,
  writeAll,
} from '../files/files.ts';
import { readLines } from '../files/line-reader.ts';
import { formatUsageLine, parseUsageLine } from './usage-line.ts';

export interface FileUsageStoreOptions {
  /** The folder of the days, made when it is needed. */
  directory: string;
  /** Told when writing begins to fail; it is tried again with the next call. */
  onFailure: (error: Error) => void;
  /** For tests: the file system. */
  files?: Files;
}

/** What waits to be written to a day; null: too much did, so the day is written no further. */
type Waiting = SettledCall[] | null;

/** Usage as `<day>.jsonl`, a line a call. */
export function fileUsageStore(options: FileUsageStoreOptions): UsageStore {
  const { directory, files = nodeFiles, onFailure } = options;
  const waiting = new Map<string, Waiting>();
  let isFailing = false;
  let isScheduled = false;
  let work: Promise<unknown> = Promise.resolve();

  const fileOf = (day: string): string => path.join(directory, `${day}.jsonl`);

  /** One after another: what is read is neither half written nor read twice. */
  function inTurn<T>(step: () => Promise<T>): Promise<T> {
    const done = work.then(step);
    work = done.catch(() => undefined);
    return done;
  }

  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    // What is added until it begins goes along. It never rejects.
    void inTurn(async () => {
      isScheduled = false;
      await write();
    });
  }

  /** Writes all that waits. What fails goes on waiting: behind it nothing of its day may be written. */
  async function write(): Promise<void> {
    for (const [day, calls] of waiting) {
      if (calls === null || calls.length === 0) continue;
      const some = [...calls];
      try {
        await append(day, some);
        calls.splice(0, some.length);
        isFailing = false;
      } catch (error) {
        if (!isFailing) onFailure(storageError(error, `Cannot write ${fileOf(day)}`));
        isFailing = true;
        return;
      }
    }
    for (const [day, calls] of waiting) if (calls?.length === 0) waiting.delete(day);
  }

  async function append(day: string, calls: readonly SettledCall[]): Promise<void> {
    const made = await files.mkdir(directory, { mode: DIRECTORY_MODE, recursive: true });
    if (made !== undefined) await syncDirectory(files, path.dirname(directory));
    const isNew = await withFile(files, fileOf(day), flags.createOrUpdate, async (file) => {
      const { size } = await file.stat();
      // A crash may have left half a line; it stays one line, which says nothing.
      const isCut = size > 0 && (await readBytes(file, size - 1, 1))[0] !== 10;
      const text = calls.map((call) => `${formatUsageLine(call)}\n`).join('');
      try {
        await writeAll(file, Buffer.from(`${isCut ? '\n' : ''}${text}`), size);
        await file.datasync();
      } catch (error) {
        // Else the next try would write it twice.
        throw await afterFailure(error, () => file.truncate(size));
      }
      return size === 0;
    });
    if (isNew) await syncDirectory(files, directory);
  }

  async function* readFile(day: string, size: number): AsyncGenerator<SettledCall> {
    if (size === 0) return;
    const file = await files.open(fileOf(day), flags.readAny);
    try {
      for await (const lines of readLines(file, 0, size)) {
        for (const { bytes } of lines) {
          const call = bytes === null ? null : parseUsageLine(bytes.toString('utf8'));
          if (call !== null) yield call;
        }
      }
    } finally {
      await file.close();
    }
  }

  async function sizeOf(day: string): Promise<number> {
    try {
      return (await files.lstat(fileOf(day))).size;
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return 0;
      throw error;
    }
  }

  return {
    add(day, call) {
      const calls = waiting.get(day);
      // A day whose file ends too early can be made again from there; one with a hole cannot.
      if (calls === null) return;
      if (calls === undefined) waiting.set(day, [call]);
      else if (calls.length < MAX_WAITING) calls.push(call);
      else waiting.set(day, null);
      schedule();
    },

    async *read(day) {
      try {
        const there = await inTurn(async () => {
          await write();
          const size = await sizeOf(day);
          return { size, unwritten: [...(waiting.get(day) ?? [])] };
        });
        yield* readFile(day, there.size);
        yield* there.unwritten;
      } catch (error) {
        throw storageError(error, `Cannot read ${fileOf(day)}`);
      }
    },

    close: () => inTurn(write),
  };
}
