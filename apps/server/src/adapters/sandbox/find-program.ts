import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import path from 'node:path';

/** The absolute path of a program in the absolute folders of PATH, and in the usual ones; null: it is in none. */
export async function findProgram(
  name: string,
  searchPath: string | undefined,
): Promise<string | null> {
  for (const folder of `${searchPath ?? ''}:${USUAL_PATH}`.split(':')) {
    if (!folder.startsWith('/')) continue;
    const file = path.join(folder, name);
    try {
      await access(file, constants.X_OK);
      if ((await stat(file)).isFile()) return file;
    } catch {
      // Not here.
    }
  }
  return null;
}

const USUAL_PATH = '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin';
