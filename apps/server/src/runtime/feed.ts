import type { Delta, DraftDelta, StoredEvent } from '@duragent/protocol';
import type { StoredRecord } from '../ports/session-store.ts';
import { ShownDraft } from './shown-draft.ts';

/** What a reader of a session gets: durable records, and deltas that are not. */
export type Frame = { kind: 'event'; record: StoredRecord } | { kind: 'delta'; delta: Delta };

/** Where a reader is: how far in the log, how far in the draft, and whom it was told is there. */
export interface Position {
  /** Seq of the last record it has. */
  seq: number;
  /** Which draft, and how many UTF-16 units of it, it has; all of those before, too. */
  draft: number;
  units: number;
  clients: number;
}

/** What the ring may hold, in UTF-16 units of its lines. */
const MAX_RING_UNITS = 4 * 1024 * 1024;
/** How many records it keeps, and how many units at most, while nobody reads: effects look for the newest. */
const UNREAD = { records: 16, units: 64 * 1024 };
/**
 * How many drafts it keeps for readers, and how many UTF-16 units of them: of a burst of quick answers,
 * as many as messages may wait, those that become durable together.
 */
const MAX_DRAFTS = 64;
const MAX_DRAFT_UNITS = 4 * 1024 * 1024;

/**
 * What all readers of one session share: the newest records, few where there is no reader, and
 * the draft of the step in progress with those just before it. A reader is a `Position`; a slow one
 * gets bigger pieces, and nothing waits for it.
 */
export class Feed {
  readonly #capacity: number;
  #ring: StoredRecord[] = [];
  /** UTF-16 units of the ring's lines. */
  #ringUnits = 0;
  #lastSeq: number;
  /** The newest drafts, oldest first; while nobody reads only the last. */
  #drafts: ShownDraft[] = [];
  /** The newest draft that is no longer kept. */
  #dropped: { id: number; units: number } = { id: 0, units: 0 };
  #clients = 0;
  #readers = 0;
  /** What readers wait for; null: nobody waits. */
  #changed: PromiseWithResolvers<void> | null = null;

  constructor(options: { capacity: number; lastSeq: number }) {
    this.#capacity = options.capacity;
    this.#lastSeq = options.lastSeq;
  }

  /** Seq of the newest durable record. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  get clients(): number {
    return this.#clients;
  }

  set clients(count: number) {
    this.#clients = count;
    this.wake();
  }

  /** A reader comes; it reads the log up to where the ring begins. */
  enter(): void {
    this.#readers += 1;
  }

  /** One that came leaves; behind the last one only the newest records and the newest draft are kept. */
  leave(): void {
    this.#readers -= 1;
    this.#trim();
    this.#trimDrafts();
  }

  /** Shows records that have become durable. */
  publish(records: readonly StoredRecord[]): void {
    for (const record of records) {
      this.#ring.push(record);
      this.#ringUnits += record.line.length;
      this.#lastSeq = record.event.seq;
      if (endsDraft(record.event)) this.#closeDrafts(record.event.seq);
    }
    this.#trim();
    this.wake();
  }

