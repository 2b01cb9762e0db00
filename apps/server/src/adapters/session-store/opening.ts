import { DuragentError } from '@duragent/protocol';
import type { OpenedLog, Quarantine, StoredRecord } from '../../ports/session-store.ts';
import { readBytes, type OpenFile } from '../files/files.ts';
import { readLines } from '../files/line-reader.ts';
import { checkHeader, decodeRecord, encodeHeader, isRecordAfter, type Chain } from './record.ts';
import { shorterThanSnapshot, snapshotFits, type Snapshot } from './snapshot.ts';

/** Name of a log's active file. */
export const ACTIVE_FILE = 'events.jsonl';

/** What reading a log found, before anything in it is changed. */
export interface Examined {
  /** Where the first record begins, and the CRC that it continues. */
  start: { offset: number; crc: number };
  /** Where the last good record ends. */
  end: number;
  chain: Chain;
  records: StoredRecord[];
  snapshot: OpenedLog['snapshot'];
  quarantine: Quarantine | null;
  /** Bytes behind `end` that are to be saved and cut off. */
  tornBytes: number;
  /** Whether the header is to be written again. */
  headerMissing: boolean;
}

interface Scan {
  records: StoredRecord[];
  chain: Chain;
  end: number;
  /** The first bad line, and whether a good record comes later. */
  bad: { reason: string; recordsBehind: boolean } | null;
}

/** Records of a log that are not worth compiling their schemas for. */
const FEW = 200;
/** Longer than any header: only the first line matters. */
const HEADER_BYTES = 4096;

/**
 * Reads a log from its snapshot's window on, or the whole of it, and finds how far it is good.
 * @throws DuragentError `log_newer`.
 */
export async function examineLog(
  file: OpenFile,
  session: string,
  snapshot: Snapshot | null,
  ignoreSnapshot: boolean,
): Promise<Examined> {
  const { size } = await file.stat();
  const head = await readBytes(file, 0, Math.min(size, HEADER_BYTES));
  const lf = head.indexOf(10);
  const header = checkHeader(lf === -1 ? head : head.subarray(0, lf), session);
  if (header.kind === 'newer') {
    throw new DuragentError(
      'log_newer',
      `The log of ${session} has version ${header.version}, which this version of Duragent does not read: use the newer one.`,
      { details: { version: header.version } },
    );
  }
  if (header.kind !== 'good' || lf === -1) {
    const reason = header.kind === 'good' ? 'the header is cut' : header.reason;
    return examineWithoutHeader(file, session, snapshot, size, head, {
      reason,
      foreign: header.kind === 'foreign',
    });
  }

  const start = { offset: lf + 1, crc: header.crc };
  if (snapshot !== null && !ignoreSnapshot && snapshot.window.file === ACTIVE_FILE) {
    const { window } = snapshot;
    if (window.offset >= start.offset && window.offset <= size) {
      const before = { seq: window.seq - 1, epoch: 0, crc: window.crc };
      const tail = await scan(file, window.offset, size, before);
      if (snapshotFits(snapshot, tail.records)) {
        return conclude(start, tail, size, { state: snapshot.state, seq: snapshot.seq }, null);
      }
    }
  }
  const whole = await scan(file, start.offset, size, { seq: 0, epoch: 0, crc: start.crc });
  return conclude(start, whole, size, null, snapshot);
}

function conclude(
  start: Examined['start'],
  found: Scan,
  size: number,
  used: OpenedLog['snapshot'],
  unused: Snapshot | null,
): Examined {
  const { bad, chain, end, records } = found;
  let reason: string | null = null;
  if (bad?.recordsBehind) reason = bad.reason;
  else if (unused !== null && unused.seq > chain.seq) {
    reason = shorterThanSnapshot(chain.seq, unused) + (bad ? `; ${bad.reason}` : '');
  }
  return {
    start,
    end,
    chain,
    records,
    snapshot: used,
    quarantine: reason === null ? null : { file: ACTIVE_FILE, offset: end, reason },
    tornBytes: reason === null ? size - end : 0,
    headerMissing: false,
  };
}

/** A log that lost its header may be one whose creation was cut short, or a damaged one. */
async function examineWithoutHeader(
  file: OpenFile,
  session: string,
  snapshot: Snapshot | null,
  size: number,
  head: Buffer,
  fault: { reason: string; foreign: boolean },
): Promise<Examined> {
  const { line, crc } = encodeHeader(session);
  const expected = Buffer.from(`${line}\n`);
  const chain = { seq: 0, epoch: 0, crc };
  let reason: string | null = null;
  if (fault.foreign || (await findRecordBehind(file, 0, size, 0))) reason = fault.reason;
  else if (snapshot !== null) reason = shorterThanSnapshot(0, snapshot);
  // The beginning of the right header holds nothing that is worth keeping.
  const cutShort = size < expected.length && expected.subarray(0, size).equals(head);
  return {
    start: { offset: expected.length, crc },
    end: reason === null ? expected.length : 0,
    chain,
    records: [],
    snapshot: null,
    quarantine: reason === null ? null : { file: ACTIVE_FILE, offset: 0, reason },
    tornBytes: reason === null && !cutShort ? size : 0,
    headerMissing: reason === null,
  };
}

async function scan(file: OpenFile, from: number, size: number, before: Chain): Promise<Scan> {
  const records: StoredRecord[] = [];
  let chain = before;
  for await (const lines of readLines(file, from, size)) {
    for (const { bytes, offset, complete } of lines) {
      const decoded = complete
        ? decodeRecord(bytes, chain, { isOneOfFew: records.length < FEW })
        : { ok: false as const, reason: 'the last line is cut' };
      if (!decoded.ok) {
        const recordsBehind = await findRecordBehind(file, offset, size, chain.seq);
        return { records, chain, end: offset, bad: { reason: decoded.reason, recordsBehind } };
      }
      records.push(decoded.record);
      chain = decoded.chain;
    }
  }
  return { records, chain, end: size, bad: null };
}

/** Whether behind the bad line at `offset` there is a complete one with a seq above `seq`. */
async function findRecordBehind(
  file: OpenFile,
  offset: number,
  size: number,
  seq: number,
): Promise<boolean> {
  for await (const lines of readLines(file, offset, size)) {
    for (const line of lines) {
      if (line.complete && line.offset > offset && isRecordAfter(line.bytes, seq)) return true;
    }
  }
  return false;
}
