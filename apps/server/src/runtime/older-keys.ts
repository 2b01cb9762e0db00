import { isKnownEvent } from '@duragent/protocol';
import { KEY_TTL_MS, MAX_KEYS, type SessionState } from '../core/session/state.ts';
import type { Clock } from '../ports/clock.ts';
import { newestFirst, type ReadableLog } from './newest-first.ts';

/** Keys that are kept for one open session. */
const MAX_OLDER = 10_000;

interface KnownMessage {
  seq: number;
  message_id: string;
  /** When it was taken, in ms since 1970. */
  at: number;
}

/**
 * The idempotency keys of one session that its state, which is kept small, remembers no more. They are
 * read from the log, once, when a state that is full of keys does not know one.
 */
export class OlderKeys {
  readonly #log: ReadableLog;
  readonly #clock: Clock;
  /** By key, oldest first; null: nothing had to be looked up yet. */
  #messages: Map<string, KnownMessage> | null = null;
  #isRead: Promise<void> | null = null;

  constructor(log: ReadableLog, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Resolves when `find` knows all that `state` may have forgotten. @throws as `written`, and as reading the log. */
  async readFor(state: SessionState, written: () => Promise<void>): Promise<void> {
    if (state.keys.length < MAX_KEYS) return;
    this.#messages ??= new Map();
    this.#isRead ??= written().then(() => this.#readLog());
    try {
      await this.#isRead;
    } catch (error) {
      this.#isRead = null;
      throw error;
    }
  }

  find(key: string | undefined): KnownMessage | undefined {
    const known = key === undefined ? undefined : this.#messages?.get(key);
    return known && known.at > this.#clock.now() - KEY_TTL_MS ? known : undefined;
  }

  /** A message was decided. */
  add(key: string | undefined, { seq, message_id }: Omit<KnownMessage, 'at'>): void {
    if (!this.#messages || key === undefined) return;
    this.#messages.delete(key);
    this.#messages.set(key, { seq, message_id, at: this.#clock.now() });
    const [oldest] = this.#messages.keys();
    if (this.#messages.size > MAX_OLDER && oldest !== undefined) this.#messages.delete(oldest);
  }

  /** The turn that a message began or was taken into; null: none yet. */
  async turnOf({ seq, message_id }: KnownMessage): Promise<string | null> {
    for await (const { event } of newestFirst(this.#log)) {
      if (!isKnownEvent(event)) continue;
      if (event.type === 'turn_started') {
        if (event.trigger.includes(message_id)) return event.turn;
        if (event.seq < seq) return event.queue === 'steer' ? event.turn : null;
      }
      if (event.type === 'turn_finished' && event.seq < seq) return null;
    }
    return null;
  }

  async #readLog(): Promise<void> {
    const since = this.#clock.now() - KEY_TTL_MS;
    const found: [string, KnownMessage][] = [];
    for await (const { event } of newestFirst(this.#log)) {
      const at = Date.parse(event.at);
      if (at < since || found.length === MAX_OLDER) break;
      if (!isKnownEvent(event) || event.type !== 'user_message') continue;
      const { seq, message_id, source } = event;
      if (source.idempotency !== undefined)
        found.push([source.idempotency, { seq, message_id, at }]);
    }
    // What was decided meanwhile is newer.
    this.#messages = new Map([...found.reverse(), ...(this.#messages ?? [])]);
  }
}