  /** Drops the oldest records; a reader that is behind them reads the log. */
  #trim(): void {
    const isRead = this.#readers > 0;
    const most = isRead ? this.#capacity : Math.min(this.#capacity, UNREAD.records);
    const mostUnits = isRead ? MAX_RING_UNITS : UNREAD.units;
    let drop = this.#ring.length >= 2 * most ? this.#ring.length - most : 0;
    let units = this.#ringUnits;
    for (let i = 0; i < this.#ring.length && (i < drop || units > mostUnits); i += 1) {
      units -= this.#ring[i]?.line.length ?? 0;
      drop = Math.max(drop, i + 1);
    }
    if (drop === 0) return;
    this.#ring = this.#ring.slice(drop);
    this.#ringUnits = units;
  }

  /** A record that the ring still holds. */
  recordAt(seq: number): StoredRecord | undefined {
    const first = this.#ring[0]?.event.seq ?? seq + 1;
    return this.#ring[seq - first];
  }

  /** A record holds, or makes void, what was drafted before it. */
  #closeDrafts(seq: number): void {
    for (const draft of this.#drafts) {
      if (draft.after < seq) draft.close(seq);
    }
  }

  /** Drops the oldest drafts, but none that nobody could read yet. */
  #trimDrafts(): void {
    const most = this.#readers > 0 ? MAX_DRAFTS : 1;
    let units = this.#drafts.reduce((sum, draft) => sum + draft.units, 0);
    while (this.#drafts.length > most || units > MAX_DRAFT_UNITS) {
      const [oldest] = this.#drafts;
      if (!oldest || oldest.closedSeq === null || this.#drafts.length === 1) return;
      this.#dropped = { id: oldest.id, units: oldest.units };
      units -= oldest.units;
      this.#drafts.shift();
    }
  }

  /**
   * Adds a fragment of a step; one of another step or attempt begins a new draft. Nothing of that
   * is read before the record `after` is.
   */
  addDelta(delta: DraftDelta, after = 0): void {
    const key = ShownDraft.keyOf(delta);
    let draft = this.#drafts.at(-1);
    if (!draft || draft.closedSeq !== null || draft.key !== key) {
      // Calls have come to their ends before the model is asked again: no record says that of all.
      if (draft?.isOfTools) draft.close(after);
      draft = new ShownDraft({ id: (draft?.id ?? 0) + 1, key, after, capacity: this.#capacity });
      this.#drafts.push(draft);
      this.#trimDrafts();
    }
    draft.add(delta);
    this.wake();
  }

  /** Resolves at the next change, or `wake`. */
  changed(): Promise<void> {
    this.#changed ??= Promise.withResolvers<void>();
    return this.#changed.promise;
  }

  /**
   * The position of a reader that has everything up to `seq`, and nothing of drafts that still grow
   * or follow the record `wordsFrom` or a later one.
   */
  position(seq: number, wordsFrom = Infinity): Position {
    const has =
      this.#drafts.findLast((draft) => draft.closedSeq !== null && draft.after < wordsFrom) ??
      this.#dropped;
    return { seq, draft: has.id, units: has.units, clients: -1 };
  }

  /** Where the ring begins: records before this seq are read from the log. */
  get firstSeq(): number {
    return this.#ring[0]?.event.seq ?? this.#lastSeq + 1;
  }

  /** What the model has said so far in one attempt of a step. */
  text(turn: string, step: number, attempt: number): string {
    const key = ShownDraft.keyOfAttempt(turn, step, attempt);
    return this.#drafts.findLast((draft) => draft.key === key)?.text() ?? '';
  }

  /**
   * All frames behind a position, which moves to the end: for each draft the records before the one
   * that closed it and the rest of the draft, then that record and what follows. Before all of it
   * `lagged`, where words that it does not have are no longer kept.
   * @returns null where the ring does not reach back that far: then the log has to be read.
   */
  take(position: Position): Frame[] | null {
    const first = this.firstSeq;
    const { id, units } = this.#dropped;
    const hasMissed = position.draft < id || (position.draft === id && position.units < units);
    if (hasMissed) Object.assign(position, { draft: id, units });
    if (position.seq + 1 < first) return null;
    const frames: Frame[] = hasMissed ? [{ kind: 'delta', delta: { type: 'lagged' } }] : [];
    const takeRecords = (before: number): void => {
      for (let i = position.seq + 1 - first; i < this.#ring.length; i += 1) {
        const record = this.#ring[i];
        if (!record || record.event.seq >= before) return;
        frames.push({ kind: 'event', record });
        position.seq = record.event.seq;
      }
    };
    for (const draft of this.#drafts) {
      const closedSeq = draft.closedSeq ?? Infinity;
      if (draft.id < position.draft || draft.after > this.#lastSeq) continue;
      if (position.seq < closedSeq) {
        takeRecords(closedSeq);
        const has = draft.id === position.draft ? position.units : 0;
        for (const delta of draft.rest(has)) frames.push({ kind: 'delta', delta });
      }
      position.draft = draft.id;
      position.units = draft.units;
    }
    takeRecords(Infinity);
    if (position.clients !== this.#clients) {
      position.clients = this.#clients;
      frames.push({ kind: 'delta', delta: { type: 'presence', clients: this.#clients } });
    }
    return frames;
  }

  /** Lets every waiting reader look again. */
  wake(): void {
    this.#changed?.resolve();
    this.#changed = null;
  }
}

/** Whether a record holds, or makes void, what the draft showed. */
function endsDraft(event: StoredEvent): boolean {
  return (
    event.type === 'assistant_message' ||
    event.type === 'model_call_failed' ||
    event.type === 'turn_paused' ||
    event.type === 'turn_finished'
  );
}
