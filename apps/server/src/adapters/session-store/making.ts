import path from 'node:path';
import { DuragentError } from '@duragent/protocol';
import {
  afterFailure,
  appendDurably,
  DIRECTORY_MODE,
  errorCode,
  FILE_MODE,
  flags,
  storageError,
  syncDirectory,
  type Files,
  type OpenFile,
} from '../files/files.ts';
import { LogFile, type LogHost } from './log-file.ts';
import type { OpenList } from './open-list.ts';
import { ACTIVE_FILE } from './opening.ts';
import { encodeHeader } from './record.ts';
import { syncOrTell } from './sync-or-tell.ts';

/** The folder of a session that is being made begins so; what a crash left of one goes at the next start. */
export const NEW_PREFIX = 'new-';

/**
 * Makes a session's folder, with its log. The folder gets its name when the log in it has its header:
 * whoever looks sees both or nothing. @throws DuragentError `conflict`: there is one already.
 */
export async function makeLog(
  host: LogHost,
  openList: OpenList,
  root: string,
  session: string,
): Promise<LogFile> {
  const directory = path.join(root, session);
  if (await isTaken(host.files, directory)) {
    throw new DuragentError('conflict', `The session ${session} exists: open it instead.`);
  }
  const making = path.join(root, `${NEW_PREFIX}${session}`);
  await host.files.mkdir(making, { mode: DIRECTORY_MODE });
  let file: OpenFile | null = null;
  let made = making;
  try {
    const name = path.join(making, ACTIVE_FILE);
    file = await host.files.open(name, flags.createNewSynced, FILE_MODE);
    const { line, crc } = encodeHeader(session);
    const header = Buffer.from(`${line}\n`);
    const work = await Promise.allSettled([
      writeHeader(host, session, file, header),
      syncOrTell(host, session, () => syncDirectory(host.files, making)),
      openList.add(session),
    ]);
    const failed = work.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
    await host.files.rename(making, directory);
    made = directory;
    await syncOrTell(host, session, () => syncDirectory(host.files, root));
    const start = { offset: header.length, crc };
    const chain = { seq: 0, epoch: 0, crc };
    const end = header.length;
    return new LogFile(
      host,
      { session, directory, file, start, end, chain, quarantine: null },
      true,
    );
  } catch (error) {
    throw await afterFailure(error, async () => {
      await file?.close();
      openList.remove(session);
      await host.files.rm(made, { recursive: true, force: true });
    });
  }
}

async function isTaken(files: Files, name: string): Promise<boolean> {
  try {
    await files.lstat(name);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

async function writeHeader(
  host: LogHost,
  session: string,
  file: OpenFile,
  header: Uint8Array,
): Promise<void> {
  const failed = await appendDurably(file, header, 0);
  if (!failed) return;
  const failure = storageError(failed.error, `Cannot make the log of ${session}`);
  if (failed.isUnknown) host.syncFailed(session, failure);
  throw failure;
}
