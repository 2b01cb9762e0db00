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
  /** All words, of whatever answer. */
  said = '';
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
        this.said += text;
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

/** A feed that is read by hand: seqs of records, texts of words, and `lagged`. */
function handFeed() {
  const feed = new Feed({ capacity: 100, lastSeq: 0 });
  feed.enter();
  const read = (position: ReturnType<Feed['position']>): string[] =>
    (feed.take(position) ?? []).flatMap((frame) => {
      if (frame.kind === 'event') return [`${frame.record.event.seq}`];
      if (frame.delta.type === 'lagged') return ['lagged'];
      return 'text' in frame.delta ? [frame.delta.text] : [];
    });
  const publish = (seq: number, type: string): void =>
    feed.publish([{ event: { type, seq } as StoredRecord['event'], line: '' }]);
  const token = (step: number, offset: number, text: string, after: number): void =>
    feed.addDelta({ type: 'token', turn: 't', step, attempt: 1, offset, text }, after);
  return { feed, readFrom: read, publish, token };
}

test('answers that are quicker than the disk are read in their places, each with all of its words', () => {
  const { feed, readFrom, publish, token } = handFeed();
  const position = feed.position(0);
  const read = (): string[] => readFrom(position);

  publish(1, 'turn_started');
  token(1, 0, 'one ', 1);
  expect(read()).toEqual(['1', 'one ']);
  token(1, 4, 'is', 1);
  // The first answer is decided as record 2, the second as record 4: none of it is on disk.
  token(2, 0, 'two', 3);
  token(3, 0, 'three', 5);
  expect(read()).toEqual(['is']);
  publish(2, 'assistant_message');
  publish(3, 'turn_resumed');
  publish(4, 'assistant_message');
  publish(5, 'turn_resumed');
  expect(read()).toEqual(['2', '3', 'two', '4', '5', 'three']);
  token(3, 5, ' and on', 5);
  expect(read()).toEqual([' and on']);
  publish(6, 'assistant_message');
  expect(read()).toEqual(['6']);
});

test('of a burst of answers that become durable at once each has its words', () => {
  const { feed, readFrom, publish, token } = handFeed();
  const position = feed.position(0);
  const answers = Array.from({ length: 90 }, (_, i) => i);
  for (const i of answers) token(i, 0, `word ${i}`, 2 * i);
  for (const i of answers) {
    publish(2 * i + 1, 'assistant_message');
    publish(2 * i + 2, 'turn_resumed');
  }
  expect(readFrom(position)).toEqual(
    answers.flatMap((i) => [`word ${i}`, `${2 * i + 1}`, `${2 * i + 2}`]),
  );
});

test('a reader whose words are kept no longer is told so, once', () => {
  const { feed, readFrom, publish, token } = handFeed();
  const [early, partly] = [feed.position(0), feed.position(0)];
  token(1, 0, 'begun', 0);
  expect(readFrom(partly)).toEqual(['begun']);
  token(1, 5, ' and ended', 0);
  for (let step = 1; step <= 100; step += 1) {
    publish(step, 'assistant_message');
    token(step + 1, 0, `word ${step + 1}`, step);
  }
  for (const position of [early, partly]) {
    const shown = readFrom(position);
    expect(shown[0]).toBe('lagged');
    expect(shown.at(-1)).toBe('word 101');
    expect(shown.filter((one) => one === 'lagged')).toHaveLength(1);
  }
  token(101, 8, '!', 100);
  expect([early, partly].map(readFrom)).toEqual([['!'], ['!']]);
  expect(readFrom(feed.position(100))).toEqual(['word 101!']);
});

test('whoever follows a message is given the words of its answer, though that is recorded already', () => {
  const { feed, readFrom, publish, token } = handFeed();
  token(1, 0, 'before', 0);
  publish(1, 'assistant_message');
  token(2, 0, 'answer', 2);
  publish(2, 'turn_resumed');
  publish(3, 'assistant_message');
  expect(readFrom(feed.position(1, 2))).toEqual(['2', 'answer', '3']);
  expect(readFrom(feed.position(1))).toEqual(['2', '3']);
});

test('what is said while a reader still catches up with a long log has its words', async () => {
  const shown = new Shown();
  shown.record(500);
  const reader = shown.follow();
  await until(() => shown.reads > 0);
  shown.say('said meanwhile');
  shown.answer();
  await until(() => reader.isCaughtUp);
  expect(reader.faults).toEqual([]);
  expect(reader.said).toBe('said meanwhile');
  await reader.leave();
});

test('a reader whose log is closed while it is read has come to its end; one whose log cannot be read is told', async () => {
  const follow = async (closes: boolean): Promise<unknown[]> => {
    const closing = new AbortController();
    const log = {
      read: () => {
        if (closes) closing.abort();
        return Promise.reject(new Error('It cannot be read.'));
      },
    } as unknown as Parameters<typeof followSession>[1];
    const feed = new Feed({ capacity: 10, lastSeq: 5 });
    const frames: unknown[] = [];
    for await (const frame of followSession(feed, log, { after: 0, signals: [closing.signal] })) {
      frames.push(frame);
    }
    return frames;
  };
  expect(await follow(true)).toEqual([]);
  await expect(follow(false)).rejects.toThrow('It cannot be read.');
});

test('whoever comes while the model speaks is not shown again what calls said before', () => {
  const feed = new Feed({ capacity: 100, lastSeq: 4 });
  feed.enter();
  feed.addDelta({ type: 'tool_output', turn: 't', call: 'c', offset: 0, text: 'out' });
  feed.addDelta({ type: 'token', turn: 't', step: 2, attempt: 1, offset: 0, text: 'so' }, 4);
  const frames = feed.take(feed.position(4)) ?? [];
  const texts = frames.flatMap((frame) =>
    frame.kind === 'delta' && 'text' in frame.delta ? [frame.delta.text] : [],
  );
  expect(texts).toEqual(['so']);
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
