import { constants } from 'node:fs';
import { lstat, open, readlink, realpath, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import type { ReadWorkspaceFile } from '../../ports/artifact-store.ts';
import { errorCode, readBytes } from '../files/files.ts';

/**
 * Reads files of the workspace for agents. A command of the agent may run beside it and move folders:
 * what counts is the file that was opened, not the one that was looked at.
 * @param places `hidden`: what agents may not read (the data directory, secrets); absolute.
 */
export function workspaceFileReader(places: {
  root: string;
  hidden: readonly string[];
}): ReadWorkspaceFile {
  return async (given, { maxBytes }) => {
    const name = JSON.stringify(given.slice(0, 300));
    try {
      if (given === '' || given.includes('\0')) return fail(`${name} is no path`);
      const root = await realpath(places.root);
      const asked = path.resolve(places.root, given);
      const inside = insideOf(path.resolve(places.root), asked) ?? insideOf(root, asked);
      if (inside === null) return fail(`${name} is outside of the workspace`);
      const file = path.join(root, inside);
      // Without O_NONBLOCK, opening a named pipe waits for its writer.
      const how = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      await using handle = await open(file, how);
      if ((await pathOf(handle, file)) !== file) return fail(`${name} is reached through a link`);
      for (const each of places.hidden) {
        const hidden = await realpath(each).catch(() => path.resolve(each));
        if (file === hidden || insideOf(hidden, file) !== null) {
          return fail(`${name} may not be read by agents`);
        }
      }
      const facts = await handle.stat();
      if (!facts.isFile()) return fail(`${name} is no plain file`);
      // A second name of it may be one that agents may not read.
      if (facts.nlink > 1) return fail(`${name} has more than one name; copy it first`);
      if (facts.size > maxBytes) return fail(`${name} is larger than ${maxBytes} bytes`);
      return { ok: true, bytes: await readBytes(handle, 0, facts.size) };
    } catch (error) {
      const code = errorCode(error);
      if (code === undefined) throw error;
      return fail(REASONS[code]?.(name) ?? `${name} cannot be read (${code})`);
    }
  };
}

type Reasons = Readonly<Record<string, (name: string) => string>>;
const REASONS: Reasons = {
  ENOENT: (name) => `${name} does not exist`,
  ENOTDIR: (name) => `${name} does not exist`,
  ELOOP: (name) => `${name} is a link`,
  EMLINK: (name) => `${name} is a link`,
  ENXIO: (name) => `${name} is no plain file`,
};

/** Where an open file is. */
async function pathOf(handle: FileHandle, file: string): Promise<string | null> {
  if (process.platform === 'linux') return readlink(`/proc/self/fd/${handle.fd}`);
  // Elsewhere no sandbox is there to be broken out of: a look at the path must do.
  const [opened, found] = [await handle.stat(), await lstat(file)];
  return opened.ino === found.ino && opened.dev === found.dev ? realpath(file) : null;
}

/** A path as it is below a folder; null where it is not. */
function insideOf(folder: string, file: string): string | null {
  const way = path.relative(folder, file);
  const isOutside = way === '' || way === '..' || way.startsWith(`..${path.sep}`);
  return isOutside || path.isAbsolute(way) ? null : way;
}

function fail(reason: string): { ok: false; reason: string } {
  return { ok: false, reason };
}
