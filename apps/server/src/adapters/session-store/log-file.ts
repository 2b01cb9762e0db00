import path from 'node:path';
import { DuragentError, type SessionEvent } from '@duragent/protocol';
import type { SessionSummary } from '../../core/session/summary.ts';
import type { Quarantine, SessionLog, StoredRecord } from '../../ports/session-store.ts';
import {
  appendDurably,
  replaceFile,
  storageError,
  type Files,
  type OpenFile,
} from '../files/files.ts';
import { readLines } from '../files/line-reader.ts';
import { ACTIVE_FILE } from './opening.ts';
import { decodeRecord, encodeAppend, type Chain } from './record.ts';
import { corrupt, findRecord, type Place } from './search.ts';
import { encodeSnapshot } from './snapshot.ts';

/** What one read gives at most, besides its last record. */
const MAX_READ_BYTES = 2 * 1024 * 1024;

/** Name of a session's snapshot. */
export const SNAPSHOT_FILE = 'state.yaml';

/** What a log needs of the store it belongs to. */
export interface LogHost {
  files: Files;
  /** Called before the first append since opening; it writes nothing before this has resolved. */
  beforeFirstAppend(session: string): Promise<void>;
  /** Called once the files are closed; null: not all that was accepted is durable, or known. */
  closed(session: string, summary: SessionSummary | null, size: number): Promise<void>;
  /** Called when a sync failed: what the disk holds is not known any more. */
  syncFailed(session: string, error: DuragentError): void;
}

/** A log as opening found it. */
export interface LogPosition {
  session: string;
  directory: string;
  file: OpenFile;
  start: { offset: number; crc: number };
  end: number;
  chain: Chain;
  quarantine: Quarantine | null;
}

interface Waiting {
  text: string;
  records: StoredRecord[];
  chain: Chain;
  resolve(records: StoredRecord[]): void;
  reject(error: DuragentError): void;
}

/** Appends beyond this many characters waiting for the disk are refused. */
const MAX_WAITING = 64 * 1024 * 1024;

/** A session's log in one file. */
export class LogFile implements SessionLog {
  readonly session: string;
  readonly quarantine: Quarantine | null;
  readonly #host: LogHost;
  readonly #directory: string;
  readonly #file: OpenFile;
  readonly #first: Place;
  /** The end of what is durable. */
  #end: Place;
  /** The end of what `append` accepted. */
  #accepted: Chain;
  #waiting: Waiting[] = [];
  #waitingLength = 0;
  #flushing: Promise<void> | null = null;
  /** Set while all that waits may wait for more: until then, on `performance.now()`. */
  #later: { timer: NodeJS.Timeout; at: number } | null = null;
  #announced: boolean;
  #failure: DuragentError | null = null;
  #closing: Promise<void> | null = null;
  /** Where the last page of `read` ended: pages are mostly read in order. */
  #nextPage: Place | null = null;
  readonly #reading = new Set<Promise<unknown>>();
  #snapshots: Promise<void> = Promise.resolve();

  constructor(host: LogHost, position: LogPosition, announced: boolean) {
    const { session, directory, file, start, end, chain, quarantine } = position;
    this.session = session;
    this.quarantine = quarantine;
    this.#host = host;
    this.#directory = directory;
    this.#file = file;
    this.#first = { seq: 1, ...start };
    this.#end = { seq: chain.seq + 1, offset: end, crc: chain.crc };
    this.#accepted = chain;
    this.#announced = announced;
  }

  get lastSeq(): number {
    return this.#accepted.seq;
  }

  append(
    events: readonly SessionEvent[],
    expectedSeq: number,
    { mayWaitMs = 0 }: { mayWaitMs?: number } = {},
  ): Promise<StoredRecord[]> {
    // What is thrown in here rejects it.
    return new Promise((resolve, reject) => {
      this.#assertWritable();
      const { records, text, chain } = encodeAppend(events, expectedSeq, this.#accepted);
      if (records.length === 0) {
        resolve([]);
        return;
      }
      if (this.#waitingLength + text.length > MAX_WAITING) {
        throw new DuragentError('queue_full', 'Too much waits for the disk: try again later.');
      }
      this.#accepted = chain;
      this.#waitingLength += text.length;
      this.#waiting.push({ text, records, chain, resolve, reject });
      if (mayWaitMs > 0) this.#flushWithin(mayWaitMs);
      else this.#flushNow();
    });
  }

  #flushWithin(ms: number): void {
    const at = performance.now() + ms;
    if (this.#flushing || (this.#later && this.#later.at <= at)) return;
    this.#endWait();
    this.#later = { timer: setTimeout(() => this.#flushNow(), ms), at };
  }

  #flushNow(): void {
    this.#endWait();
    this.#flushing ??= this.#flush();
  }

  #endWait(): void {
    clearTimeout(this.#later?.timer);
    this.#later = null;
  }

  abandon(error: DuragentError): void {
    this.#endWait();
    this.#failure ??= error;
    const refused = this.#waiting;
    this.#waiting = [];
    this.#waitingLength = 0;
    for (const { reject } of refused) reject(error);
  }

