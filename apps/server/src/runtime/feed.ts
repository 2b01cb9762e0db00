import type { Delta, DraftDelta, StoredEvent } from '@duragent/protocol';
import type { StoredRecord } from '../ports/session-store.ts';

/** What a reader of a session gets: durable records, and deltas that are not. */
export type Frame = { kind: 'event'; record: StoredRecord } | { kind: 'delta'; delta: Delta };

/** Where a reader is: how far in the log, how far in the draft, and whom it was told is there. */
export interface Position {
  /** Seq of the last record it has. */
  seq: number;
  /** Which draft, and how many UTF-16 units of it, it has. */
  draft: number;
  units: number;
  clients: number;
}

/** The newest draft: what a step has produced that is not in the log, or was not until `closedSeq`. */
interface Draft {
  key: string;
  chunks: Chunk[];
  /** How many chunks there may be before neighbours are joined. */
  mergeAt: number;
  units: number;
  /** Seq of the record that holds it, or ends it; null while it grows. */
  closedSeq: number | null;
}

/** A run of the draft: text of one kind, from one place in the whole draft to another. */
interface Chunk {
  start: number;
  end: number;
  delta: DraftDelta;
}

/** What the ring may hold, in UTF-16 units of its lines. */
const MAX_RING_UNITS = 4 * 1024 * 1024;
/** How many records it keeps, and how many units at most, while nobody reads: effects look for the newest. */
const UNREAD = { records: 16, units: 64 * 1024 };

/**
 * What all readers of one session share: the newest records, few where there is no reader, and
 * the draft of the step in progress. A reader is a `Position`; a slow one gets bigger pieces, and
 * nothing waits for it.
 */
export class Feed {
  readonly #capacity: number;
  #ring: StoredRecord[] = [];
  /** UTF-16 units of the ring's lines. */
  #ringUnits = 0;
  #lastSeq: number;
  #draft: Draft = { key: '', chunks: [], mergeAt: 0, units: 0, closedSeq: 0 };
  #drafts = 0;
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

  /** One that came leaves; behind the last one the ring is emptied but for the newest records. */
  leave(): void {
    this.#readers -= 1;
    this.#trim();
  }

  /** Shows records that have become durable. */
  publish(records: readonly StoredRecord[]): void {
    for (const record of records) {
      this.#ring.push(record);
      this.#ringUnits += record.line.length;
      this.#lastSeq = record.event.seq;
      if (this.#draft.closedSeq === null && endsDraft(record.event)) {
        this.#draft.closedSeq = record.event.seq;
      }
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

  /** Adds a fragment of a step; one of another step or attempt begins a new draft. */
  addDelta(delta: DraftDelta): void {
    const key =
      delta.type === 'tool_output' || delta.type === 'progress'
        ? `${delta.turn}/tools`
        : `${delta.turn}/${delta.step}/${delta.attempt}`;
    if (this.#draft.closedSeq !== null || this.#draft.key !== key) {
      this.#draft = { key, chunks: [], mergeAt: this.#capacity, units: 0, closedSeq: null };
      this.#drafts += 1;
    }
    const draft = this.#draft;
    const start = draft.units;
    draft.units += delta.text.length;
    draft.chunks.push({ start, end: draft.units, delta });
    if (draft.chunks.length > draft.mergeAt) {
      draft.chunks = merge(draft.chunks);
      // Chunks of changing kinds do not merge: then only when there are twice as many again.
      draft.mergeAt = Math.max(this.#capacity, 2 * draft.chunks.length);
    }
    this.wake();
  }

  /** Resolves at the next change, or `wake`. */
  changed(): Promise<void> {
    this.#changed ??= Promise.withResolvers<void>();
    return this.#changed.promise;
  }

  /** The position of a reader that has everything up to `seq` and nothing of a draft that still grows. */
  position(seq: number): Position {
    const units = this.#draft.closedSeq === null ? 0 : this.#draft.units;
    return { seq, draft: this.#drafts, units, clients: -1 };
  }

  /** The text shown so far of one attempt of a step. */
  text(turn: string, step: number, attempt: number): string {
    if (this.#draft.key !== `${turn}/${step}/${attempt}`) return '';
    return this.#draft.chunks
      .map(({ delta }) => (delta.type === 'token' ? delta.text : ''))
      .join('');
  }

  /**
   * All frames behind a position, which moves to the end: records before the one that closed the
   * draft, the rest of the draft, then that record and what follows.
   * @returns null where the ring does not reach back that far: then the log has to be read.
   */
  take(position: Position): Frame[] | null {
    const first = this.#ring[0]?.event.seq ?? this.#lastSeq + 1;
    if (position.seq + 1 < first) return null;
    const frames: Frame[] = [];
    const closedSeq = this.#draft.closedSeq ?? Infinity;
    const takeRecords = (before: number): void => {
      for (let i = position.seq + 1 - first; i < this.#ring.length; i += 1) {
        const record = this.#ring[i];
        if (!record || record.event.seq >= before) return;
        frames.push({ kind: 'event', record });
        position.seq = record.event.seq;
      }
    };
    if (position.seq < closedSeq) {
      takeRecords(closedSeq);
      for (const delta of this.#draftAfter(position)) frames.push({ kind: 'delta', delta });
    }
    takeRecords(Infinity);
    if (position.clients !== this.#clients) {
      position.clients = this.#clients;
      frames.push({ kind: 'delta', delta: { type: 'presence', clients: this.#clients } });
    }
    return frames;
  }

  #draftAfter(position: Position): DraftDelta[] {
    if (position.draft !== this.#drafts) {
      position.draft = this.#drafts;
      position.units = 0;
    }
    const { chunks, units } = this.#draft;
    const rest: Chunk[] = [];
    for (let i = chunks.length - 1; i >= 0; i -= 1) {
      const chunk = chunks[i];
      if (!chunk || chunk.end <= position.units) break;
      rest.push(cut(chunk, position.units));
    }
    position.units = units;
    return merge(rest.reverse()).map((chunk) => chunk.delta);
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

/** The part of a chunk from a place in the draft on. */
function cut(chunk: Chunk, from: number): Chunk {
  const skip = from - chunk.start;
  const { delta, end } = chunk;
  // The newest progress is a whole.
  if (skip <= 0 || delta.type === 'progress') return chunk;
  return {
    start: from,
    end,
    delta: { ...delta, offset: delta.offset + skip, text: delta.text.slice(skip) },
  };
}

/** Neighbours of one kind joined. */
function merge(chunks: readonly Chunk[]): Chunk[] {
  if (chunks.length < 2) return [...chunks];
  const merged: Chunk[] = [];
  let texts: string[] = [];
  const join = (): void => {
    const last = merged.at(-1);
    if (last && texts.length > 1) last.delta = { ...last.delta, text: texts.join('') };
  };
  for (const chunk of chunks) {
    const last = merged.at(-1);
    if (last && isSameKind(last.delta, chunk.delta)) {
      last.end = chunk.end;
      // A progress takes the place of the one before.
      if (chunk.delta.type === 'progress') last.delta = chunk.delta;
      else texts.push(chunk.delta.text);
      continue;
    }
    join();
    merged.push({ ...chunk });
    texts = [chunk.delta.text];
  }
  join();
  return merged;
}

function isSameKind(a: DraftDelta, b: DraftDelta): boolean {
  if (a.type === 'tool_output') return b.type === 'tool_output' && a.call === b.call;
  return a.type === b.type;
}
