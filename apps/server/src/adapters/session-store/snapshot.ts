import { crc32 } from 'node:zlib';
import { z } from 'zod';
import type { StoredRecord } from '../../ports/session-store.ts';
import { crcOfLine, formatCrc } from '../files/sealed-line.ts';
import type { Place } from './search.ts';

/** A larger one is none of ours, and ignored. */
export const MAX_SNAPSHOT_BYTES = 4 * 1024 * 1024;

const crcSchema = z
  .string()
  .regex(/^[0-9a-f]{8}$/)
  .transform((text) => Number.parseInt(text, 16));

const snapshotSchema = z.looseObject({
  duragent_snapshot: z.literal(1),
  session: z.string(),
  seq: z.int().min(1),
  crc: crcSchema,
  window: z.looseObject({
    file: z.string(),
    offset: z.int().min(0),
    seq: z.int().min(1),
    prev_crc: crcSchema,
  }),
  state: z.unknown(),
  sum: crcSchema,
});

export interface Snapshot {
  /** Folded up to this record … */
  seq: number;
  /** … which has this CRC. */
  crc: number;
  /** The file, and the place in it, from which opening reads records again. */
  window: Place & { file: string };
  state: unknown;
}

/** Writes a snapshot as indented JSON, which is YAML. */
export function encodeSnapshot(session: string, snapshot: Snapshot): string {
  const { seq, crc, window, state } = snapshot;
  const content = {
    duragent_snapshot: 1,
    session,
    seq,
    crc: formatCrc(crc),
    window: {
      file: window.file,
      offset: window.offset,
      seq: window.seq,
      prev_crc: formatCrc(window.crc),
    },
    state,
  };
  const sum = formatCrc(sumOf(content));
  return `${JSON.stringify({ ...content, sum }, null, 1)}\n`;
}

/** Reads a session's snapshot; null for anything else, because it is only a cache. */
export function decodeSnapshot(text: string, session: string): Snapshot | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
  const read = snapshotSchema.safeParse(value);
  if (!read.success || read.data.session !== session) return null;
  // A changed digit would be believed otherwise: the log's CRCs do not cover the state.
  const { sum: _, ...content } = value as { sum: unknown };
  if (sumOf(content) !== read.data.sum) return null;
  const { seq, crc, window, state } = read.data;
  if (window.seq > seq + 1) return null;
  return {
    seq,
    crc,
    window: { file: window.file, offset: window.offset, seq: window.seq, crc: window.prev_crc },
    state,
  };
}

/** The CRC of all that a snapshot says. */
function sumOf(content: object): number {
  return crc32(JSON.stringify(content));
}

/** Whether a snapshot was made of the log that these records, read from its window on, belong to. */
export function snapshotFits(snapshot: Snapshot, records: readonly StoredRecord[]): boolean {
  const { seq, crc, window } = snapshot;
  if (window.seq === seq + 1) return window.crc === crc;
  const record = records[seq - window.seq];
  return record?.event.seq === seq && crcOfLine(record.line) === crc;
}

/** What quarantine says of a log that ends before its snapshot: durable records are gone. */
export function shorterThanSnapshot(lastSeq: number, snapshot: Snapshot): string {
  return `the log ends at seq ${lastSeq}, its snapshot at ${snapshot.seq}`;
}
