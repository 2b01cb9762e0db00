import { DuragentError } from '@duragent/protocol';
import { errorCode, type FileFacts, type Files } from './files.ts';

/** How often a change is made again because a person saved the file meanwhile. */
const MOST_TRIES = 5;

/** What is known of a file; null: there is none. */
export async function factsOf(files: Files, file: string): Promise<FileFacts | null> {
  try {
    return await files.lstat(file);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
}

/** Changes whenever the file does. */
export function stampOf({ ctimeMs, dev, ino, mtimeMs, size }: FileFacts): string {
  return [dev, ino, size, mtimeMs, ctimeMs].join(':');
}

/** What the bytes of a file say; null: they are not UTF-8. */
export function textOf(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (errorCode(error) === 'ERR_ENCODING_INVALID_ENCODED_DATA') return null;
    throw error;
  }
}

/**
 * Changes a file that people may save at any time: their words count.
 * @param change reads and writes it; null: somebody saved it in between, and nothing was written.
 * @throws DuragentError conflict when that happens every time.
 */
export async function changeBesidePeople<T>(
  file: string,
  change: () => Promise<T | null>,
): Promise<T> {
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const changed = await change();
    if (changed !== null) return changed;
  }
  throw new DuragentError(
    'conflict',
    `${file} is being edited all the time: try again when that has ended.`,
  );
}
