import { expect, test } from 'vitest';
import type { StoredRecord } from '../ports/session-store.ts';
import { Feed } from './feed.ts';
import { followSession } from './follow-session.ts';
import { ticks, until } from './testing.ts';

/** A session that is shown: what it recorded, and the draft of the step in progress. */
class Shown {
  readonly records: StoredRecord[] = [];
  readonly feed: Feed;
  /** How often readers had to read the log. */
  reads = 0;
  draft = '';
  step = 1;

  constructor(capacity = 1000) {
    this.feed = new Feed({ capacity, lastSeq: 0 });
  }

  record(count: number, length = 100): void {
    for (let n = 0; n < count; n += 1) this.#publish('turn_resumed', length);
  }

  say(text: string): void {
    const [turn, step, attempt, offset] = ['t', this.step, 1, this.draft.length];
    this.feed.addDelta({ type: 'token', turn, step, attempt, offset, text });
    this.draft += text;
  }

  /** The draft becomes a record. */
  answer(): void {
    this.step += 1;
    this.draft = '';
    this.#publish('assistant_message', 100);
  }

  #publish(type: string, length: number): void {
    const event = { type, seq: this.records.length + 1 } as StoredRecord['event'];
    const record = { event, line: 'x'.repeat(length) };
    this.records.push(record);
    this.feed.publish([record]);
  }

  follow(after = 0): Reader {
    return new Reader(this, after);
  }
}

/** Someone who reads all there is, and notes what came twice, late or never. */
class Reader {
  readonly faults: string[] = [];
  draft = '';
  #step = 0;
  #seq: number;
  readonly #shown: Shown;
  readonly #leaving = new AbortController();
  readonly #reading: Promise<void>;

  constructor(shown: Shown, after: number) {
    this.#shown = shown;
    this.#seq = after;
    this.#reading = this.#read();
  }

  get isCaughtUp(): boolean {
    return this.#seq === this.#shown.records.length && this.draft === this.#shown.draft;
  }

  async leave(): Promise<void> {
    this.#leaving.abort();
    await this.#reading;
  }

  async #read(): Promise<void> {
    const { feed, records } = this.#shown;
    const log = {
      read: async (after: number, limit: number) => {
        this.#shown.reads += 1;
        await ticks();
        return records.slice(after, after + limit);
      },
    } as Parameters<typeof followSession>[1];
    const options = { after: this.#seq, signals: [this.#leaving.signal] };
    for await (const frame of followSession(feed, log, options)) {
      if (frame.kind === 'event') {
        const { seq, type } = frame.record.event;
        if (seq !== this.#seq + 1) this.faults.push(`${seq} after ${this.#seq}`);
        this.#seq = seq;
        if (type === 'assistant_message') this.draft = '';
      } else if (frame.delta.type === 'token') {
        const { step, offset, text } = frame.delta;
        if (step !== this.#step) this.draft = '';
        this.#step = step;
        if (offset !== this.draft.length) this.faults.push(`${step}: ${offset}`);
        this.draft += text;
      }
    }
  }
}

test('while nobody reads it keeps few records, and a reader gets them all from the log', async () => {
  const shown = new Shown();
  shown.record(500);
  expect(shown.feed.recordAt(500)).toBe(shown.records[499]);
  expect(shown.feed.recordAt(468)).toBeUndefined();
  shown.record(3, 50_000);
  expect(shown.feed.recordAt(502)).toBeUndefined();
  expect(shown.feed.lastSeq).toBe(503);
  shown.say('so far');
  const reader = shown.follow();
  await until(() => reader.isCaughtUp);
  expect(reader.faults).toEqual([]);
  expect(reader.draft).toBe('so far');
  await reader.leave();
});

test('while somebody reads it keeps as many as it may, and lets go of them with the last reader', async () => {
  const shown = new Shown(300);
  const [first, second] = [shown.follow(), shown.follow()];
  shown.record(500);
  await until(() => first.isCaughtUp && second.isCaughtUp);
  expect(shown.reads).toBe(0);
  expect(shown.feed.recordAt(201)).toBe(shown.records[200]);
  await first.leave();
  expect(shown.feed.recordAt(201)).toBe(shown.records[200]);
  await second.leave();
  expect(shown.feed.recordAt(468)).toBeUndefined();
  expect(shown.feed.recordAt(500)).toBe(shown.records[499]);
});

test('whoever comes and goes, a reader gets each record once and the draft up to now', async () => {
  let seed = 7;
  const below = (limit: number): number => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % limit;
  };
  const shown = new Shown(20);
  let readers: Reader[] = [];
  const left: Reader[] = [];
  for (let round = 0; round < 3000; round += 1) {
    const what = below(20);
    if (what < 6) shown.record(1 + below(8), 1 + below(30_000));
    else if (what < 12) shown.say('abc'.slice(below(3)));
    else if (what < 14) shown.answer();
    else if (what < 16 && readers.length < 4) {
      readers.push(shown.follow(below(shown.records.length + 1)));
    } else if (what < 17) {
      const [one, ...others] = readers;
      readers = others;
      await one?.leave();
      if (one) left.push(one);
    } else await ticks();
    if (round % 50 === 0) await until(() => readers.every((reader) => reader.isCaughtUp));
  }
  for (const reader of readers) await reader.leave();
  expect([...left, ...readers].flatMap(({ faults }) => faults)).toEqual([]);
  expect(left.length).toBeGreaterThan(50);
});

test('of how far a turn is a reader gets each word, and one that comes later the newest', async () => {
  const feed = new Feed({ capacity: 3, lastSeq: 0 });
  const at = (position: ReturnType<Feed['position']>): unknown[] =>
    (feed.take(position) ?? []).flatMap((frame) =>
      frame.kind === 'delta' && 'text' in frame.delta ? [frame.delta.text] : [],
    );
  const report = (text: string): void =>
    feed.addDelta({ type: 'progress', turn: 't', call: `c${text}`, text });
  const early = feed.position(0);
  report('a long first one');
  expect(at(early)).toEqual(['a long first one']);
  report('2');
  expect(at(early)).toEqual(['2']);
  expect(at(feed.position(0))).toEqual(['2']);
  feed.addDelta({ type: 'tool_output', turn: 't', call: 'c', offset: 0, text: 'out' });
  // Many more than are kept apart.
  for (let i = 3; i < 20; i += 1) report(`${i}`);
  expect(at(early)).toEqual(['out', '19']);
  expect(at(feed.position(0))).toEqual(['2', 'out', '19']);
  expect(at(early)).toEqual([]);
});
