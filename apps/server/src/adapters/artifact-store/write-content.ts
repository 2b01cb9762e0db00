import { createHash } from 'node:crypto';
import { DuragentError } from '@duragent/protocol';
import { MAX_MADE_ARTIFACT_BYTES } from '../../ports/artifact-store.ts';
import { afterFailure, openAnew, writeAll, type Files } from '../files/files.ts';

/**
 * Writes a new file piece by piece, durably.
 * @throws DuragentError `payload_too_large` beyond `MAX_MADE_ARTIFACT_BYTES`; what is written by then stays.
 */
export async function writeContent(
  files: Files,
  file: string,
  content: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<{ size: number; sha256: string }> {
  const hash = createHash('sha256');
  let size = 0;
  const handle = await openAnew(files, file);
  try {
    for await (const piece of content) {
      if (size + piece.length > MAX_MADE_ARTIFACT_BYTES) {
        const most = `${MAX_MADE_ARTIFACT_BYTES / 1024 / 1024} MiB`;
        throw new DuragentError('payload_too_large', `The file is larger than ${most}: split it.`);
      }
      hash.update(piece);
      await writeAll(handle, piece, size);
      size += piece.length;
    }
    await handle.sync();
  } catch (error) {
    throw await afterFailure(error, () => handle.close());
  }
  await handle.close();
  return { size, sha256: hash.digest('hex') };
}
