import type { DraftDelta } from '@duragent/protocol';

/** A run of a draft: text of one kind, from one place in the whole draft to another. */
interface Chunk {
  start: number;
  end: number;
  delta: DraftDelta;
}

/** What a step has produced that is not in the log, or was not until `closedSeq`. */
export class ShownDraft {
  readonly id: number;
  readonly key: string;
  /** Seq of the record that it comes behind: nothing of it is read before that one. */
  readonly after: number;
  #closedSeq: number | null = null;
  #chunks: Chunk[] = [];
  #units = 0;
  readonly #capacity: number;
  /** How many chunks there may be before neighbours are joined. */
  #mergeAt: number;

  constructor(of: { id: number; key: string; after: number; capacity: number }) {
    this.id = of.id;
    this.key = of.key;
    this.after = of.after;
    this.#capacity = of.capacity;
    this.#mergeAt = of.capacity;
  }

  /** What fragments of the same step and attempt share. */
  static keyOf(delta: DraftDelta): string {
    return delta.type === 'tool_output' || delta.type === 'progress'
      ? delta.turn
      : ShownDraft.keyOfAttempt(delta.turn, delta.step, delta.attempt);
  }

  static keyOfAttempt(turn: string, step: number, attempt: number): string {
    return `${turn}/${step}/${attempt}`;
  }

  /** Whether calls said it; else the model did. */
  get isOfTools(): boolean {
    const delta = this.#chunks[0]?.delta;
    return delta?.type === 'tool_output' || delta?.type === 'progress';
  }

  /** Seq of the record that holds it, or ends it; null while it grows. */
  get closedSeq(): number | null {
    return this.#closedSeq;
  }

  /** A record holds it, or ends it; the first such counts. From then on it takes no more room than its text. */
  close(seq: number): void {
    if (this.#closedSeq !== null) return;
    this.#closedSeq = seq;
    this.#chunks = merge(this.#chunks);
  }

  /** Its length in UTF-16 units. */
  get units(): number {
    return this.#units;
  }

  add(delta: DraftDelta): void {
    const start = this.#units;
    this.#units += delta.text.length;
    this.#chunks.push({ start, end: this.#units, delta });
    if (this.#chunks.length <= this.#mergeAt) return;
    this.#chunks = merge(this.#chunks);
    // Chunks of changing kinds do not merge: then only when there are twice as many again.
    this.#mergeAt = Math.max(this.#capacity, 2 * this.#chunks.length);
  }

  /** What is behind so many units of it, neighbours joined. */
  rest(units: number): DraftDelta[] {
    const rest: Chunk[] = [];
    for (let i = this.#chunks.length - 1; i >= 0; i -= 1) {
      const chunk = this.#chunks[i];
      if (!chunk || chunk.end <= units) break;
      rest.push(cut(chunk, units));
    }
    return merge(rest.reverse()).map((chunk) => chunk.delta);
  }

  /** What the model says in it. */
  text(): string {
    return this.#chunks.map(({ delta }) => (delta.type === 'token' ? delta.text : '')).join('');
  }
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
