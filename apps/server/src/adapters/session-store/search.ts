import { DuragentError, MAX_RECORD_BYTES } from '@duragent/protocol';
import { readBytes, type OpenFile } from '../files/files.ts';
import { readLines } from '../files/line-reader.ts';

/** A place between two records: where the next one begins, and the CRC that it continues. */
export interface Place {
  seq: number;
  offset: number;
  crc: number;
}

/** Below this distance reading on is cheaper than another probe. */
const SCAN_BYTES = 16 * 1024;
const PROBE_BYTES = 4 * 1024;
const SEQ_START = /^\{"seq":(\d{1,15}),/;
/** How a record ends: its CRC and the LF. */
const CRC_END = /"crc":"([0-9a-f]{8})"\}\n$/;

/**
 * Finds where the record `seq` begins, between two places that are known, by bisecting over byte
 * offsets: it reads a few KiB of a log of any length. What it returns is not checked yet.
 * @throws DuragentError `log_corrupt` if no such record is there.
 */
export async function findRecord(
  file: OpenFile,
  name: string,
  seq: number,
  first: Place,
  end: Place,
): Promise<Place> {
  if (seq === first.seq) return first;
  if (seq === end.seq) return end;
  let low = first.offset;
  let high = end.offset;
  while (high - low > SCAN_BYTES) {
    const middle = Math.floor((low + high) / 2);
    const probe = await nextRecord(file, middle, high);
    if (probe !== null && probe.seq <= seq) low = probe.offset;
    else high = middle;
  }
  for await (const lines of readLines(file, low, end.offset)) {
    for (const { bytes, offset } of lines) {
      const found = bytes === null ? null : seqOf(bytes);
      if (found === seq) return { seq, offset, crc: await crcBefore(file, name, offset) };
      if (found !== null && found > seq) throw missing(name, offset, seq);
    }
  }
  throw missing(name, low, seq);
}

/** The first record that begins behind `from`, and before `to`. */
async function nextRecord(
  file: OpenFile,
  from: number,
  to: number,
): Promise<{ seq: number; offset: number } | null> {
  let position = from;
  let size = PROBE_BYTES;
  while (position < to) {
    const bytes = await readBytes(file, position, Math.min(size, to - position));
    if (bytes.length === 0) return null;
    for (let lf = bytes.indexOf(10); lf !== -1; lf = bytes.indexOf(10, lf + 1)) {
      const offset = position + lf + 1;
      if (offset >= to) return null;
      const seq = seqOf(await readBytes(file, offset, Math.min(32, to - offset)));
      if (seq !== null) return { seq, offset };
    }
    position += bytes.length;
    size = Math.min(size * 4, MAX_RECORD_BYTES);
  }
  return null;
}

function seqOf(line: Buffer): number | null {
  const match = SEQ_START.exec(line.toString('latin1', 0, 32));
  return match ? Number(match[1]) : null;
}

async function crcBefore(file: OpenFile, name: string, offset: number): Promise<number> {
  const end = (await readBytes(file, offset - 18, 18)).toString('latin1');
  const match = CRC_END.exec(end);
  if (!match?.[1]) throw corrupt(name, offset, 'the record before it does not end with its CRC');
  return Number.parseInt(match[1], 16);
}

function missing(name: string, offset: number, seq: number): DuragentError {
  return corrupt(name, offset, `record ${seq} is not where it should be`);
}

/** The error for a record that does not check while it is read. */
export function corrupt(file: string, offset: number, reason: string): DuragentError {
  return new DuragentError(
    'log_corrupt',
    `${file} is damaged at byte ${offset}: ${reason}. Restore the session from a backup, or delete it.`,
    { details: { file, offset, reason } },
  );
}
