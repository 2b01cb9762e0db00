import { DuragentError, idPattern, type SessionEvent } from '@duragent/protocol';
import type { SessionSummary } from '../../core/session/summary.ts';
import type {
  OpenedLog,
  Quarantine,
  SessionLog,
  SessionStore,
  StoredRecord,
} from '../../ports/session-store.ts';
import { crcOfLine } from '../files/sealed-line.ts';
import { decodeRecord, encodeAppend, encodeHeader, type Chain } from './record.ts';
import { decodeSnapshot, encodeSnapshot, shorterThanSnapshot, snapshotFits } from './snapshot.ts';

/** What a memory store keeps of a session. */
export interface MemorySession {
  /** The records, as a file would hold them. */
  lines: string[];
  /** The snapshot's text. */
  snapshot: string | null;
  /** Null while the session was touched since its last clean close. */
  summary: SessionSummary | null;
}

const MEMORY_FILE = 'memory';

/**
 * Session logs in memory, with the records that a file would hold. Another store over the same
 * `kept` sees what this one left, as after a restart.
 */
export function memorySessionStore(kept: Map<string, MemorySession> = new Map()): SessionStore {
  const inUse = new Set<string>();

  const use = (session: string): void => {
    if (inUse.has(session)) {
      throw new DuragentError('conflict', `The log of ${session} is in use: close it first.`);
    }
    inUse.add(session);
  };
  const find = (session: string): MemorySession => {
    const found = kept.get(session);
    if (found) return found;
    throw new DuragentError(
      'session_not_found',
      `There is no session ${JSON.stringify(session)}: \`duragent sessions\` lists them.`,
    );
  };
  const release = (session: string): void => {
    inUse.delete(session);
  };

  return {
    async create(session) {
      if (!idPattern('session').test(session)) find(session);
      if (kept.has(session)) {
        throw new DuragentError('conflict', `The session ${session} exists: open it instead.`);
      }
      use(session);
      const made: MemorySession = { lines: [], snapshot: null, summary: null };
      kept.set(session, made);
      return new MemoryLog(session, made, [], null, release);
    },

    async open(session, options = {}) {
      const found = find(session);
      use(session);
      return openKept(session, found, options.ignoreSnapshot ?? false, release);
    },

    async summaries() {
      return [...kept.values()].flatMap(({ summary }) => (summary ? [summary] : []));
    },

    async unclean() {
      return [...kept].flatMap(([session, { summary }]) => (summary ? [] : [session])).sort();
    },

    async delete(session) {
      find(session);
      use(session);
      kept.delete(session);
      inUse.delete(session);
    },

    async close() {},
  };
}

function openKept(
  session: string,
  found: MemorySession,
  ignoreSnapshot: boolean,
  release: (session: string) => void,
): OpenedLog {
  const records: StoredRecord[] = [];
  let chain: Chain = { seq: 0, epoch: 0, crc: encodeHeader(session).crc };
  for (const line of found.lines) {
    const decoded = decodeRecord(Buffer.from(line), chain);
    if (!decoded.ok) throw new DuragentError('log_corrupt', decoded.reason);
    records.push(decoded.record);
    chain = decoded.chain;
  }
  const snapshot = found.snapshot === null ? null : decodeSnapshot(found.snapshot, session);
  const ahead = snapshot !== null && snapshot.seq > chain.seq;
  const quarantine = ahead
    ? { file: MEMORY_FILE, offset: 0, reason: shorterThanSnapshot(chain.seq, snapshot) }
    : null;
  if (quarantine) found.summary = null;
  const log = new MemoryLog(session, found, records, quarantine, release);
  if (snapshot !== null && !ignoreSnapshot && snapshot.window.file === MEMORY_FILE) {
    const window = records.slice(snapshot.window.seq - 1);
    if (snapshotFits(snapshot, window)) {
      const { state, seq } = snapshot;
      return { log, snapshot: { state, seq }, records: window, torn: null };
    }
  }
  return { log, snapshot: null, records, torn: null };
}

class MemoryLog implements SessionLog {
  readonly session: string;
  readonly quarantine: Quarantine | null;
  readonly #kept: MemorySession;
  readonly #records: StoredRecord[];
  readonly #release: (session: string) => void;
  #accepted: Chain;
  #closed = false;
  #failure: DuragentError | null = null;

  constructor(
    session: string,
    kept: MemorySession,
    records: readonly StoredRecord[],
    quarantine: Quarantine | null,
    release: (session: string) => void,
  ) {
    this.session = session;
    this.quarantine = quarantine;
    this.#kept = kept;
    this.#records = [...records];
    this.#release = release;
    const last = records[records.length - 1];
    this.#accepted = {
      seq: last?.event.seq ?? 0,
      epoch: last?.event.epoch ?? 0,
      crc: last ? crcOfLine(last.line) : encodeHeader(session).crc,
    };
  }

  get lastSeq(): number {
    return this.#accepted.seq;
  }

  async append(events: readonly SessionEvent[], expectedSeq: number): Promise<StoredRecord[]> {
    this.#assertWritable();
    const { records, chain } = encodeAppend(events, expectedSeq, this.#accepted);
    this.#accepted = chain;
    if (records.length > 0) this.#kept.summary = null;
    // As on a disk, the records are there before the caller hears of them.
    for (const record of records) {
      this.#records.push(record);
      this.#kept.lines.push(record.line);
    }
    return records;
  }

  abandon(error: DuragentError): void {
    this.#failure ??= error;
  }

  async read(after: number, limit: number): Promise<StoredRecord[]> {
    this.#assertOpen();
    const from = Math.max(after, 0);
    return this.#records.slice(from, from + Math.max(limit, 0));
  }

  async writeSnapshot(state: unknown, seq: number, windowSeq: number): Promise<void> {
    this.#assertWritable();
    if (seq < 1 || seq > this.lastSeq || windowSeq < 1 || windowSeq > seq + 1) {
      throw new DuragentError(
        'internal',
        `A snapshot of ${this.session} at seq ${seq} from ${windowSeq} does not fit a log that ends at ${this.lastSeq}.`,
      );
    }
    this.#kept.snapshot = encodeSnapshot(this.session, {
      seq,
      crc: this.#crcOf(seq),
      window: { file: MEMORY_FILE, offset: 0, seq: windowSeq, crc: this.#crcOf(windowSeq - 1) },
      state,
    });
  }

  #crcOf(seq: number): number {
    const record = this.#records[seq - 1];
    return record ? crcOfLine(record.line) : encodeHeader(this.session).crc;
  }

  async close(summary: SessionSummary | null): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.quarantine && !this.#failure && summary)
      this.#kept.summary = structuredClone(summary);
    this.#release(this.session);
  }

  #assertOpen(): void {
    if (!this.#closed) return;
    throw new DuragentError(
      'storage_failed',
      `The log of ${this.session} is closed: open it again.`,
    );
  }

  #assertWritable(): void {
    this.#assertOpen();
    if (this.#failure) throw this.#failure;
    if (!this.quarantine) return;
    throw new DuragentError(
      'session_quarantined',
      `${this.session} is readable but takes no writes: ${this.quarantine.reason}.`,
      { details: { ...this.quarantine } },
    );
  }
}
