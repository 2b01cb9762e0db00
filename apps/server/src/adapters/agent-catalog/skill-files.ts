import { constants } from 'node:fs';
import { open, readdir, realpath } from 'node:fs/promises';
import path from 'node:path';
import type { SkillFiles } from '../../ports/skill-files.ts';
import { errorCode, readBytes } from '../files/files.ts';

const MAX_BYTES = 256 * 1024;
const MAX_LISTED = 200;
const MAX_LEVELS = 4;
/** Where a skill keeps what belongs to it. */
const FOLDERS = ['assets', 'references', 'scripts'];

/** The files of skills, as they are now. */
export const skillFiles: SkillFiles = {
  async read(dir, file) {
    try {
      const asked = path.normalize(file);
      const [first = '', ...rest] = asked.split(path.sep);
      const isNamed = asked === 'SKILL.md' || (FOLDERS.includes(first) && rest.join('') !== '');
      if (!isNamed || file.includes('\0')) {
        return fail('a file of a skill lies in references, scripts or assets');
      }
      const root = await realpath(dir);
      const real = await realpath(path.join(root, asked));
      const isInside = real.startsWith(`${root}${path.sep}`);
      if (!isInside) return fail("it is outside of the skill's folder");
      // Without O_NONBLOCK, opening a named pipe waits for its writer.
      const how = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      await using handle = await open(real, how);
      const facts = await handle.stat();
      if (!facts.isFile()) return fail('it is no plain file');
      if (facts.size > MAX_BYTES) return fail(`it is larger than ${MAX_BYTES / 1024} KiB`);
      const bytes = await readBytes(handle, 0, facts.size);
      return { ok: true, text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
    } catch (error) {
      switch (errorCode(error)) {
        case undefined:
          throw error;
        case 'ENOENT':
        case 'ENOTDIR':
          return fail('there is no such file');
        case 'ERR_ENCODING_INVALID_ENCODED_DATA':
          return fail('it is not text');
        default:
          return fail(`it cannot be read (${errorCode(error)})`);
      }
    }
  },

  async list(dir) {
    const found: string[] = [];
    for (const folder of FOLDERS) await walk(dir, folder, MAX_LEVELS, found);
    return found;
  },
};

/** Adds the plain files below a folder, by name. */
async function walk(dir: string, below: string, levels: number, found: string[]): Promise<void> {
  const entries = await entriesOf(path.join(dir, below));
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (found.length >= MAX_LISTED) return;
    const name = path.posix.join(below, entry.name);
    if (entry.isFile()) found.push(name);
    else if (entry.isDirectory() && levels > 1) await walk(dir, name, levels - 1, found);
  }
}

async function entriesOf(folder: string) {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    // A skill need not have it; what cannot be listed can still be asked for by name.
    if (errorCode(error) === undefined) throw error;
    return [];
  }
}

function fail(reason: string): { ok: false; reason: string } {
  return { ok: false, reason };
}
