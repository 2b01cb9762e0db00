import path from 'node:path';
import {
  errorCode,
  flags,
  readBytes,
  syncDirectory,
  withFile,
  writeAll,
  type Files,
  type OpenFile,
} from './files.ts';

const COPY_BYTES = 1024 * 1024;

/**
 * Saves the bytes of a file behind the last good record beside it, durably, and only then cuts
 * them off; that is not synced yet.
 * @returns the name of the file that keeps them: `<name>.torn-<from>`.
 */
export async function cutTornEnd(
  files: Files,
  where: { directory: string; name: string },
  file: OpenFile,
  from: number,
  size: number,
): Promise<string> {
  const savedAs = await saveTornEnd(files, where, file, from, size);
  await syncDirectory(files, where.directory);
  await file.truncate(from);
  return savedAs;
}

async function saveTornEnd(
  files: Files,
  { directory, name }: { directory: string; name: string },
  file: OpenFile,
  from: number,
  size: number,
): Promise<string> {
  // An earlier file of that name holds other bytes: it is never written over.
  for (let copy = 1; ; copy += 1) {
    const savedAs = `${name}.torn-${from}${copy === 1 ? '' : `-${copy}`}`;
    try {
      await withFile(files, path.join(directory, savedAs), flags.createNew, async (saved) => {
        for (let at = from; at < size; at += COPY_BYTES) {
          const bytes = await readBytes(file, at, Math.min(COPY_BYTES, size - at));
          await writeAll(saved, bytes, at - from);
        }
        await saved.sync();
      });
      return savedAs;
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
    }
  }
}
