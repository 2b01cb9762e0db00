import path from 'node:path';
import { DuragentError, idPattern } from '@duragent/protocol';
import { z } from 'zod';
import type { ArtifactRef, ArtifactStore } from '../../ports/artifact-store.ts';
import {
  afterFailure,
  DIRECTORY_MODE,
  errorCode,
  FILE_MODE,
  nodeFiles,
  readSmallFile,
  replaceFile,
  storageError,
  syncDirectory,
  type Files,
} from '../files/files.ts';
import { copyFile, openSource, type Source } from './source.ts';

export interface FileArtifactStoreOptions {
  /** The folder of the artifacts; it is made if it is missing. */
  dir: string;
  /** For tests: the file system. */
  files?: Files;
}

const META_FILE = 'meta.json';
const DATA_FILE = 'data';
const MAX_META_BYTES = 16 * 1024;

const refSchema = z.object({
  id: z.string().regex(idPattern('art')),
  name: z.string().max(255),
  mime: z.string().max(255),
  size: z.int().min(0),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

/** Artifacts as folders of `meta.json` and `data`, for this process alone. */
export function fileArtifactStore(options: FileArtifactStoreOptions): ArtifactStore {
  const { dir, files = nodeFiles } = options;
  /** By id: the end of what is done with it. */
  const busy = new Map<string, Promise<unknown>>();
  let made: Promise<void> | null = null;

  const folderOf = (id: string): string => path.join(dir, id);
  const dataOf = (id: string): string => path.join(folderOf(id), DATA_FILE);

  async function makeRoot(): Promise<void> {
    await files.mkdir(dir, { mode: DIRECTORY_MODE, recursive: true });
    await syncDirectory(files, path.dirname(path.resolve(dir)));
  }

  /** What is kept whole under an id; null: nothing, or what a crash left half done. */
  async function find(id: string): Promise<ArtifactRef | null> {
    const text = await readSmallFile(files, path.join(folderOf(id), META_FILE), MAX_META_BYTES);
    if (text === null) return null;
    const ref = readRef(text, path.join(folderOf(id), META_FILE));
    try {
      const facts = await files.lstat(dataOf(id));
      if (facts.isFile() && facts.size === ref.size) return ref;
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return null;
      throw error;
    }
    throw damaged(dataOf(id));
  }

  async function take(
    from: { path: string; root: string },
    meta: ArtifactRef,
  ): Promise<ArtifactRef> {
    made ??= makeRoot();
    await made.catch((error: unknown) => {
      made = null;
      throw error;
    });
    const kept = await find(meta.id);
    if (kept !== null) {
      if (kept.sha256 !== meta.sha256 || kept.size !== meta.size) {
        throw refusal(`the artifact ${meta.id} is another file; give this one another id`);
      }
      // A crash may have come before this was durable.
      await syncDirectory(files, folderOf(meta.id));
      await syncDirectory(files, dir);
      return kept;
    }
    await using source = await openSource(files, from);
    await source.check(meta);
    await source.handle.chmod(FILE_MODE);
    await source.handle.sync();
    await makeFolder(meta.id);
    // First, because it takes space: without the file it counts for nothing.
    const text = `${JSON.stringify(meta, null, 2)}\n`;
    await replaceFile(files, path.join(folderOf(meta.id), META_FILE), text);
    await syncDirectory(files, dir);
    await moveIn(source, meta);
    await syncDirectory(files, folderOf(meta.id));
    return meta;
  }

  async function discard(from: { path: string; root: string }): Promise<void> {
    await using source = await openSource(files, from);
    await files.rm(source.path, { force: true });
  }

  async function sweep(root: string, keep: readonly string[]): Promise<void> {
    const kept = new Set(keep.map((file) => path.resolve(root, file)));
    for (const { name } of await files.readdir(root, { withFileTypes: true })) {
      const file = path.join(root, name);
      if (kept.has(file) || (await files.lstat(file)).isDirectory()) continue;
      await files.rm(file, { force: true });
    }
  }

  async function makeFolder(id: string): Promise<void> {
    await files.mkdir(folderOf(id), { mode: DIRECTORY_MODE, recursive: true });
    if (!(await files.lstat(folderOf(id))).isDirectory()) throw damaged(folderOf(id));
  }

  async function moveIn(source: Source, meta: ArtifactRef): Promise<void> {
    const data = dataOf(meta.id);
    // One that has another name could be written through it.
    if (source.facts.nlink === 1) {
      try {
        await files.rename(source.path, data);
      } catch (error) {
        if (errorCode(error) !== 'EXDEV') throw error;
        await copyIn(source, data, meta);
        return;
      }
      const { dev, ino, mtimeMs, size } = await files.lstat(data);
      const { facts } = source;
      if (
        dev === facts.dev &&
        ino === facts.ino &&
        mtimeMs === facts.mtimeMs &&
        size === facts.size
      )
        return;
      const changed = refusal(`${source.name} was changed while it was taken`);
      throw await afterFailure(changed, () => files.rm(data, { force: true }));
    }
    await copyIn(source, data, meta);
  }

  async function copyIn(source: Source, data: string, meta: ArtifactRef): Promise<void> {
    const temporary = `${data}.tmp`;
    try {
      await copyFile(files, source, temporary, meta);
      await files.rename(temporary, data);
    } catch (error) {
      throw await afterFailure(error, () => files.rm(temporary, { force: true }));
    }
    await syncDirectory(files, path.dirname(data));
    await files.rm(source.path, { force: true });
  }

  return {
    async take(from, meta) {
      const checked = refSchema.safeParse(meta);
      if (!checked.success) {
        const [issue] = checked.error.issues;
        throw refusal(`its ${issue?.path.join('.') ?? 'description'} is not valid`);
      }
      const { id } = checked.data;
      const before = busy.get(id) ?? Promise.resolve();
      const taken = before.then(() => take(from, checked.data));
      // The next one for this id goes on whatever came of this one.
      const end = taken.catch(() => undefined);
      busy.set(id, end);
      try {
        return await taken;
      } catch (error) {
        throw storageError(error, `Cannot keep the file ${id}`);
      } finally {
        if (busy.get(id) === end) busy.delete(id);
      }
    },

    async discard(from) {
      try {
        await discard(from);
      } catch (error) {
        throw storageError(error, 'Cannot remove a file that is not kept');
      }
    },

    async sweep(root, keep) {
      try {
        await sweep(root, keep);
      } catch (error) {
        throw storageError(error, `Cannot clean ${root}`);
      }
    },

    async get(id) {
      if (!idPattern('art').test(id)) return null;
      try {
        const ref = await find(id);
        return ref === null ? null : { ref, path: dataOf(id) };
      } catch (error) {
        throw storageError(error, `Cannot read the file ${id}`);
      }
    },
  };
}

function readRef(text: string, file: string): ArtifactRef {
  try {
    const read = refSchema.safeParse(JSON.parse(text));
    if (read.success) return read.data;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw damaged(file);
}

function damaged(file: string): DuragentError {
  return new DuragentError(
    'storage_failed',
    `${file} is damaged: restore it from a backup, or remove its folder.`,
  );
}

function refusal(reason: string): DuragentError {
  return new DuragentError('invalid_request', `The file is not taken: ${reason}.`);
}
