import path from 'node:path';
import { agentNameSchema, DuragentError, idPattern, sessionIdSchema } from '@duragent/protocol';
import { z } from 'zod';
import type { ArtifactOwner, ArtifactRef, ArtifactStore } from '../../ports/artifact-store.ts';
import {
  afterFailure,
  attempt,
  DIRECTORY_MODE,
  errorCode,
  FILE_MODE,
  flags,
  nodeFiles,
  readBytes,
  readSmallFile,
  replaceFile,
  storageError,
  syncDirectory,
  withFile,
  type Files,
} from '../files/files.ts';
import { Turns } from '../files/turns.ts';
import { SessionMarks } from './session-marks.ts';
import { copyFile, openSource, type Source } from './source.ts';
import { writeContent } from './write-content.ts';

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

const ownerSchema = z.object({ agent: agentNameSchema, session: sessionIdSchema });
const metaSchema = refSchema.extend({ owner: ownerSchema.optional() });
const newSchema = metaSchema
  .pick({ id: true, name: true, mime: true })
  .extend({ owner: ownerSchema });
type Meta = ArtifactRef & { owner?: ArtifactOwner | undefined };

/** Artifacts as folders of `meta.json` and `data`, for this process alone. */
export function fileArtifactStore(options: FileArtifactStoreOptions): ArtifactStore {
  const { dir, files = nodeFiles } = options;
  const marks = new SessionMarks(files, dir);
  /** Of what concerns one artifact, by its id. */
  const turns = new Turns();
  let made: Promise<void> | null = null;

  const folderOf = (id: string): string => path.join(dir, id);
  const dataOf = (id: string): string => path.join(folderOf(id), DATA_FILE);

  async function makeRoot(): Promise<void> {
    await files.mkdir(dir, { mode: DIRECTORY_MODE, recursive: true });
    await syncDirectory(files, path.dirname(path.resolve(dir)));
  }

  /** What is kept whole under an id; null: nothing, or what a crash left half done. */
  async function find(id: string): Promise<Meta | null> {
    const text = await readSmallFile(files, path.join(folderOf(id), META_FILE), MAX_META_BYTES);
    if (text === null) return null;
    const meta = readMeta(text, path.join(folderOf(id), META_FILE));
    try {
      const facts = await files.lstat(dataOf(id));
      if (facts.isFile() && facts.size === meta.size) return meta;
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
    await ensureRoot();
    const kept = await find(meta.id);
    if (kept !== null) {
      checkSame(kept, meta);
      // A crash may have come before this was durable.
      await syncDirectory(files, folderOf(meta.id));
      await syncDirectory(files, dir);
      return refOf(kept);
    }
    await using source = await openSource(files, from);
    await source.check(meta);
    await source.handle.chmod(FILE_MODE);
    await source.handle.sync();
    await makeFolder(meta.id);
    // First, because it takes space: without the file it counts for nothing.
    await writeMeta(meta);
    await moveIn(source, meta);
    await syncDirectory(files, folderOf(meta.id));
    return meta;
  }

  async function put(
    content: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    { owner, ...given }: Omit<ArtifactRef, 'size' | 'sha256'> & { owner: ArtifactOwner },
  ): Promise<ArtifactRef> {
    await ensureRoot();
    await makeFolder(given.id);
    const temporary = `${dataOf(given.id)}.tmp`;
    try {
      const ref = { ...given, ...(await writeContent(files, temporary, content)) };
      const kept = await find(given.id);
      // Before the file counts as one: a mark without it is passed over.
      await marks.add(owner.session, given.id);
      if (kept === null) {
        await writeMeta({ ...ref, owner });
        await files.rename(temporary, dataOf(given.id));
      } else {
        checkSame(kept, ref);
        await files.rm(temporary, { force: true });
      }
      await syncDirectory(files, folderOf(given.id));
      await syncDirectory(files, dir);
      return kept === null ? ref : refOf(kept);
    } catch (error) {
      throw await afterFailure(error, () => files.rm(temporary, { force: true }));
    }
  }

  async function ensureRoot(): Promise<void> {
    made ??= makeRoot();
    await made.catch((error: unknown) => {
      made = null;
      throw error;
    });
  }

  async function writeMeta(meta: Meta): Promise<void> {
    const text = `${JSON.stringify(meta, null, 2)}\n`;
    await replaceFile(files, path.join(folderOf(meta.id), META_FILE), text);
    await syncDirectory(files, dir);
  }

  async function discard(from: { path: string; root: string }): Promise<void> {
    try {
      await using source = await openSource(files, from);
      await files.rm(source.path, { force: true });
    } catch (error) {
      // A gateway may have named it twice.
      if (error instanceof DuragentError && errorCode(error.cause) === 'ENOENT') return;
      throw error;
    }
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
      try {
        return await turns.run(id, () => take(from, checked.data));
      } catch (error) {
        throw storageError(error, `Cannot keep the file ${id}`);
      }
    },

    async put(content, meta) {
      const checked = newSchema.safeParse(meta);
      if (!checked.success) {
        const [issue] = checked.error.issues;
        throw refusal(`its ${issue?.path.join('.') ?? 'description'} is not valid`);
      }
      const { id } = checked.data;
      // What is no fault of the file system is the content's own.
      return attempt(`Cannot keep the file ${id}`, () =>
        turns.run(id, () => put(content, checked.data)),
      );
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
        const found = await find(id);
        if (found === null) return null;
        const { owner } = found;
        const place = { ref: refOf(found), path: dataOf(id) };
        return owner === undefined ? place : { ...place, owner };
      } catch (error) {
        throw storageError(error, `Cannot read the file ${id}`);
      }
    },

    async read(id, offset, length) {
      if (!idPattern('art').test(id)) return null;
      try {
        if ((await find(id)) === null) return null;
        return await withFile(files, dataOf(id), flags.read, (handle) =>
          readBytes(handle, offset, length),
        );
      } catch (error) {
        throw storageError(error, `Cannot read the file ${id}`);
      }
    },

    async list(session, limit) {
      if (!idPattern('session').test(session)) return [];
      try {
        const refs: ArtifactRef[] = [];
        for (const id of await marks.of(session)) {
          if (refs.length >= limit) break;
          const found = await find(id).catch((error: unknown) => {
            // It is told of where it is asked for; here it hides none of the others.
            if (error instanceof DuragentError) return null;
            throw error;
          });
          if (found !== null) refs.push(refOf(found));
        }
        return refs;
      } catch (error) {
        throw storageError(error, `Cannot list the files of ${session}`);
      }
    },
  };
}

function refOf({ id, name, mime, size, sha256 }: Meta): ArtifactRef {
  return { id, name, mime, size, sha256 };
}

function checkSame(kept: ArtifactRef, given: ArtifactRef): void {
  if (kept.sha256 === given.sha256 && kept.size === given.size) return;
  throw refusal(`the artifact ${given.id} is another file; give this one another id`);
}

function readMeta(text: string, file: string): Meta {
  try {
    const read = metaSchema.safeParse(JSON.parse(text));
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
