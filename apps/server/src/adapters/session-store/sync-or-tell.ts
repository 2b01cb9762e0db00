import { errorCode, storageError } from '../files/files.ts';
import type { LogHost } from './log-file.ts';

/**
 * Does what syncs. One that fails is told to the host: what the disk holds is not known any more.
 * @throws DuragentError `storage_failed`, `storage_full`.
 */
export async function syncOrTell(
  host: Pick<LogHost, 'syncFailed'>,
  session: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    const failure = storageError(error, `Cannot sync ${session}`);
    // Too many open files: nothing was synced, and nothing failed to be.
    if (['EMFILE', 'ENFILE'].includes(errorCode(error) ?? '')) throw failure;
    host.syncFailed(session, failure);
    throw failure;
  }
}