  #assertWritable(): void {
    if (this.#closing) throw closedError(this.session);
    if (this.#failure) {
      throw new DuragentError(this.#failure.code, this.#failure.message, { cause: this.#failure });
    }
    if (this.quarantine) {
      const { file, offset, reason } = this.quarantine;
      throw new DuragentError(
        'session_quarantined',
        `${this.session} is readable but takes no writes: ${file} is damaged at byte ${offset} (${reason}). Restore it from a backup, or start another session.`,
        { details: { ...this.quarantine } },
      );
    }
  }

  /** Writes all that waits as one group, until nothing waits. Never rejects. */
  async #flush(): Promise<void> {
    // What is decided in the same breath shares the sync.
    await new Promise(setImmediate);
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      this.#waitingLength = 0;
      try {
        await this.#writeGroup(group);
      } catch (error) {
        const failure = storageError(error, `Cannot write the log of ${this.session}`);
        this.#failure = failure;
        const refused = group.concat(this.#waiting);
        this.#waiting = [];
        this.#accepted = { ...this.#accepted, seq: this.#end.seq - 1, crc: this.#end.crc };
        for (const { reject } of refused) reject(failure);
        break;
      }
      for (const { resolve, records } of group) resolve(records);
    }
    this.#flushing = null;
  }

  async #writeGroup(group: Waiting[]): Promise<void> {
    if (!this.#announced) {
      await this.#host.beforeFirstAppend(this.session);
      this.#announced = true;
    }
    if (this.#failure) throw this.#failure; // abandoned meanwhile
    const bytes = Buffer.from(group.map(({ text }) => text).join(''));
    const failed = await appendDurably(this.#file, bytes, this.#end.offset);
    if (failed) {
      const failure = storageError(failed.error, `Cannot write the log of ${this.session}`);
      if (failed.isUnknown) this.#host.syncFailed(this.session, failure);
      throw failure;
    }
    const last = group[group.length - 1]?.chain ?? this.#accepted;
    this.#end = { seq: last.seq + 1, offset: this.#end.offset + bytes.length, crc: last.crc };
  }

  read(after: number, limit: number): Promise<StoredRecord[]> {
    if (this.#closing) return Promise.reject(closedError(this.session));
    const end = this.#end;
    const seq = Math.max(after, 0) + 1;
    if (seq >= end.seq || limit <= 0) return Promise.resolve([]);
    return this.#track(this.#readFrom(seq, limit, end));
  }

  async #readFrom(seq: number, limit: number, end: Place): Promise<StoredRecord[]> {
    try {
      const start = this.#nextPage?.seq === seq ? this.#nextPage : await this.#find(seq, end);
      let chain: Chain = { seq: seq - 1, epoch: 0, crc: start.crc };
      const records: StoredRecord[] = [];
      let bytesRead = 0;
      for await (const lines of readLines(this.#file, start.offset, end.offset)) {
        for (const { bytes, offset } of lines) {
          if (records.length === limit || bytesRead >= MAX_READ_BYTES) {
            this.#nextPage = { seq: chain.seq + 1, offset, crc: chain.crc };
            return records;
          }
          const decoded = decodeRecord(bytes, chain);
          if (!decoded.ok) throw corrupt(ACTIVE_FILE, offset, decoded.reason);
          records.push(decoded.record);
          bytesRead += decoded.record.line.length;
          chain = decoded.chain;
        }
      }
      if (chain.seq + 1 !== end.seq) {
        throw corrupt(ACTIVE_FILE, end.offset, `the file ends behind record ${chain.seq}`);
      }
      this.#nextPage = end;
      return records;
    } catch (error) {
      throw storageError(error, `Cannot read the log of ${this.session}`);
    }
  }

  #find(seq: number, end: Place): Promise<Place> {
    return findRecord(this.#file, ACTIVE_FILE, seq, this.#first, end);
  }

  async writeSnapshot(state: unknown, seq: number, windowSeq: number): Promise<void> {
    this.#assertWritable();
    const written = this.#snapshots.then(() => this.#replaceSnapshot(state, seq, windowSeq));
    // The caller gets the error; the next snapshot is tried whatever came of this one.
    this.#snapshots = written.catch(() => undefined);
    await written;
  }

  async #replaceSnapshot(state: unknown, seq: number, windowSeq: number): Promise<void> {
    const end = this.#end;
    if (seq < 1 || seq >= end.seq || windowSeq < 1 || windowSeq > seq + 1) {
      throw new DuragentError(
        'internal',
        `A snapshot of ${this.session} at seq ${seq} from ${windowSeq} does not fit a log that ends at ${end.seq - 1}.`,
      );
    }
    try {
      const next = await this.#find(seq + 1, end);
      const window = await this.#find(windowSeq, next);
      const text = encodeSnapshot(this.session, {
        seq,
        crc: next.crc,
        window: { ...window, file: ACTIVE_FILE },
        state,
      });
      await replaceFile(this.#host.files, path.join(this.#directory, SNAPSHOT_FILE), text);
    } catch (error) {
      throw storageError(error, `Cannot write the snapshot of ${this.session}`);
    }
  }

  close(summary: SessionSummary | null): Promise<void> {
    this.#closing ??= this.#close(summary);
    return this.#closing;
  }

  async #close(summary: SessionSummary | null): Promise<void> {
    if (this.#waiting.length > 0) this.#flushNow();
    await Promise.allSettled([this.#flushing, this.#snapshots, ...this.#reading]);
    const clean = this.#failure === null && this.quarantine === null;
    try {
      let closed = false;
      try {
        await this.#file.close();
        closed = true;
      } finally {
        const kept = clean && closed ? summary : null;
        await this.#host.closed(this.session, kept, this.#end.offset);
      }
    } catch (error) {
      throw storageError(error, `Cannot close the log of ${this.session}`);
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#reading.add(work);
    const done = (): void => {
      this.#reading.delete(work);
    };
    work.then(done, done);
    return work;
  }
}

function closedError(session: string): DuragentError {
  return new DuragentError('storage_failed', `The log of ${session} is closed: open it again.`);
}
