import path from 'node:path';
import {
  flags,
  openAnew,
  syncDirectory,
  writeAll,
  type Files,
  type OpenFile,
} from '../files/files.ts';
import { readLines } from '../files/line-reader.ts';
import { checkSeal, crcOfLine, sealOf } from '../files/sealed-line.ts';
import { corruptInbox, type InboxContent } from './opening.ts';
import { encodeHeader, keyOfLine, numberOfLine, otherBody } from './record.ts';

/** A place between two lines of an inbox: where the next one begins, and the CRC that it continues. */
export interface Place {
  offset: number;
  crc: number;
}

/** From so many bytes on they are written. */
const PIECE = 64 * 1024;

/**
 * An inbox written anew beside the old file, which may be appended to meanwhile: what was handed
 * over becomes its key, what is forgotten goes. The old file counts until `rename`, and what is
 * appended to the new one not before `syncDirectory`. Lines stay bytes: a string of each would be
 * tens of megabytes of garbage.
 */
export class Rewriting {
  readonly #files: Files;
  readonly #path: string;
  readonly #old: OpenFile;
  #new: OpenFile | null = null;
  /** How far the old file was copied; null: not at all. */
  #copied: Place | null = null;
  #place: Place = { offset: 0, crc: 0 };
  /** What is to be written next, `#pieceLength` bytes of it. */
  #piece = Buffer.allocUnsafe(2 * PIECE);
  #pieceLength = 0;

  constructor(files: Files, file: string, old: OpenFile) {
    this.#files = files;
    this.#path = file;
    this.#old = old;
  }

  /** How far the old file was copied, in bytes. */
  get copied(): number {
    return this.#copied?.offset ?? 0;
  }

  /** Where the new file ends. */
  get place(): Place {
    return this.#place;
  }

  /** Writes what `content` says, which is what the old file says up to `to`. */
  async begin(gateway: string, content: InboxContent, to: Place): Promise<void> {
    this.#new = await openAnew(this.#files, this.#temporary, flags.createNewSynced);
    const { cursor, keys, lastN, limits, mark } = content;
    // Should more be forgotten while this goes on, it is forgotten the next time.
    const firstN = Math.min(keys.firstN ?? Infinity, mark + 1);
    const header = encodeHeader(gateway, firstN, to.crc);
    this.#place.crc = header.crc;
    this.#put(Buffer.from(`${header.line}\n`));
    if (limits !== null) this.#sealOther({ limits });
    let isMarked = mark === 0;
    await this.#copyTo(to, (body, offset) => {
      const n = numberOfLine(body);
      if (n === null || n < firstN) return;
      if (n <= mark) {
        this.#seal(this.#keyOf(body, offset));
        return;
      }
      if (!isMarked) this.#sealOther({ mark });
      isMarked = true;
      this.#seal(body);
    });
    if (!isMarked) this.#sealOther({ mark });
    // Behind the entries: theirs are older, or the same.
    if (lastN > 0) this.#sealOther({ cursor });
    await this.#flush();
  }

  /** Copies what was appended to the old file since. */
  async copy(to: Place): Promise<void> {
    await this.#copyTo(to, (body) => this.#seal(body));
    await this.#flush();
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  /** Puts the new file, which was synced, into the old one's place. The old one stays open. */
  async rename(): Promise<OpenFile> {
    await this.#files.rename(this.#temporary, this.#path);
    return this.#file;
  }

  /** Makes the renaming durable. */
  syncDirectory(): Promise<void> {
    return syncDirectory(this.#files, path.dirname(this.#path));
  }

  /** Removes the new file. What cannot be removed is removed before the next one is written. */
  async discard(): Promise<void> {
    await Promise.allSettled([this.#new?.close()]);
    await Promise.allSettled([this.#files.rm(this.#temporary, { force: true })]);
  }

  get #temporary(): string {
    return `${this.#path}.tmp`;
  }

  get #file(): OpenFile {
    if (this.#new === null) throw new Error('the new inbox was not begun');
    return this.#new;
  }

  /** The body of the line that keeps only the key of an entry. */
  #keyOf(body: Buffer, offset: number): Buffer {
    const key = keyOfLine(body);
    if (key === null) throw corruptInbox(this.#path, offset, 'the line is no entry of an inbox');
    return key;
  }

  /** Reads what was appended since the last time, line by line; `put` is given what each holds, without its CRC. */
  async #copyTo(to: Place, put: (body: Buffer, offset: number) => void): Promise<void> {
    for await (const lines of readLines(this.#old, this.copied, to.offset)) {
      for (const { bytes, offset } of lines) {
        if (this.#copied === null) {
          // The header, which was checked when the file was opened.
          const crc = crcOfLine(bytes?.toString('latin1') ?? '');
          this.#copied = { offset: offset + (bytes?.length ?? 0) + 1, crc };
          continue;
        }
        const checked = checkSeal(bytes, this.#copied.crc);
        if (!checked.ok) throw corruptInbox(this.#path, offset, checked.reason);
        this.#copied = { offset: offset + (bytes?.length ?? 0) + 1, crc: checked.crc };
        put(checked.body, offset);
        if (this.#pieceLength >= PIECE) await this.#flush();
      }
    }
    if (this.#copied?.offset !== to.offset || this.#copied.crc !== to.crc) {
      throw corruptInbox(this.#path, this.copied, 'the file does not end where it ended before');
    }
  }

  #sealOther(value: Parameters<typeof otherBody>[0]): void {
    this.#seal(Buffer.from(otherBody(value)));
  }

  #seal(body: Uint8Array): void {
    const { tail, crc } = sealOf(body, this.#place.crc);
    this.#place = { offset: this.#place.offset, crc };
    this.#put(body);
    this.#put(Buffer.from(`${tail}\n`));
  }

  #put(bytes: Uint8Array): void {
    const length = this.#pieceLength + bytes.length;
    if (length > this.#piece.length) {
      const larger = Buffer.allocUnsafe(2 * length);
      larger.set(this.#piece.subarray(0, this.#pieceLength));
      this.#piece = larger;
    }
    this.#piece.set(bytes, this.#pieceLength);
    this.#pieceLength = length;
  }

  async #flush(): Promise<void> {
    const bytes = this.#piece.subarray(0, this.#pieceLength);
    this.#pieceLength = 0;
    await writeAll(this.#file, bytes, this.#place.offset);
    this.#place = { offset: this.#place.offset + bytes.length, crc: this.#place.crc };
  }
}
