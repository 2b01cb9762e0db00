import { lstat, mkdir, realpath, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { PathRule } from './bubblewrap-arguments.ts';

/**
 * Files that are not there, and that no command may make. Nothing can be mounted where nothing is, so
 * each is made, empty, before a command could, and the empty ones are taken away again at the end.
 */
export class ReservedFiles {
  readonly #files: readonly string[];
  readonly #made = new Set<string>();

  /** Absolute paths, in folders that commands may write. */
  constructor(files: readonly string[]) {
    this.#files = files;
  }

  /** @throws where one cannot be made: then a command could not be kept from it. */
  async rules(): Promise<PathRule[]> {
    const rules = await Promise.all(this.#files.map((file) => this.#reserve(file)));
    return rules.filter((rule) => rule !== null);
  }

  /** Takes away those that nobody has written to. Only once no command is left. Never rejects. */
  async release(): Promise<void> {
    await Promise.all(
      [...this.#made].map(async (file) => {
        try {
          if ((await lstat(file)).size === 0) await rm(file);
        } catch {
          // It is gone, or was made anew by others.
        }
      }),
    );
  }

  async #reserve(file: string): Promise<PathRule | null> {
    await this.#make(file);
    const facts = await stat(file);
    const real = await realpath(file);
    if (facts.isDirectory()) return { path: real, view: 'hidden-folder', isFixed: true };
    // A device holds nothing, and cannot be covered.
    return facts.isFile() ? { path: real, view: 'hidden-file', isFixed: true } : null;
  }

  async #make(file: string): Promise<void> {
    try {
      await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
      await writeFile(file, '', { flag: 'wx', mode: 0o600 });
      this.#made.add(file);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
  }
}
