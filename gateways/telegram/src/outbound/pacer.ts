import { forgetOldest } from './forget-oldest.ts';

/** Kinds of calls that Telegram limits apart from each other. */
export type Family = 'send' | 'edit' | 'draft' | 'action' | 'delete' | 'answer';

/**
 * Says when the next call may be made, so that Telegram does not have to refuse it. In any second
 * at most 30 calls in all and about 1 in a chat, in any minute 20 in a group (Telegram's FAQ names
 * these, and that they may change: `retry_after` is believed). Previews leave a part of each
 * budget to finals, and become rare where Telegram refused one.
 */
export class Pacer {
  readonly #now: () => number;
  readonly #account: Bucket;
  readonly #chats = new Map<number, ChatPace>();
  #slow = 1;
  #nextPreviewAt = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#account = new Bucket({ capacity: 10, perSecond: 20, now: now() });
  }

  /** Counts a final. @returns how long it should wait, in ms. */
  reserve(chat: number): number {
    const now = this.#now();
    const buckets = [this.#account, ...this.#pace(chat).buckets];
    return Math.max(...buckets.map((bucket) => bucket.take(now)));
  }

  /** How long calls of this kind are refused in this chat, in ms. */
  blockedMs(chat: number, family: Family): number {
    const until = this.#chats.get(chat)?.blocked.get(family) ?? 0;
    return Math.max(0, until - this.#now());
  }

  /** How long a preview waits; 0: its call may be made. */
  previewWaitMs(chat: number, family: Family): number {
    const now = this.#now();
    const pace = this.#pace(chat);
    return Math.max(
      0,
      this.#nextPreviewAt - now,
      pace.nextPreviewAt - now,
      // An edit is no good while Telegram refuses to post: the chat as a whole is too loud.
      ...[family, 'send' as const, 'edit' as const].map((kind) => this.blockedMs(chat, kind)),
      ...[this.#account, ...pace.buckets].map((bucket) => bucket.waitMs(now)),
    );
  }

  takePreview(chat: number): void {
    this.reserve(chat);
    const now = this.#now();
    const pace = this.#pace(chat);
    pace.nextPreviewAt = now + (pace.slow > 1 ? pace.intervalMs * pace.slow : 0);
    pace.slow = Math.max(1, pace.slow * 0.9);
    this.#nextPreviewAt = now + (this.#slow > 1 ? 50 * this.#slow : 0);
    this.#slow = Math.max(1, this.#slow * 0.99);
  }

  /** Counts a call that may as well not be made. @returns whether it may. */
  takeSpare(chat: number, family: Family): boolean {
    const now = this.#now();
    if (this.blockedMs(chat, family) > 0 || this.#account.waitMs(now) > 0) return false;
    this.#account.take(now);
    return true;
  }

  /** Telegram refused a call, and said when to come again. */
  refused(chat: number, family: Family, retryAfterMs: number): void {
    const pace = this.#pace(chat);
    const until = this.#now() + retryAfterMs;
    pace.blocked.set(family, Math.max(until, pace.blocked.get(family) ?? 0));
    pace.slow = Math.min(8, pace.slow * 2);
    this.#slow = Math.min(16, this.#slow * 1.25);
  }

  #pace(chat: number): ChatPace {
    let pace = this.#chats.get(chat);
    if (pace === undefined) {
      pace = newPace(chat, this.#now());
      this.#chats.set(chat, pace);
      this.#forgetIdle();
    }
    return pace;
  }

  /** Chats with a full budget and no refusal are as if they were new. */
  #forgetIdle(): void {
    if (this.#chats.size <= MAX_PACED_CHATS) return;
    const now = this.#now();
    for (const [chat, { buckets, blocked }] of this.#chats) {
      const isBlocked = [...blocked.values()].some((until) => until > now);
      if (!isBlocked && buckets.every((bucket) => bucket.isFull(now))) this.#chats.delete(chat);
    }
    forgetOldest(this.#chats, MAX_PACED_CHATS);
  }
}

const MAX_PACED_CHATS = 2000;

interface ChatPace {
  buckets: readonly Bucket[];
  /** Until when, for each kind of call. */
  blocked: Map<Family, number>;
  /** How many times rarer than usual previews are. */
  slow: number;
  intervalMs: number;
  nextPreviewAt: number;
}

function newPace(chat: number, now: number): ChatPace {
  const second = new Bucket({ capacity: 1, perSecond: 1 / 1.05, now });
  // Ids below zero are groups and channels. 8 at once and 12 a minute are never more than 20 in one.
  const minute = new Bucket({ capacity: 8, perSecond: 0.2, keep: 4, now });
  return {
    buckets: chat < 0 ? [second, minute] : [second],
    blocked: new Map(),
    slow: 1,
    intervalMs: chat < 0 ? 5000 : 1050,
    nextPreviewAt: 0,
  };
}

/** Calls that may be made: they come back with time, up to `capacity`. */
class Bucket {
  readonly #capacity: number;
  readonly #perMs: number;
  /** What previews leave to others. */
  readonly #keep: number;
  #tokens: number;
  #at: number;

  constructor(of: { capacity: number; perSecond: number; keep?: number; now: number }) {
    this.#capacity = of.capacity;
    this.#perMs = of.perSecond / 1000;
    this.#keep = of.keep ?? (of.capacity > 1 ? of.capacity / 2 : 0);
    this.#tokens = of.capacity;
    this.#at = of.now;
  }

  /** Counts a call, also one that comes too soon. @returns how long it should wait, in ms. */
  take(now: number): number {
    this.#refill(now);
    const waitMs = Math.max(0, (1 - this.#tokens) / this.#perMs);
    this.#tokens = Math.max(-this.#capacity, this.#tokens - 1);
    return waitMs;
  }

  /** How long a preview has to wait. */
  waitMs(now: number): number {
    this.#refill(now);
    return Math.max(0, Math.ceil((1 + this.#keep - this.#tokens) / this.#perMs));
  }

  isFull(now: number): boolean {
    this.#refill(now);
    return this.#tokens >= this.#capacity;
  }

  #refill(now: number): void {
    const passedMs = Math.max(0, now - this.#at);
    this.#tokens = Math.min(this.#capacity, this.#tokens + passedMs * this.#perMs);
    this.#at += passedMs;
  }
}
