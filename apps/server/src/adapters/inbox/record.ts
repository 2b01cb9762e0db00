import {
  callbackQuerySchema,
  chatMigratedSchema,
  DuragentError,
  gatewayLimitsSchema,
  MAX_RECORD_BYTES,
  messageReceivedSchema,
  type GatewayLimits,
  type InboundEvent,
} from '@duragent/protocol';
import { z } from 'zod';
import type { Disposition, InboxEntry } from '../../ports/inbox.ts';
import { checkLine, formatCrc, parseObject, sealLine } from '../files/sealed-line.ts';

/** The newest form of inbox that this version reads and the one it writes. */
const INBOX_VERSION = 1;
/** Room for what a line has beside its body: the digits of `n`, the CRC. */
const FRAME_BYTES = 64;
/** The longest key, in UTF-16 units: keys stay in memory. */
const MAX_KEY_LENGTH = 1024;

const dispositions = [
  'turn',
  'passive',
  'silent',
  'pairing',
  'command',
  'migrate',
  'unjudged',
  'block',
  'no_route',
] as const satisfies readonly Disposition[];

const inboundSchema = z.discriminatedUnion('type', [
  messageReceivedSchema,
  callbackQuerySchema,
  chatMigratedSchema,
]);

const keyPart = {
  n: z.int().min(1),
  key: z.string().min(1).max(MAX_KEY_LENGTH),
  at: z.string().refine((text) => !Number.isNaN(Date.parse(text)), 'no instant'),
};
const entrySchema = z.looseObject({
  ...keyPart,
  cursor: z.unknown().optional(),
  disposition: z.enum(dispositions),
  agent: z.string().optional(),
  event: z.unknown().optional(),
});
const keySchema = z.looseObject(keyPart);

/** What one line of an inbox says. */
export type InboxRecord =
  /** An arrival; what its event holds is not checked yet. */
  | { kind: 'entry'; entry: Omit<InboxEntry, 'event'> & { event?: unknown } }
  /** What stays of one that was handed over, once the file was written anew. */
  | { kind: 'key'; n: number; key: string; at: string }
  | { kind: 'mark'; n: number }
  | { kind: 'cursor'; cursor: unknown }
  | { kind: 'limits'; limits: GatewayLimits };

/** The first line of an inbox. Its first entry is `firstN` or a later one. */
export function encodeHeader(
  gateway: string,
  firstN = 1,
  previous = 0,
): { line: string; crc: number } {
  const body = `{"duragent_inbox":${INBOX_VERSION},"gateway":${JSON.stringify(gateway)},"first_n":${firstN},"prev_crc":"${formatCrc(previous)}"`;
  return sealLine(body, previous);
}

/**
 * An entry's members behind `n`, which it gets when it is written.
 * @throws DuragentError `record_too_large`, `internal` for an instant that is none.
 */
export function encodeEntry(entry: Omit<InboxEntry, 'n'>): string {
  const { key, at, cursor, disposition, agent, event } = entry;
  if (key === '' || Number.isNaN(Date.parse(at))) {
    throw new DuragentError(
      'internal',
      `An arrival with the key ${JSON.stringify(key.slice(0, 100))} at ${JSON.stringify(at)} cannot be kept: give it a key and an ISO instant.`,
    );
  }
  const text = JSON.stringify({ key, at, cursor, disposition, agent, event });
  const most = MAX_RECORD_BYTES - FRAME_BYTES;
  // A UTF-16 unit takes at most three bytes.
  const isLarge = text.length * 3 > most && Buffer.byteLength(text) > most;
  if (isLarge || key.length > MAX_KEY_LENGTH) {
    throw new DuragentError(
      'record_too_large',
      `An arrival has ${Buffer.byteLength(text)} bytes and a key of ${key.length} characters; at most ${most} and ${MAX_KEY_LENGTH} are kept. Send less at once.`,
    );
  }
  return text;
}

/** The body of an entry's line, ready to be sealed. */
export function entryBody(n: number, encoded: string): string {
  return `{"n":${n},${encoded.slice(1, -1)}`;
}

/** The body of any other line, ready to be sealed. */
export function otherBody(value: { mark: number } | { cursor: unknown } | { limits: object }) {
  return JSON.stringify(value).slice(0, -1);
}

