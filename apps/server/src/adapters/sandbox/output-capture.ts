import { type FileHandle, mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import type { CommandOutput, OutputFile } from '../../ports/sandbox.ts';

/** The most that is kept in memory of one command's output. */
const MAX_KEEP_BYTES = 1024 * 1024;
/** The most that is kept on disk of it. */
export const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** Keeps the start and the end of an output in memory, and all of it, up to a limit, in a file. */
export class OutputCapture {
  readonly #keepBytes: number;
  readonly #fileLimit: number;
  readonly #filePath: string | null;
  /** All of it, until it is too much; then its start. */
  #head: Buffer[] = [];
  #headBytes = 0;
  /** The last of it, at least `keepBytes / 2` once there is so much. */
  #tail: Buffer[] = [];
  #tailBytes = 0;
  #bytes = 0;
  #handle: FileHandle | null = null;
  #file: OutputFile | null = null;

  constructor(options: { keepBytes?: number; file?: string; fileLimit?: number }) {
    this.#keepBytes = Math.max(2, Math.min(options.keepBytes ?? MAX_KEEP_BYTES, MAX_KEEP_BYTES));
    this.#filePath = options.file ?? null;
    this.#fileLimit = options.fileLimit ?? MAX_FILE_BYTES;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes the next bytes; to be awaited before the next are read. Never rejects. */
  async add(chunk: Buffer): Promise<void> {
    const overflowed = this.#bytes > this.#keepBytes;
    this.#bytes += chunk.length;
    if (this.#bytes > this.#keepBytes) {
      // Until here the head was all there was.
      if (!overflowed) this.#split();
      this.#addTail(chunk);
    } else {
      this.#head.push(chunk);
      this.#headBytes += chunk.length;
    }
    if (this.#filePath !== null) await this.#writeFile(this.#filePath, chunk);
  }

  /** Closes the file. @returns all that is kept. */
  async finish(): Promise<CommandOutput> {
    await this.#handle?.close().catch((error: unknown) => this.#fail(error));
    this.#handle = null;
    if (this.#bytes <= this.#keepBytes) {
      const head = decode(Buffer.concat(this.#head));
      return { head, tail: '', bytes: this.#bytes, omittedBytes: 0, file: this.#file };
    }
    const head = withoutTornEnd(Buffer.concat(this.#head));
    const all = Buffer.concat(this.#tail);
    const half = this.#keepBytes - Math.floor(this.#keepBytes / 2);
    const tail = withoutTornStart(all.subarray(Math.max(0, all.length - half)));
    return {
      head: decode(head),
      tail: decode(tail),
      bytes: this.#bytes,
      omittedBytes: this.#bytes - head.length - tail.length,
      file: this.#file,
    };
  }

  /** From one piece to two: what is beyond the first half begins the tail. */
  #split(): void {
    const all = Buffer.concat(this.#head);
    const half = Math.floor(this.#keepBytes / 2);
    this.#head = [all.subarray(0, half)];
    this.#headBytes = Math.min(half, all.length);
    if (all.length > half) this.#addTail(all.subarray(half));
  }

  #addTail(chunk: Buffer): void {
    const missing = Math.floor(this.#keepBytes / 2) - this.#headBytes;
    const toHead = chunk.subarray(0, Math.max(0, missing));
    if (toHead.length > 0) {
      this.#head.push(toHead);
      this.#headBytes += toHead.length;
    }
    const rest = chunk.subarray(toHead.length);
    if (rest.length === 0) return;
    // A small piece of a big buffer would keep all of it.
    this.#tail.push(rest.length < rest.buffer.byteLength / 2 ? Buffer.from(rest) : rest);
    this.#tailBytes += rest.length;
    const first = this.#tail[0];
    if (first !== undefined && this.#tailBytes - first.length >= this.#keepBytes) {
      this.#tail.shift();
      this.#tailBytes -= first.length;
    }
    if (this.#tail.length > MAX_PIECES) this.#tail = [Buffer.concat(this.#tail)];
  }

  async #openFile(name: string): Promise<void> {
    this.#file = { path: name, bytes: 0, fault: null };
    try {
      await mkdir(path.dirname(name), { recursive: true, mode: 0o700 });
      this.#handle = await open(name, 'w', 0o600);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #writeFile(name: string, chunk: Buffer): Promise<void> {
    if (this.#file === null) await this.#openFile(name);
    if (this.#handle === null || this.#file === null) return;
    let part = chunk.subarray(0, Math.max(0, this.#fileLimit - this.#file.bytes));
    try {
      while (part.length > 0) {
        const { bytesWritten } = await this.#handle.write(part);
        this.#file.bytes += bytesWritten;
        part = part.subarray(bytesWritten);
      }
    } catch (error) {
      this.#fail(error);
      await this.#handle.close().catch(() => undefined);
      this.#handle = null;
    }
  }

  #fail(error: unknown): void {
    if (this.#file !== null) {
      this.#file.fault ??= error instanceof Error ? error.message : String(error);
    }
  }
}

/** Small writes would fill memory with the pieces' own bookkeeping. */
const MAX_PIECES = 4096;

function decode(bytes: Buffer): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
}

/** A cut end may lie within a character of up to 4 bytes: without that one. */
function withoutTornEnd(bytes: Buffer): Buffer {
  for (let back = 1; back <= Math.min(4, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (isContinuation(byte)) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? bytes.subarray(0, bytes.length - back) : bytes;
  }
  return bytes;
}

function withoutTornStart(bytes: Buffer): Buffer {
  let start = 0;
  while (start < Math.min(3, bytes.length) && isContinuation(bytes[start] ?? 0)) start += 1;
  return bytes.subarray(start);
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}
