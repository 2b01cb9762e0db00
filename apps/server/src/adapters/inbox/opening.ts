import { DuragentError, type GatewayLimits } from '@duragent/protocol';
import type { InboxEntry } from '../../ports/inbox.ts';
import { readBytes, type OpenFile } from '../files/files.ts';
import { readLines } from '../files/line-reader.ts';
import {
  checkHeader,
  decodeLine,
  encodeHeader,
  isRecordAfter,
  readInbound,
  type InboxRecord,
} from './record.ts';
import { RememberedKeys } from './remembered-keys.ts';

/** What an inbox durably says. */
export interface InboxContent {
  /** Number of the newest entry; 0: there was none yet. */
  lastN: number;
  /** Everything up to this entry was handed over. */
  mark: number;
  /** null: none was given yet. */
  cursor: unknown;
  limits: GatewayLimits | null;
  keys: RememberedKeys;
}

/** What reading an inbox found, before anything in it is changed. */
export interface Examined extends InboxContent {
  /** The entries above the mark, oldest first. */
  unhanded: InboxEntry[];
  /** Where the last good record ends, and its CRC. */
  end: { offset: number; crc: number };
  /** Bytes behind `end`, or behind the beginning where the header is missing, that are to be saved and cut off. */
  tornBytes: number;
  /** Whether the header is to be written again. */
  headerMissing: boolean;
}

/** Longer than any header: only the first line matters. */
const HEADER_BYTES = 4096;

/**
 * Reads an inbox and finds how far it is good.
 * @param name how errors name the file. @param after a new inbox numbers its entries above this.
 * @throws DuragentError `log_corrupt` where a record is damaged that others follow, `log_newer`.
 */
export async function examineInbox(
  file: OpenFile,
  name: string,
  gateway: string,
  after = 0,
): Promise<Examined> {
  const { size } = await file.stat();
  const head = await readBytes(file, 0, Math.min(size, HEADER_BYTES));
  const lf = head.indexOf(10);
  const header = checkHeader(lf === -1 ? head : head.subarray(0, lf), gateway);
  if (header.kind === 'newer') {
    throw new DuragentError(
      'log_newer',
      `${name} has version ${header.version}, which this version of Duragent does not read: use the newer one.`,
      { details: { version: header.version } },
    );
  }
  if (header.kind === 'foreign') throw corruptInbox(name, 0, header.reason);
  const reading = new Reading();
  if (header.kind === 'damaged' || lf === -1) {
    const reason = header.kind === 'damaged' ? header.reason : 'the header is cut';
    if (await hasRecordBehind(file, 0, size, 0)) throw corruptInbox(name, 0, reason);
    reading.beginAfter(after);
    return { ...reading.conclude(name), ...withoutHeader(gateway, size, head, after) };
  }

  reading.lastN = header.firstN - 1;
  let { crc } = header;
  for await (const lines of readLines(file, lf + 1, size)) {
    for (const { bytes, offset, complete } of lines) {
      const decoded = complete
        ? decodeLine(bytes, crc)
        : { ok: false as const, reason: 'the last line is cut' };
      const reason = decoded.ok ? reading.take(decoded.record, offset) : decoded.reason;
      if (!decoded.ok || reason !== null) {
        if (await hasRecordBehind(file, offset, size, reading.lastN)) {
          throw corruptInbox(name, offset, reason ?? 'it does not check');
        }
        const end = { offset, crc };
        return { ...reading.conclude(name), end, tornBytes: size - offset, headerMissing: false };
      }
      crc = decoded.crc;
    }
  }
  const end = { offset: size, crc };
  return { ...reading.conclude(name), end, tornBytes: 0, headerMissing: false };
}

/** An inbox whose making was cut short. */
function withoutHeader(
  gateway: string,
  size: number,
  head: Buffer,
  after: number,
): Pick<Examined, 'end' | 'tornBytes' | 'headerMissing'> {
  const { line, crc } = encodeHeader(gateway, after + 1);
  const expected = Buffer.from(`${line}\n`);
  // The beginning of the right header holds nothing that is worth keeping.
  const cutShort = size < expected.length && expected.subarray(0, size).equals(head);
  return {
    end: { offset: expected.length, crc },
    tornBytes: cutShort ? 0 : size,
    headerMissing: true,
  };
}

/** Puts the records of an inbox together. */
class Reading {
  lastN = 0;
  #mark = 0;
  #cursor: unknown = null;
  #limits: GatewayLimits | null = null;
  readonly #keys = new RememberedKeys();
  #unhanded: { entry: Omit<InboxEntry, 'event'> & { event?: unknown }; offset: number }[] = [];

  /** Of a new inbox: nothing up to here is its own. */
  beginAfter(n: number): void {
    this.lastN = n;
    this.#mark = n;
  }

  /** @returns why the record cannot stand there; null: it can. */
  take(record: InboxRecord, offset: number): string | null {
    switch (record.kind) {
      case 'entry': {
        const { entry } = record;
        if (entry.n !== this.lastN + 1) return `entry ${entry.n} follows ${this.lastN}`;
        this.#unhanded.push({ entry, offset });
        if ('cursor' in entry) this.#cursor = entry.cursor;
        this.#addKey(entry);
        return null;
      }
      case 'key':
        if (record.n <= this.lastN) return `entry ${record.n} follows ${this.lastN}`;
        this.#addKey(record);
        return null;
      case 'mark':
        this.#mark = Math.max(this.#mark, record.n);
        // In a file that was written anew the last entries up to the mark may be forgotten.
        this.lastN = Math.max(this.lastN, record.n);
        if ((this.#unhanded[0]?.entry.n ?? Infinity) <= record.n) {
          this.#unhanded = this.#unhanded.filter(({ entry }) => entry.n > record.n);
        }
        return null;
      case 'cursor':
        this.#cursor = record.cursor;
        return null;
      case 'limits':
        this.#limits = record.limits;
        return null;
    }
  }

  #addKey({ key, n, at }: { key: string; n: number; at: string }): void {
    this.#keys.add(key, n, at, this.#mark);
    this.lastN = n;
  }

  conclude(name: string): InboxContent & { unhanded: InboxEntry[] } {
    const unhanded = this.#unhanded.map(({ entry, offset }) => {
      const { event: stored, ...rest } = entry;
      if (stored === undefined) return rest;
      const event = readInbound(stored);
      if (event === null) throw corruptInbox(name, offset, 'the entry holds no valid event');
      return { ...rest, event };
    });
    return {
      lastN: this.lastN,
      mark: this.#mark,
      cursor: this.#cursor,
      limits: this.#limits,
      keys: this.#keys,
      unhanded,
    };
  }
}

/** Whether behind the bad line at `offset` there is a complete one that was written after entry `n`. */
async function hasRecordBehind(
  file: OpenFile,
  offset: number,
  size: number,
  n: number,
): Promise<boolean> {
  for await (const lines of readLines(file, offset, size)) {
    for (const line of lines) {
      if (line.complete && line.offset > offset && isRecordAfter(line.bytes, n)) return true;
    }
  }
  return false;
}

/** The error for a record that does not check though others follow it. */
export function corruptInbox(file: string, offset: number, reason: string): DuragentError {
  return new DuragentError(
    'log_corrupt',
    `${file} is damaged at byte ${offset}: ${reason}. Restore it from a backup, or move it away: then messages that were not handed over are lost, and those that the platform repeats are taken as new.`,
    { details: { file, offset, reason } },
  );
}
