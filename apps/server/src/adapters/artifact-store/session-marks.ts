import path from 'node:path';
import { idPattern } from '@duragent/protocol';
import {
  DIRECTORY_MODE,
  errorCode,
  flags,
  syncDirectory,
  withFile,
  type Files,
} from '../files/files.ts';

/** Below the folder of the artifacts: a folder for each session, and in it an empty file for each artifact. */
const MARKS_FOLDER = 'by-session';

/** Which artifacts agents made in which session, so that listing one's does not look at all. */
export class SessionMarks {
  readonly #files: Files;
  readonly #dir: string;

  /** @param dir the folder of the artifacts; it exists when a mark is added. */
  constructor(files: Files, dir: string) {
    this.#files = files;
    this.#dir = dir;
  }

  /** Durable when it resolves. Adding it again is harmless. */
  async add(session: string, id: string): Promise<void> {
    const marks = path.join(this.#dir, MARKS_FOLDER);
    const folder = path.join(marks, session);
    await this.#files.mkdir(folder, { mode: DIRECTORY_MODE, recursive: true });
    await withFile(this.#files, path.join(folder, id), flags.createOrUpdate, async () => undefined);
    await syncDirectory(this.#files, folder);
    await syncDirectory(this.#files, marks);
    await syncDirectory(this.#files, this.#dir);
  }

  /** Newest first. */
  async of(session: string): Promise<string[]> {
    const folder = path.join(this.#dir, MARKS_FOLDER, session);
    try {
      const entries = await this.#files.readdir(folder, { withFileTypes: true });
      return entries
        .map(({ name }) => name)
        .filter((name) => idPattern('art').test(name))
        .toSorted()
        .toReversed();
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return [];
      throw error;
    }
  }
}
