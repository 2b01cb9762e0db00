import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { MAX_OUTPUT_BYTES, type OutputPiece } from '../../ports/processes.ts';
import { FILE_MODE, readBytes } from '../files/files.ts';

/** Output is read no faster than this: it would cost the server what its sessions need. */
const BYTES_PER_SLICE = 4 * 1024 * 1024;
/** Nor, where it is dropped, than this. */
const DROPPED_PER_SLICE = 256 * 1024;
const SLICE_MS = 100;

/**
 * Keeps what comes out of streams in a file, up to a limit; what comes later is read and dropped.
 * Resolves when all have ended. Never rejects: what cannot be written is dropped.
 */
export async function keepOutput(
  streams: readonly Readable[],
  file: string,
  { onText, limit = MAX_OUTPUT_BYTES }: { onText: (text: string) => void; limit?: number },
): Promise<void> {
  const { O_WRONLY, O_CREAT, O_APPEND, O_NOFOLLOW } = constants;
  const flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW;
  const handle = await open(file, flags, FILE_MODE).catch(() => null);
  const kept = new BoundedFile(handle, limit);
  await Promise.all(streams.map((stream) => pour(stream, kept, onText)));
  await handle?.close().catch(() => undefined);
}

async function pour(
  stream: Readable,
  kept: BoundedFile,
  onText: (text: string) => void,
): Promise<void> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let sliceEnd = 0;
  let bytes = 0;
  try {
    for await (const piece of stream) {
      const chunk = Buffer.from(piece as Buffer);
      onText(decoder.decode(chunk, { stream: true }));
      await kept.add(chunk);
      const now = performance.now();
      if (now >= sliceEnd) {
        sliceEnd = now + SLICE_MS;
        bytes = 0;
      }
      bytes += chunk.length;
      const most = kept.isFull ? DROPPED_PER_SLICE : BYTES_PER_SLICE;
      if (bytes >= most) await delay(sliceEnd - now);
    }
  } catch {
    // It was cut off; what came before counts.
  }
}

class BoundedFile {
  #handle: FileHandle | null;
  #room: number;
  #writing = Promise.resolve();

  constructor(handle: FileHandle | null, limit: number) {
    this.#handle = handle;
    this.#room = limit;
  }

  get isFull(): boolean {
    return this.#handle === null || this.#room === 0;
  }

  /** To be awaited before the next is read. Two streams write one after another. */
  add(chunk: Buffer): Promise<void> {
    const part = chunk.subarray(0, this.#room);
    this.#room -= part.length;
    this.#writing = this.#writing.then(() => this.#write(part));
    return this.#writing;
  }

  async #write(part: Buffer): Promise<void> {
    try {
      for (let done = 0; this.#handle !== null && done < part.length;) {
        const { bytesWritten } = await this.#handle.write(part, done);
        done += bytesWritten;
      }
    } catch {
      this.#handle = null;
    }
  }
}

/** A piece of a file that grows; empty where there is none. Never rejects. */
export async function readOutput(
  file: string,
  where: { start: number | 'end'; bytes: number },
): Promise<OutputPiece> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    await using handle = await open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const { size } = await handle.stat();
    const isEnd = where.start === 'end';
    const asked = where.start === 'end' ? size - where.bytes : where.start;
    const start = Math.min(Math.max(0, asked), size);
    const bytes = await readBytes(handle, start, Math.min(where.bytes, size - start));
    const from = isEnd && start > 0 ? tornStart(bytes) : 0;
    const to = start + bytes.length < size ? bytes.length - tornEnd(bytes) : bytes.length;
    const kept = bytes.subarray(from, Math.max(from, to));
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(kept);
    return { text, start: start + from, end: start + from + kept.length, size };
  } catch {
    return { text: '', start: 0, end: 0, size: 0 };
  }
}

/** How many bytes at the start belong to a character that began before. */
function tornStart(bytes: Buffer): number {
  let count = 0;
  while (count < Math.min(3, bytes.length) && ((bytes[count] ?? 0) & 0xc0) === 0x80) count += 1;
  return count;
}

/** How many bytes at the end belong to a character that goes on. */
function tornEnd(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    // Where it would be all of it, nobody would get on.
    return length > back && back < bytes.length ? back : 0;
  }
  return 0;
}
