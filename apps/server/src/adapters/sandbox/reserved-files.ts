import { lstat, mkdir, realpath, rm, stat, writeFile } from 'node:fs/promises';
import type { BigIntStats } from 'node:fs';
import path from 'node:path';
import type { PathRule } from './bubblewrap-arguments.ts';

/**
 * Files that are not there, and that no command may make. Nothing can be mounted where nothing is, so
 * each is made, empty, before a command could, and the empty ones are taken away again at the end.
 */
export class ReservedFiles {
  readonly #files: readonly string[];
  /** Those that were made here, as they were then. */
  readonly #made = new Map<string, BigIntStats>();

  /** Absolute paths without links, in folders that commands may write. */
  constructor(files: readonly string[]) {
    this.#files = files;
  }

  /** @throws Error where one cannot be made, in words for people: a command could not be kept from it. */
  async rules(): Promise<PathRule[]> {
    const rules = await Promise.all(this.#files.map((file) => this.#reserve(file)));
    return rules.filter((rule) => rule !== null);
  }

  /** Takes away those that nobody has touched. Only once no command is left. Never rejects. */
  async release(): Promise<void> {
    await Promise.all(
      [...this.#made].map(async ([file, made]) => {
        try {
          if (isSame(await lstat(file, { bigint: true }), made)) await rm(file);
        } catch {
          // It is gone.
        }
      }),
    );
    this.#made.clear();
  }

  async #reserve(file: string): Promise<PathRule | null> {
    try {
      await this.#make(file);
      const facts = await stat(file);
      const real = await realpath(file);
      if (facts.isDirectory()) return { path: real, view: 'hidden-folder', isFixed: true };
      // A device holds nothing, and cannot be covered.
      return facts.isFile() ? { path: real, view: 'hidden-file', isFixed: true } : null;
    } catch (error) {
      const code = codeOf(error);
      if (code === 'EROFS' || (code === 'EACCES' && (await isOfOthers(file)))) return null;
      throw new Error(
        `${file} cannot be kept from commands (${code}): put a file there, or let sandbox.workspace be another folder`,
        { cause: error },
      );
    }
  }

  async #make(file: string): Promise<void> {
    try {
      await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
      await writeFile(file, '', { flag: 'wx', mode: 0o600 });
      this.#made.set(file, await lstat(file, { bigint: true }));
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
  }
}

/** Whether a file is the one that it was, and was not written to since. */
function isSame(now: BigIntStats, then: BigIntStats): boolean {
  const keys = ['dev', 'ino', 'size', 'mtimeNs', 'ctimeNs'] as const;
  return keys.every((key) => now[key] === then[key]);
}

/** Whether the folder of a file is of somebody else: then no command can open it for itself. */
async function isOfOthers(file: string): Promise<boolean> {
  const folder = await stat(path.dirname(file)).catch(() => null);
  return folder !== null && folder.uid !== process.getuid?.();
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
