import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { errorCode, readTextFile, stampOf } from './text-file.ts';

/** Reads files below one folder, and only there, and remembers what it saw. */
export interface Folder {
  /** A text file by its path from the folder. `missing`: there is nothing of that name. */
  read(
    path: string,
  ): Promise<
    { ok: true; text: string; file: string } | { ok: false; missing: boolean; reason: string }
  >;
  /** The real path of a file that is there. */
  locate(path: string): Promise<{ ok: true; path: string } | Refusal>;
  /** 16 hex digits that differ whenever the names or contents of what was read differ. */
  hash(): string;
  /** Whether everything that was asked for is as it was, what was not there included. */
  unchanged(): Promise<boolean>;
}

type Refusal = { ok: false; missing: boolean; reason: string };

/** Looks into a folder without holding anything open. Symbolic links are not followed out of it. */
export function openFolder(dir: string): Folder {
  const hash = createHash('sha256');
  const stamps = new Map<string, string>();

  async function locate(path: string): Promise<{ ok: true; path: string } | Refusal> {
    const asked = resolve(dir, path);
    if (!stamps.has(asked)) stamps.set(asked, await stampOf(asked));
    try {
      const root = await realpath(dir);
      // What leads out of the folder is refused whether or not it is there.
      if (!isBelow(resolve(dir), asked)) return outside();
      const real = await realpath(asked);
      return isBelow(root, real) ? { ok: true, path: real } : outside();
    } catch (cause) {
      const code = errorCode(cause);
      if (code === 'ENOENT' || code === 'ENOTDIR') {
        return { ok: false, missing: true, reason: 'there is no such file' };
      }
      return { ok: false, missing: false, reason: `it cannot be read (${code ?? String(cause)})` };
    }
  }

  return {
    locate,
    async read(path) {
      const found = await locate(path);
      if (!found.ok) return found;
      const reading = await readTextFile(found.path);
      if (!reading.ok) return reading;
      // Lengths keep two files apart from one that holds both.
      hash.update(`${path.length}:${path}${reading.text.length}:${reading.text}`);
      return { ok: true, text: reading.text, file: join(dir, path) };
    },
    hash: () => hash.copy().digest('hex').slice(0, 16),
    async unchanged() {
      for (const [path, stamp] of stamps) {
        if ((await stampOf(path)) !== stamp) return false;
      }
      return true;
    },
  };
}

function outside(): Refusal {
  return { ok: false, missing: false, reason: "it is outside the agent's folder; move it inside" };
}

function isBelow(root: string, path: string): boolean {
  const way = relative(root, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`);
}
