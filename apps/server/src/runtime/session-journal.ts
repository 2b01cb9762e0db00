import { DuragentError, type SessionEvent } from '@duragent/protocol';
import { decide } from '../core/session/decide.ts';
import { type Fold, foldSteps } from '../core/session/fold.ts';
import type { Rules } from '../core/session/rules.ts';
import type { SessionInput } from '../core/session/session-input.ts';
import { type SessionSummary, summarize } from '../core/session/summary.ts';
import type { Clock } from '../ports/clock.ts';
import type { Quarantine, SessionLog, StoredRecord } from '../ports/session-store.ts';
import { answerTooLarge, isTooLarge, quarantined, recordTooLarge, stopping } from './refusals.ts';
import type { Logger } from './logger.ts';
import { Snapshots } from './snapshots.ts';

/** A log that was opened and folded. */
export interface OpenedSession extends Fold {
  log: SessionLog;
  /** Seq of the snapshot on disk; 0: none. */
  snapshotSeq: number;
  torn: { bytes: number; savedAs: string } | null;
  /** Called once when the log can no longer be written: close this and open the session anew. */
  onFailure: (error: DuragentError) => void;
}

/**
 * So long a record that nobody waits for may wait to share the sync of the next one, in ms: that a
 * delivery was done, of the next message; a message that its inbox holds, of an answer that comes at once.
 */
const DELIVERED_MS = 20;
const ARRIVED_MS = 2;

/** Who is told of what becomes of inputs. */
interface JournalListener {
  /** The state has moved by these events, or by none; they may still be written. */
  decided: (events: readonly SessionEvent[]) => void;
  /** They are on disk. `hasEnded`: with the end of the session. */
  durable: (records: StoredRecord[], hasEnded: boolean) => void;
  /** The log cannot be written any more. Told once. */
  failed: (why: DuragentError) => void;
}

/**
 * The log of one session while it is open, and the state that it gives. Inputs are decided one
 * after another: the state moves at once, and what moved it becomes durable in the same order.
 */
export class SessionJournal {
  readonly #log: SessionLog;
  readonly #on: JournalListener;
  readonly #snapshots: Snapshots;
  readonly #over = new AbortController();
  #now: Fold;
  #durable: Fold;
  #written: Promise<void> = Promise.resolve();
  #failure: DuragentError | null = null;

  constructor(opened: OpenedSession, deps: { clock: Clock; log: Logger }, on: JournalListener) {
    this.#log = opened.log;
    this.#on = on;
    this.#snapshots = new Snapshots(opened.log, opened.snapshotSeq, deps);
    this.#now = { state: opened.state, window: opened.window };
    this.#durable = this.#now;
  }

  /** All that is decided; the log may still be written. */
  get now(): Fold {
    return this.#now;
  }

  /** All that is on disk. */
  get durable(): Fold {
    return this.#durable;
  }

  /** Whether all that is decided is on disk. */
  get isWritten(): boolean {
    return this.#now.state.seq === this.#durable.state.seq;
  }

  /** Aborted once it takes nothing any more: it is closed, or it failed. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** Why nothing may be written any more; null: it may, or it was closed as it should be. */
  get failure(): DuragentError | null {
    return this.#failure;
  }

  /** Where the log is damaged; null: nowhere. */
  get quarantine(): Quarantine | null {
    return this.#log.quarantine;
  }

  /** What listings show of what is on disk. */
  summary(): SessionSummary {
    // Of a log that is damaged from its first byte on, only the name is known.
    return { ...summarize(this.#durable.state), session: this.#log.session };
  }

  /** @throws DuragentError session_quarantined, or why it failed. */
  assertWritable(): void {
    if (this.#failure) throw this.#failure;
    if (this.#log.quarantine) throw quarantined(this.#log.quarantine);
  }

  /** Resolves when everything decided so far is on disk. Rejects with `failure`. */
  written(): Promise<void> {
    return this.#written;
  }

  /**
   * Decides one input. The state moves at once; it resolves when what that caused is on disk.
   * Rejects with `failure`, `draining` once it is closed, `record_too_large`.
   */
  submit(input: SessionInput, rulesNow: () => Rules): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#over.signal.aborted) return Promise.reject(stopping());
    const { state } = this.#now;
    const rules = rulesNow();
    let steps = decide(state, input, rules);
    if (steps.some(({ event }) => isTooLarge(event))) {
      if (input.type !== 'model_finished') return Promise.reject(recordTooLarge());
      steps = decide(state, answerTooLarge(input), rules);
    }
    const events = steps.map(({ event }) => event);
    if (events.length > 0) {
      const after = foldSteps(this.#now, steps);
      this.#now = after;
      const mayWaitMs = Math.min(...events.map(waitOf));
      this.#written = this.#log.append(events, state.seq, { mayWaitMs }).then(
        (records) => this.#becomeDurable(records, after),
        (error: unknown) => this.#fail(error),
      );
      this.#written.catch(() => undefined); // a rejection that every caller gets a copy of
    }
    this.#on.decided(events);
    return this.#written;
  }

  /** Takes nothing more at once, and closes nothing: nothing may be written any more. */
  abandon(why: DuragentError): void {
    this.#failure ??= why;
    this.#over.abort();
    this.#log.abandon(why);
  }

  /** Takes nothing more at once; resolves when all is on disk, with its snapshot, and the log is let go. */
  async close(): Promise<void> {
    this.#over.abort();
    await Promise.allSettled([this.#written, this.#snapshots.settled()]);
    if (!this.#failure && !this.#log.quarantine) await this.#snapshots.finish(this.#durable);
    await this.#log.close(this.summary());
  }

  #becomeDurable(records: StoredRecord[], after: Fold): void {
    const hasEnded = after.state.ended !== null && this.#durable.state.ended === null;
    this.#durable = after;
    // First those who wait for it: a snapshot costs time.
    this.#on.durable(records, hasEnded);
    this.#snapshots.durable(after.state, () => this.#durable);
  }

  #fail(error: unknown): never {
    if (this.#failure) throw this.#failure;
    this.#failure =
      error instanceof DuragentError
        ? error
        : new DuragentError('storage_failed', 'The session cannot be written.', { cause: error });
    this.#over.abort();
    this.#on.failed(this.#failure);
    throw this.#failure;
  }
}

/**
 * How long an event may wait, in ms: one that a crash takes along without a loss. A delivery whose end
 * is lost is settled as one that may have been done; a message of an inbox is handed over again.
 */
function waitOf(event: SessionEvent): number {
  switch (event.type) {
    case 'delivery_finished':
      return event.outcome === 'delivered' ? DELIVERED_MS : 0;
    case 'user_message':
      return event.source.inbox ? ARRIVED_MS : 0;
    case 'turn_started':
      return ARRIVED_MS;
    default:
      return 0;
  }
}
