import {
  afterFailure,
  FILE_MODE,
  flags,
  readBytes,
  replaceFile,
  writeAll,
  type Files,
  type OpenFile,
} from '../files/files.ts';

/** A small file of lines that is appended to and now and then replaced. Its calls must not overlap. */
export class LineFile {
  readonly #files: Files;
  readonly #path: string;
  #file: OpenFile;
  #length: number;
  /** Whether the file ends in a line that was cut. */
  #cut: boolean;

  private constructor(files: Files, path: string, file: OpenFile, length: number, cut: boolean) {
    this.#files = files;
    this.#path = path;
    this.#file = file;
    this.#length = length;
    this.#cut = cut;
  }

  /** Opens the file, which is made if there is none. @returns it with the lines it holds, also a cut last one. */
  static async open(files: Files, path: string): Promise<{ file: LineFile; lines: string[] }> {
    const file = await files.open(path, flags.createOrUpdate, FILE_MODE);
    try {
      const { size } = await file.stat();
      const text = (await readBytes(file, 0, size)).toString('utf8');
      const lines = text.split('\n').filter((line) => line !== '');
      const cut = text !== '' && !text.endsWith('\n');
      return { file: new LineFile(files, path, file, size, cut), lines };
    } catch (error) {
      throw await afterFailure(error, () => file.close());
    }
  }

  /** Adds lines. If that fails, the file is as long as before. */
  async append(lines: readonly string[]): Promise<void> {
    const bytes = Buffer.from(`${this.#cut ? '\n' : ''}${lines.join('\n')}\n`);
    try {
      await writeAll(this.#file, bytes, this.#length);
    } catch (error) {
      throw await afterFailure(error, () => this.#file.truncate(this.#length));
    }
    this.#length += bytes.length;
    this.#cut = false;
  }

  sync(): Promise<void> {
    return this.#file.datasync();
  }

  /** Replaces the content, durably and as a whole. */
  async replace(lines: readonly string[]): Promise<void> {
    const content = lines.map((line) => `${line}\n`).join('');
    await replaceFile(this.#files, this.#path, content);
    const file = await this.#files.open(this.#path, flags.update);
    const old = this.#file;
    this.#file = file;
    this.#length = Buffer.byteLength(content);
    this.#cut = false;
    await old.close();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
