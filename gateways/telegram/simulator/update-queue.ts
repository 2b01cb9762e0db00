import type { Update } from 'grammy/types';
import type { SimulatorClock } from './clock.ts';
import type { SeededRandom } from './random.ts';
import { Refusal } from './refusal.ts';

export type UpdateType = Exclude<keyof Update, 'update_id'>;

/** What became of one update: the truth that tests compare with. */
export interface UpdateRecord {
  update_id: number;
  type: UpdateType;
  /** When it came to be, in ms since 1970. */
  at: number;
  chat_id: number | undefined;
  message_id: number | undefined;
  /** How often an answer with it was made, and how often that answer went out whole. */
  offered: number;
  returned: number;
  returned_at: number | null;
  state: 'waiting' | 'confirmed' | 'expired' | 'dropped';
  /** When an offset above it came. */
  confirmed_at: number | null;
  update: Update;
}

export interface Batch {
  updates: Update[];
  /** To be called when the answer went out whole. */
  sent: () => void;
}

interface Waiting {
  offset: number;
  limit: number;
  answer: (batch: Batch) => void;
  refuse: (refusal: Refusal) => void;
}

export interface PollOptions {
  offset: number;
  limit: number;
  timeoutMs: number;
  /** Aborted when the client is gone: the poll takes nothing with it. */
  signal: AbortSignal;
}

const DAY_MS = 86_400_000;
/** Telegram refuses to believe an offset this far ahead of the next id, or behind it. */
const AHEAD = 10;
const BEHIND = 2_000_000;
const MAX_BATCH_BYTES = 1 << 22;
const MAX_RECORDS = 100_000;
const CONFLICT_PAUSE_MS = 3000;

const conflict =
  'Conflict: terminated by other getUpdates request; make sure that only one bot instance is running';

/** The types of updates that a bot may ask for here. */
export const updateTypes: readonly UpdateType[] = [
  ...(['message', 'edited_message', 'channel_post', 'edited_channel_post'] as const),
  ...(['callback_query', 'my_chat_member', 'chat_member'] as const),
  ...(['stopped_message_generation', 'poll', 'poll_answer', 'inline_query'] as const),
  ...(['message_reaction', 'message_reaction_count', 'chat_join_request'] as const),
];

/** What is not sent to a bot that did not ask for it by name. */
const unasked: ReadonlySet<string> = new Set([
  'chat_member',
  'message_reaction',
  'message_reaction_count',
]);

/** The updates of one bot as Telegram keeps them: 24 hours, until an offset above them comes. */
export class UpdateQueue {
  readonly #clock: SimulatorClock;
  readonly #random: SeededRandom;
  #records: UpdateRecord[] = [];
  #waiting: UpdateRecord[] = [];
  #again: UpdateRecord[] = [];
  #nextId = 0;
  #lastPushAt = 0;
  #nextConflictAt = 0;
  #poll: Waiting | null = null;
  #wake: NodeJS.Immediate | null = null;
  #allowed: ReadonlySet<string> | null = null;
  #onIdle: (() => void)[] = [];

  constructor(clock: SimulatorClock, random: SeededRandom) {
    this.#clock = clock;
    this.#random = random;
  }

  /** All that are still known, oldest first (at most 100,000). */
  get records(): readonly UpdateRecord[] {
    return this.#records;
  }

  /** How many wait to be confirmed. */
  get pending(): number {
    this.#expire();
    return this.#waiting.length;
  }

  /** Whether a long poll is waiting now. */
  get isPolled(): boolean {
    return this.#poll !== null;
  }

  /** The names that the bot asked for; null: the default. */
  get allowed(): readonly string[] | null {
    return this.#allowed === null ? null : [...this.#allowed];
  }

  /** Remembers which types the bot wants from now on; an empty list is the default. */
  allow(types: readonly string[]): void {
    this.#allowed = types.length === 0 ? null : new Set(types);
  }

  /** @returns null when the bot did not ask for this type: then there is no update. */
  push<K extends UpdateType>(
    type: K,
    value: NonNullable<Update[K]>,
    about: { chatId?: number; messageId?: number } = {},
  ): UpdateRecord | null {
    return this.pushRaw(type, { [type]: structuredClone(value) }, about);
  }

