import type { OpenedLog } from '../../ports/session-store.ts';
import { syncDirectory, writeAll, type OpenFile } from '../files/files.ts';
import { cutTornEnd } from '../files/torn-end.ts';
import type { LogHost } from './log-file.ts';
import { ACTIVE_FILE, type Examined } from './opening.ts';
import { encodeHeader } from './record.ts';
import { syncOrTell } from './sync-or-tell.ts';

/**
 * Makes a log end with its last good record, durably. A quarantined one stays as it is. `isIndexed`:
 * all that it holds is durable. @returns what was cut off and saved.
 */
export async function repairLog(
  host: LogHost,
  { session, directory, file }: { session: string; directory: string; file: OpenFile },
  found: Examined,
  isIndexed: boolean,
): Promise<OpenedLog['torn']> {
  if (found.quarantine) return null;
  const { end, tornBytes, headerMissing } = found;
  const from = headerMissing ? 0 : end;
  let torn: OpenedLog['torn'] = null;
  if (tornBytes > 0) {
    const savedAs = await cutTornEnd(
      host.files,
      { directory, name: ACTIVE_FILE },
      file,
      from,
      from + tornBytes,
    );
    torn = { bytes: tornBytes, savedAs };
  }
  if (headerMissing) await writeAll(file, Buffer.from(`${encodeHeader(session).line}\n`), 0);
  if (torn !== null || headerMissing || !isIndexed) {
    // A process that was killed may have written records and not synced them.
    await syncOrTell(host, session, async () => {
      await file.sync();
      await syncDirectory(host.files, directory);
    });
  }
  return torn;
}
