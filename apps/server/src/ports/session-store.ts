import type { DuragentError, SessionEvent, StoredEvent } from '@duragent/protocol';
import type { SessionSummary } from '../core/session/summary.ts';

/** One durable record: the event, and the line that holds it (with its CRC, without the LF). */
export interface StoredRecord {
  event: StoredEvent;
  line: string;
}

/** Why a log may be read up to a place and not written. */
export interface Quarantine {
  /** Name of the file in the session's folder. */
  file: string;
  /** Byte offset of the first bad record. */
  offset: number;
  reason: string;
}

/** A session's log, open for its one writer. */
export interface SessionLog {
  readonly session: string;
  /** Seq of the last record accepted by `append`, durable or on its way; 0 for an empty log. */
  readonly lastSeq: number;
  /** Set when the log is damaged before its end: `append` refuses with `session_quarantined`. */
  readonly quarantine: Quarantine | null;
  /**
   * Appends events whose seqs follow `expectedSeq` without a gap. Calls may overlap: those that
   * arrive while a sync runs are written together and share the next one. `mayWaitMs`: nobody waits
   * for these, so that they may wait so long for others to share the sync of; 0 by default.
   * @returns the records, once they are durable, in order of the calls.
   * @throws DuragentError, with nothing written: `seq_conflict`, `record_too_large`, `epoch_lost`
   *   (an epoch behind the log's), `queue_full`, `session_quarantined`. `storage_full` or
   *   `storage_failed`: neither these events nor any later ones are in the log, and the log must
   *   be closed and opened again.
   */
  append(
    events: readonly SessionEvent[],
    expectedSeq: number,
    options?: { mayWaitMs?: number },
  ): Promise<StoredRecord[]>;
  /**
   * Durable records with seq > `after`, oldest first, at most `limit`; fewer where they are large,
   * but at least one if there is one.
   * @throws DuragentError `log_corrupt` naming file and offset, where a record does not check.
   */
  read(after: number, limit: number): Promise<StoredRecord[]>;
  /**
   * Writes the snapshot: a cache. `state` is plain JSON folded up to `seq`, which is durable;
   * `windowSeq` is the first seq that opening has to read again, at most `seq` + 1. Appends go on
   * meanwhile. When it fails the one before still counts.
   */
  writeSnapshot(state: unknown, seq: number, windowSeq: number): Promise<void>;
  /**
   * Begins no write any more, because another process may own the log: appends that have not begun
   * reject with `error`, and so do all later ones. What is under way ends. Closes nothing.
   */
  abandon(error: DuragentError): void;
  /**
   * Waits for what is under way, closes the files and keeps the summary for listings; null: the next start opens it, unless the
   * log is quarantined or a write of it failed: then, and with null, the next start has to open it.
   */
  close(summary: SessionSummary | null): Promise<void>;
}

/** What opening a log found. */
export interface OpenedLog {
  log: SessionLog;
  /** A usable snapshot: it belongs to this log and is not ahead of it. Null: fold all records. */
  snapshot: { state: unknown; seq: number } | null;
  /** Every good record from the snapshot's window start (or from seq 1) to the end. */
  records: StoredRecord[];
  /** Bytes cut off behind the last good record, and the file that keeps them. */
  torn: { bytes: number; savedAs: string } | null;
}

/** Durable session logs. One process writes. */
export interface SessionStore {
  /** Makes an empty log. @throws DuragentError `conflict` if there is one, `session_not_found` for what is no session id. */
  create(session: string): Promise<SessionLog>;
  /**
   * Opens a log, checks it, and cuts off a torn end.
   * @param ignoreSnapshot reads the whole log.
   * @throws DuragentError `session_not_found`, `log_newer`, `conflict` while it is open,
   *   `log_corrupt` where the log is missing and its snapshot is not, `storage_full`,
   *   `storage_failed`. The other sessions are not concerned.
   */
  open(session: string, options?: { ignoreSnapshot?: boolean }): Promise<OpenedLog>;
  /** What listings know of every session that was closed cleanly and not touched since. */
  summaries(): Promise<SessionSummary[]>;
  /** Sessions that a start has to open: not closed cleanly, unknown to the index, or of another size. */
  unclean(): Promise<string[]>;
  /** Removes a closed session with all its files. @throws DuragentError `session_not_found`, `conflict` while it is open. */
  delete(session: string): Promise<void>;
  /** Brings the index and the list of open sessions up to date. Every log is closed before. */
  close(): Promise<void>;
}