const ENTRY_START = /^\{"n":(\d{1,16}),/;

/** The number of the entry that a line, as it is written here, holds; null: it holds another thing. */
export function numberOfLine(body: Buffer): number | null {
  const match = ENTRY_START.exec(body.toString('latin1', 0, 32));
  return match ? Number(match[1]) : null;
}

const KEY_START = /^\{"n":\d{1,16},"key":"[^"\\]*(?:\\.[^"\\]*)*","at":"[^"\\]+"/;
/** No key begins later than this or takes more, in bytes: a UTF-16 unit may be `\u` and four digits. */
const MAX_KEY_BYTES = 2 * FRAME_BYTES + 6 * MAX_KEY_LENGTH;

/** The body of the line that keeps only the key of an entry: what the entry's own begins with. Null: it is none. */
export function keyOfLine(body: Buffer): Buffer | null {
  const match = KEY_START.exec(body.toString('latin1', 0, MAX_KEY_BYTES));
  return match && body.subarray(0, match[0].length);
}

export type Decoded =
  { ok: true; record: InboxRecord; crc: number } | { ok: false; reason: string };

/** Reads one complete line (without LF; null: longer than a record may be) that must continue `previous`. */
export function decodeLine(bytes: Buffer | null, previous: number): Decoded {
  const checked = checkLine(bytes, previous);
  if (!checked.ok) return checked;
  const { crc, value } = checked;
  delete value['crc'];
  const record = readRecord(value);
  return record === null
    ? { ok: false, reason: 'the line is no record of an inbox' }
    : { ok: true, record, crc };
}

function readRecord(value: Record<string, unknown>): InboxRecord | null {
  if ('disposition' in value) {
    const read = entrySchema.safeParse(value);
    if (!read.success) return null;
    const { n, key, at, disposition, agent, event } = read.data;
    const entry = {
      n,
      key,
      at,
      ...('cursor' in value ? { cursor: value['cursor'] } : {}),
      disposition,
      ...(agent === undefined ? {} : { agent }),
      ...(event === undefined ? {} : { event }),
    };
    return { kind: 'entry', entry };
  }
  if ('n' in value) {
    const read = keySchema.safeParse(value);
    return read.success ? { kind: 'key', ...pickKey(read.data) } : null;
  }
  if ('cursor' in value) return { kind: 'cursor', cursor: value['cursor'] };
  if ('limits' in value) {
    const read = gatewayLimitsSchema.safeParse(value['limits']);
    return read.success ? { kind: 'limits', limits: knownLimits(read.data) } : null;
  }
  const read = z.int().min(0).safeParse(value['mark']);
  return read.success ? { kind: 'mark', n: read.data } : null;
}

function pickKey({ n, key, at }: { n: number; key: string; at: string }) {
  return { n, key, at };
}

/** Without what a gateway put in beside them: that has no bound. */
export function knownLimits(limits: GatewayLimits): GatewayLimits {
  const { max_length, length_unit, max_buttons, media_max_bytes } = limits;
  return { max_length, length_unit, max_buttons, media_max_bytes };
}

/** Reads a stored event. @returns null for what is none. */
export function readInbound(value: unknown): InboundEvent | null {
  const read = inboundSchema.safeParse(value);
  return read.success ? read.data : null;
}

export type HeaderCheck =
  | { kind: 'good'; firstN: number; crc: number }
  /** Written by a version that this one does not read. */
  | { kind: 'newer'; version: number }
  /** Whole, but the header of another gateway's inbox. */
  | { kind: 'foreign'; reason: string }
  | { kind: 'damaged'; reason: string };

/** Reads the first line of an inbox. */
export function checkHeader(bytes: Buffer | null, gateway: string): HeaderCheck {
  const parsed = bytes === null ? null : parseObject(bytes.toString('utf8'));
  const version = parsed?.['duragent_inbox'];
  // Before its CRC: how a newer version computes that is not known here.
  if (typeof version === 'number' && version > INBOX_VERSION) return { kind: 'newer', version };
  const previous = parsed?.['prev_crc'];
  const start =
    typeof previous === 'string' && /^[0-9a-f]{8}$/.test(previous)
      ? Number.parseInt(previous, 16)
      : 0;
  const checked = checkLine(bytes, start);
  if (!checked.ok) return { kind: 'damaged', reason: `the header is damaged: ${checked.reason}` };
  const header = checked.value;
  if (header['duragent_inbox'] !== INBOX_VERSION) {
    return { kind: 'damaged', reason: 'the first line is not a header' };
  }
  if (header['gateway'] !== gateway) {
    return { kind: 'foreign', reason: `it is the inbox of ${JSON.stringify(header['gateway'])}` };
  }
  const firstN = z.int().min(1).safeParse(header['first_n']);
  if (!firstN.success) return { kind: 'damaged', reason: 'the header has no first_n' };
  return { kind: 'good', firstN: firstN.data, crc: checked.crc };
}

/** Whether a line behind a damaged one is a record that was written after entry `n`. */
export function isRecordAfter(bytes: Buffer | null, n: number): boolean {
  const value = bytes === null ? null : parseObject(bytes.toString('utf8'));
  if (value === null || typeof value['crc'] !== 'string') return false;
  const record = readRecord(value);
  if (record === null) return false;
  if (record.kind === 'entry') return record.entry.n > n;
  return record.kind === 'key' ? record.n > n : true;
}