  /** Like `push`, with a body that somebody else made. */
  pushRaw(
    type: UpdateType,
    body: Omit<Update, 'update_id'>,
    about: { chatId?: number; messageId?: number } = {},
  ): UpdateRecord | null {
    if (this.#allowed === null ? unasked.has(type) : !this.#allowed.has(type)) return null;
    const now = this.#clock.now();
    this.#expire();
    const isIdle = now - this.#lastPushAt >= 7 * DAY_MS;
    if (this.#nextId === 0 || isIdle) this.#nextId = this.#random.between(2_000_001, 999_999_999);
    this.#lastPushAt = now;
    const update: Update = { update_id: this.#nextId++, ...body };
    const record: UpdateRecord = {
      update_id: update.update_id,
      type,
      at: now,
      chat_id: about.chatId,
      message_id: about.messageId,
      offered: 0,
      returned: 0,
      returned_at: null,
      state: 'waiting',
      confirmed_at: null,
      update,
    };
    this.#records.push(record);
    this.#waiting.push(record);
    if (this.#records.length > MAX_RECORDS) {
      const [oldest] = this.#records.splice(0, 1);
      if (oldest?.state === 'waiting') this.#waiting.shift();
    }
    this.#wakeUp();
    return record;
  }

  /**
   * `getUpdates`: everything below the offset is confirmed, whatever becomes of the answer.
   * @throws Refusal 409 for the older of two long polls. Rejects with the signal's reason when it aborts.
   */
  async poll({ offset, limit, timeoutMs, signal }: PollOptions): Promise<Batch> {
    signal.throwIfAborted();
    const batch = this.#take(offset, limit);
    if (batch.updates.length > 0 || timeoutMs <= 0) return batch;
    if (this.#poll !== null) this.#refuseOlder(this.#poll);
    const result = Promise.withResolvers<Batch>();
    const waiting: Waiting = { offset, limit, answer: result.resolve, refuse: result.reject };
    this.#poll = waiting;
    const timer = setTimeout(() => result.resolve({ updates: [], sent: () => {} }), timeoutMs);
    const leave = (): void => result.reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await result.promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', leave);
      if (this.#poll === waiting) this.#poll = null;
    }
  }

  /** The last `back` updates that went out are in the next answer again, whatever its offset says. */
  redeliver(back: number): number {
    const out = this.#records.filter(({ offered, state }) => offered > 0 && state !== 'expired');
    this.#again = back <= 0 ? [] : out.slice(-back);
    this.#wakeUp();
    return this.#again.length;
  }

  /** Forgets all that was not confirmed. */
  drop(): void {
    for (const record of this.#waiting) record.state = 'dropped';
    this.#waiting = [];
    this.#again = [];
  }

  close(): void {
    if (this.#wake !== null) clearImmediate(this.#wake);
    this.#poll?.refuse(new Refusal(500, 'Internal Server Error: restart'));
    for (const stop of this.#onIdle.splice(0)) stop();
  }

  #take(offset: number, limit: number): Batch {
    this.#expire();
    if (this.#nextId === 0) return { updates: [], sent: () => {} };
    const head = this.#waiting[0]?.update_id ?? this.#nextId;
    let from = offset > 0 ? offset : Math.max(head, offset < 0 ? this.#nextId + offset : head);
    if (from > this.#nextId + AHEAD || from < this.#nextId - BEHIND) from = head;
    const confirmed = this.#waiting.findIndex(({ update_id: id }) => id >= from);
    const count = confirmed < 0 ? this.#waiting.length : confirmed;
    for (const record of this.#waiting.splice(0, count)) {
      record.state = 'confirmed';
      record.confirmed_at = this.#clock.now();
    }
    const again = this.#again.splice(0, limit);
    const fresh = this.#waiting.filter((record) => !again.includes(record));
    const records = withinBytes([...again, ...fresh.slice(0, limit - again.length)]);
    for (const record of records) record.offered++;
    return {
      updates: records.map(({ update }) => update),
      sent: () => {
        for (const record of records) {
          record.returned++;
          record.returned_at = this.#clock.now();
        }
      },
    };
  }

  #expire(): void {
    const oldest = this.#clock.now() - DAY_MS;
    const first = this.#waiting.findIndex(({ at }) => at > oldest);
    const count = first < 0 ? this.#waiting.length : first;
    for (const record of this.#waiting.splice(0, count)) record.state = 'expired';
  }

  /** A moment later, so that what happens together goes out together. */
  #wakeUp(): void {
    if (this.#poll === null || this.#wake !== null) return;
    this.#wake = setImmediate(() => {
      this.#wake = null;
      const poll = this.#poll;
      if (poll === null) return;
      const batch = this.#take(poll.offset, poll.limit);
      if (batch.updates.length === 0) return;
      this.#poll = null;
      poll.answer(batch);
    });
  }

  /** Telegram lets the older poll wait when refusals come thick: two pollers do not spin. */
  #refuseOlder(older: Waiting): void {
    const refuse = (): void => older.refuse(new Refusal(409, conflict));
    const now = performance.now();
    if (now >= this.#nextConflictAt) {
      this.#nextConflictAt = now + CONFLICT_PAUSE_MS;
      refuse();
      return;
    }
    const timer = setTimeout(refuse, CONFLICT_PAUSE_MS);
    this.#onIdle.push(() => clearTimeout(timer));
    if (this.#onIdle.length > 100) this.#onIdle.shift();
  }
}

function withinBytes(records: UpdateRecord[]): UpdateRecord[] {
  let left = MAX_BATCH_BYTES;
  const end = records.findIndex(({ update }, index) => {
    left -= 50 + Buffer.byteLength(JSON.stringify(update));
    return left <= 0 && index > 0;
  });
  return end < 0 ? records : records.slice(0, end);
}
