import path from 'node:path';
import { DuragentError } from '@duragent/protocol';
import type { ProcessRecord, ProcessStore } from '../../ports/process-store.ts';
import {
  attempt,
  DIRECTORY_MODE,
  errorCode,
  nodeFiles,
  readSmallFile,
  replaceFile,
  syncDirectory,
  type Files,
} from '../files/files.ts';

export interface FileProcessStoreOptions {
  /** `<data_dir>/processes`; made when the first record is kept. */
  directory: string;
  /** `processRecordSchema` of the core; null: it is no record. */
  parse: (value: unknown) => ProcessRecord | null;
  /** For tests: the file system. */
  files?: Files;
}

const RECORD = /^(proc_[0-9a-hjkmnp-tv-z]{26})\.json$/;
const ID = /^proc_[0-9a-hjkmnp-tv-z]{26}$/;
const MAX_BYTES = 256 * 1024;

/** Keeps each as `<id>.json`, beside the folder `<id>` with its output. */
export function fileProcessStore(options: FileProcessStoreOptions): ProcessStore {
  const { directory, parse, files = nodeFiles } = options;
  let isThere = false;
  const fileOf = (id: string): string => {
    if (!ID.test(id)) throw new DuragentError('internal', `${id.slice(0, 100)} is no process.`);
    return path.join(directory, `${id}.json`);
  };

  async function read(name: string): Promise<ProcessRecord[]> {
    const text = await readSmallFile(files, path.join(directory, name), MAX_BYTES);
    try {
      const record = text === null ? null : parse(JSON.parse(text));
      return record !== null && name === `${record.id}.json` ? [record] : [];
    } catch {
      // A file edited by hand, or of a newer version.
      return [];
    }
  }

  return {
    list: () =>
      attempt(`Cannot read ${directory}`, async () => {
        const names = (await entriesOf(files, directory)).map(({ name }) => name);
        const records = names.filter((name) => RECORD.test(name)).toSorted();
        return (await Promise.all(records.map(read))).flat();
      }),

    put: (record) =>
      attempt(`Cannot keep the process ${record.id}`, async () => {
        const file = fileOf(record.id);
        if (!isThere) {
          await files.mkdir(directory, { mode: DIRECTORY_MODE, recursive: true });
          await syncDirectory(files, path.dirname(directory));
          isThere = true;
        }
        await replaceFile(files, file, `${JSON.stringify(record, null, 2)}\n`);
      }),

    remove: (id) =>
      attempt(`Cannot remove the process ${id}`, async () => {
        // The output first: nobody would find it without its record.
        await files.rm(path.join(directory, path.basename(fileOf(id), '.json')), {
          recursive: true,
          force: true,
        });
        await files.rm(fileOf(id), { force: true });
      }),
  };
}

async function entriesOf(files: Files, directory: string): Promise<{ name: string }[]> {
  try {
    return await files.readdir(directory, { withFileTypes: true });
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}
