import { MAX_RECORD_BYTES } from '@duragent/protocol';
import { readInto, type OpenFile } from './files.ts';

/** A piece of a file between two LFs. */
export interface RawLine {
  /** Without the LF; null: longer than a record may be, so not kept. */
  bytes: Buffer | null;
  /** Where it begins in the file. */
  offset: number;
  /** False for bytes at the end that no LF follows. */
  complete: boolean;
}

/** Bytes that are read at a time. What a group is made of dies young with so many; with four times as many it did not. */
const CHUNK = 64 * 1024;

/**
 * Reads the lines between two offsets, in groups; `from` begins a line. Memory stays bounded for any
 * content: the bytes of a group are overwritten by the next one.
 */
export async function* readLines(
  file: OpenFile,
  from: number,
  to: number,
): AsyncGenerator<RawLine[]> {
  let position = from;
  let lineStart = from;
  let carried: Buffer | null = null;
  let tooLong = false;
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK, Math.max(to - from, 0)));
  while (position < to) {
    const chunk = await readInto(file, buffer, position, Math.min(CHUNK, to - position));
    if (chunk.length === 0) break;
    const lines: RawLine[] = [];
    let at = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, at)) {
      const piece: Buffer = chunk.subarray(at, end);
      const bytes: Buffer = carried === null ? piece : Buffer.concat([carried, piece]);
      const kept = !tooLong && bytes.length <= MAX_RECORD_BYTES;
      lines.push({ bytes: kept ? bytes : null, offset: lineStart, complete: true });
      carried = null;
      tooLong = false;
      at = end + 1;
      lineStart = position + at;
    }
    if (at < chunk.length && !tooLong) {
      const piece = chunk.subarray(at);
      carried = carried === null ? Buffer.from(piece) : Buffer.concat([carried, piece]);
      if (carried.length > MAX_RECORD_BYTES) {
        carried = null;
        tooLong = true;
      }
    }
    position += chunk.length;
    if (lines.length > 0) yield lines;
  }
  if (lineStart < position) yield [{ bytes: carried, offset: lineStart, complete: false }];
}
