import {
  DuragentError,
  MAX_RECORD_BYTES,
  readEvent,
  type SessionEvent,
  type StoredEvent,
} from '@duragent/protocol';
import type { StoredRecord } from '../../ports/session-store.ts';
import { checkLine, parseObject, sealLine } from '../files/sealed-line.ts';

/** What a record has to continue: the last record's seq, epoch and CRC. */
export interface Chain {
  seq: number;
  epoch: number;
  crc: number;
}

/** The newest form of log that this version reads and the one it writes. */
const LOG_VERSION = 1;
/** The header of a session's first log file. It has no seq; the first record continues its CRC. */
export function encodeHeader(session: string): { line: string; crc: number } {
  const body = `{"duragent_log":${LOG_VERSION},"session":${JSON.stringify(session)},"first_seq":1,"prev_crc":"00000000"`;
  return sealLine(body, 0);
}

/** Writes one event. Its members begin with seq, epoch, at and type, and end with crc, whatever order they came in. */
export function encodeRecord(
  event: SessionEvent,
  previous: number,
): { record: StoredRecord; crc: number } {
  const { seq, epoch, at, type, ...own } = event;
  const rest = JSON.stringify(own);
  const head = `{"seq":${seq},"epoch":${epoch},"at":${JSON.stringify(at)},"type":${JSON.stringify(type)}`;
  const { line, crc } = sealLine(rest === '{}' ? head : `${head},${rest.slice(1, -1)}`, previous);
  return { record: { event, line }, crc };
}

/** What an append will write, checked. */
export interface Encoded {
  records: StoredRecord[];
  /** The lines, each ended by LF. */
  text: string;
  /** What the next append has to continue. */
  chain: Chain;
}

/**
 * Encodes the events of one append behind `chain`, which stays as it is.
 * @throws DuragentError `seq_conflict`, `epoch_lost`, `record_too_large`.
 */
export function encodeAppend(
  events: readonly SessionEvent[],
  expectedSeq: number,
  chain: Chain,
): Encoded {
  if (expectedSeq !== chain.seq) {
    throw new DuragentError(
      'seq_conflict',
      `The log ends at seq ${chain.seq}, not ${expectedSeq}: read what was added and decide again.`,
      { details: { last_seq: chain.seq } },
    );
  }
  const records: StoredRecord[] = [];
  let { seq, epoch, crc } = chain;
  let text = '';
  for (const event of events) {
    if (event.seq !== seq + 1) {
      throw new DuragentError(
        'seq_conflict',
        `Seq ${event.seq} cannot follow ${seq}: number the events without a gap.`,
        { details: { last_seq: chain.seq } },
      );
    }
    // A log whose epoch falls is quarantined when it is opened next: it must never be written.
    if (event.epoch < epoch) {
      throw new DuragentError(
        'epoch_lost',
        `Epoch ${event.epoch} is behind the log's epoch ${epoch}: stop the other server, or set EPOCH in the data directory to at least ${epoch}, and start again.`,
      );
    }
    const encoded = encodeRecord(event, crc);
    const { line } = encoded.record;
    // A UTF-16 unit takes at most three bytes.
    if (line.length * 3 > MAX_RECORD_BYTES && Buffer.byteLength(line) > MAX_RECORD_BYTES) {
      throw new DuragentError(
        'record_too_large',
        `A ${event.type} record has ${Buffer.byteLength(line)} bytes; at most ${MAX_RECORD_BYTES} are stored. Send less at once.`,
      );
    }
    records.push(encoded.record);
    text += `${line}\n`;
    seq = event.seq;
    epoch = event.epoch;
    crc = encoded.crc;
  }
  return { records, text, chain: { seq, epoch, crc } };
}

export type Decoded =
  { ok: true; record: StoredRecord; chain: Chain } | { ok: false; reason: string };

/**
 * Reads one complete line (without LF; null: longer than a record may be) that must continue `chain`.
 * `isOneOfFew` as `readEvent` has it.
 */
export function decodeRecord(
  bytes: Buffer | null,
  chain: Chain,
  options: { isOneOfFew?: boolean } = {},
): Decoded {
  const checked = checkLine(bytes, chain.crc);
  if (!checked.ok) return checked;
  const { value, line, crc } = checked;
  delete value['crc'];
  const read = readEvent(value, options);
  if (!read.ok) return { ok: false, reason: `the record is not a valid event: ${read.fault}` };
  const event: StoredEvent = read.event;
  if (event.seq !== chain.seq + 1) {
    return { ok: false, reason: `seq ${event.seq} follows ${chain.seq}` };
  }
  if (event.epoch < chain.epoch) {
    return { ok: false, reason: `epoch ${event.epoch} follows ${chain.epoch}` };
  }
  return { ok: true, record: { event, line }, chain: { seq: event.seq, epoch: event.epoch, crc } };
}

export type HeaderCheck =
  | { kind: 'good'; crc: number }
  /** Written by a version that this one does not read. */
  | { kind: 'newer'; version: number }
  /** Whole, but not the header of this session's first file. */
  | { kind: 'foreign'; reason: string }
  | { kind: 'damaged'; reason: string };

/** Reads the first line of a session's first log file. */
export function checkHeader(bytes: Buffer | null, session: string): HeaderCheck {
  const parsed = bytes === null ? null : parseObject(bytes.toString('utf8'));
  const version = parsed?.['duragent_log'];
  // Before its CRC: how a newer version computes that is not known here.
  if (typeof version === 'number' && version > LOG_VERSION) return { kind: 'newer', version };
  const previous = parsed?.['prev_crc'];
  const checked = checkLine(
    bytes,
    typeof previous === 'string' ? Number.parseInt(previous, 16) : 0,
  );
  if (!checked.ok) return { kind: 'damaged', reason: `the header is damaged: ${checked.reason}` };
  const header = checked.value;
  if (header['duragent_log'] !== LOG_VERSION) {
    return { kind: 'damaged', reason: 'the first line is not a header' };
  }
  if (header['session'] !== session) {
    return { kind: 'foreign', reason: `the log is of session ${String(header['session'])}` };
  }
  if (header['first_seq'] !== 1) {
    return {
      kind: 'foreign',
      reason: `records before seq ${String(header['first_seq'])} are missing`,
    };
  }
  return { kind: 'good', crc: checked.crc };
}

/** Whether a line behind a damaged one is a record that came after `seq`. */
export function isRecordAfter(bytes: Buffer | null, seq: number): boolean {
  const value = bytes === null ? null : parseObject(bytes.toString('utf8'));
  const own = value?.['seq'];
  return typeof own === 'number' && Number.isInteger(own) && own > seq;
}
