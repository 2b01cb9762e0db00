import type { InboundEvent } from '@duragent/protocol';
import type { GatewayLink } from '@duragent/protocol/node';
import type { Update } from 'grammy/types';
import type { Logger } from 'pino';
import { readUpdate } from '../inbound.ts';
import type { BotIdentity } from '../inbound/content.ts';
import type { PendingFile } from '../inbound/file.ts';
import { messageOf } from './message-of.ts';

/** While the server has no room for an event, how long until it is given again. */
const AGAIN_MS = 1000;
/** After a week without updates Telegram's ids start anew, anywhere: an older offset says nothing. */
const STALE_OFFSET_MS = 6 * 24 * 60 * 60 * 1000;

/** What a poller lives on. */
export interface PollerOptions {
  cursor: unknown;
  bot: BotIdentity;
  link: GatewayLink;
  /** Gives an event its file. Never rejects. */
  withFile(event: InboundEvent, file: PendingFile): Promise<InboundEvent>;
  log: Logger;
}

/**
 * Hands updates to the server, those of a chat in their order, and knows which of them Telegram
 * may forget: the first ones, up to the first that is not durable.
 */
export class Poller {
  readonly #options: PollerOptions;
  /** Those after the offset, as they came: ids say nothing about their order. */
  #entries: Entry[] = [];
  readonly #known = new Set<number>();
  /** The last step of each chat. */
  readonly #chats = new Map<number, Promise<void>>();
  #offset: number | undefined;
  #heardAt: number;
  #onSettled: (() => void) | null = null;

  constructor(options: PollerOptions) {
    this.#options = options;
    const cursor = readCursor(options.cursor);
    this.#offset = cursor?.offset;
    this.#heardAt = cursor?.at ?? Date.now();
  }

  /** What the next poll confirms: everything before it. */
  get offset(): number | undefined {
    return Date.now() - this.#heardAt > STALE_OFFSET_MS ? undefined : this.#offset;
  }

  /** Whether updates wait for their ack. */
  get isWaiting(): boolean {
    return this.#entries.length > 0;
  }

  /** Takes what a poll gave; what is known already is skipped. */
  take(updates: readonly Update[]): void {
    // In one answer the lower id is the older: an offset behind another would confirm both.
    for (const update of updates.toSorted((a, b) => a.update_id - b.update_id)) {
      if (this.#known.has(update.update_id)) continue;
      const entry: Entry = { id: update.update_id, isSent: false, isDone: false };
      this.#known.add(entry.id);
      this.#entries.push(entry);
      this.#handle(update, entry);
    }
  }

  /** Resolves when nothing waits for an ack, or after `ms`. */
  async settled(ms: number): Promise<void> {
    if (!this.isWaiting) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    const { signal } = this.#options.link;
    const stop = (): void => resolve();
    signal.addEventListener('abort', stop, { once: true });
    this.#onSettled = stop;
    await promise;
    this.#onSettled = null;
    signal.removeEventListener('abort', stop);
    clearTimeout(timer);
  }

  #handle(update: Update, entry: Entry): void {
    const { bot, log } = this.#options;
    let read: ReturnType<typeof readUpdate>;
    try {
      read = readUpdate(update, bot, new Date());
    } catch (error) {
      // It would come again for ever.
      log.error({ update: entry.id }, `an update cannot be read: ${messageOf(error)}`);
      this.#done(entry);
      return;
    }
    if (read.kind === 'ignored') {
      this.#done(entry);
      return;
    }
    const { event, file } = read;
    const chat = Number(event.chat_id);
    const whole = file === null ? Promise.resolve(event) : this.#options.withFile(event, file);
    const before = this.#chats.get(chat) ?? Promise.resolve();
    const step = before.then(async () => this.#deliver(await whole, entry));
    this.#chats.set(chat, step);
    void step.then(() => {
      if (this.#chats.get(chat) === step) this.#chats.delete(chat);
    });
  }

  /** Resolves when the event is on its way. Never rejects. */
  async #deliver(event: InboundEvent, entry: Entry): Promise<void> {
    const { link, log } = this.#options;
    if (link.signal.aborted) return;
    entry.isSent = true;
    const next = this.#entries.find(({ isSent, isDone }) => !isSent && !isDone);
    const last = this.#entries.at(-1) ?? entry;
    // The server stores it with the event: it says nothing of updates that are not sent yet.
    const cursor: Cursor = { offset: next?.id ?? last.id + 1, at: Date.now() };
    link.deliver({ ...event, cursor }).then(
      () => this.#done(entry),
      (error: unknown) => {
        if (link.signal.aborted) return;
        if (error instanceof RangeError) {
          // More waits for the server than it may: later.
          entry.isSent = false;
          setTimeout(() => void this.#deliver(event, entry), AGAIN_MS).unref();
          return;
        }
        log.error({ update: entry.id }, `an event cannot be sent: ${messageOf(error)}`);
        this.#done(entry);
      },
    );
  }

  #done(entry: Entry): void {
    entry.isDone = true;
    for (let first = this.#entries[0]; first?.isDone; first = this.#entries[0]) {
      this.#entries.shift();
      this.#known.delete(first.id);
      this.#offset = first.id + 1;
      this.#heardAt = Date.now();
    }
    if (!this.isWaiting) this.#onSettled?.();
  }
}

/** An update that Telegram still keeps. */
interface Entry {
  id: number;
  /** Its event is on its way to the server, behind those that went before. */
  isSent: boolean;
  /** It is durable, or nothing that the server has to know. */
  isDone: boolean;
}

/** Where polling goes on after a restart. */
interface Cursor {
  offset: number;
  /** When it was true, in ms since 1970. */
  at: number;
}

function readCursor(value: unknown): Cursor | null {
  if (typeof value !== 'object' || value === null) return null;
  const { offset, at } = value as Partial<Record<string, unknown>>;
  return Number.isSafeInteger(offset) && Number.isFinite(at)
    ? { offset: Number(offset), at: Number(at) }
    : null;
}
