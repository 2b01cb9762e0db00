import type { ChatAddress } from '@duragent/protocol';
import { chatKey } from '../../core/session/chat-key.ts';
import { type Clock, sleep } from '../../ports/clock.ts';
import type { GatewayLink } from './gateway-link.ts';
import { Lanes } from './lanes.ts';
import type { WakeList } from './wake-list.ts';

/** How long a gateway may take for one request, in ms. */
export const REQUEST_MS = 60_000;
/** Longest single wait for a gateway, should the clock jump, in ms. */
const LOOK_MS = 60 * 60 * 1000;

/** Reaches chats: one at a time and in order for each, when its gateway is ready and its platform takes more. */
export class ChatReach {
  readonly #clock: Clock;
  /** The link of a gateway; null: there is no such gateway now. */
  readonly link: (gateway: string) => GatewayLink | null;
  readonly #listed: WakeList;
  readonly #lanes = new Lanes();
  /** Until when a chat's platform asked to wait, on the monotonic clock. */
  readonly #blocked = new Map<string, number>();
  #requests = 0;

  constructor(deps: {
    clock: Clock;
    link: (gateway: string) => GatewayLink | null;
    /** Wakes whoever waits when there are other gateways. */
    listed: WakeList;
  }) {
    this.#clock = deps.clock;
    this.link = deps.link;
    this.#listed = deps.listed;
  }

  /** Waits for the turn in a chat. @returns a function that ends it. Rejects with the signal's reason. */
  enter(chat: ChatAddress, signal: AbortSignal): Promise<() => void> {
    return this.#lanes.enter(chatKey(chat), signal);
  }

  /** Waits until a chat's gateway is ready. @returns null when `until` (wall clock, ms) came first. */
  async ready(
    { gateway }: { gateway: string },
    until: number,
    signal: AbortSignal,
  ): Promise<GatewayLink | null> {
    for (;;) {
      signal.throwIfAborted();
      const left = until - this.#clock.now();
      if (left <= 0) return null;
      const link = this.link(gateway);
      if (link?.isReady) return link;
      const timer = new AbortController();
      const stop = AbortSignal.any([signal, timer.signal]);
      const time = sleep(this.#clock, Math.min(left, LOOK_MS), stop).catch(() => undefined);
      const changes = [this.#listed.wait(stop), time];
      if (link) changes.push(link.changes.wait(stop));
      await Promise.race(changes);
      timer.abort();
    }
  }

  /** As `ready`, and waits as long as the chat's platform asked to. */
  async open(chat: ChatAddress, until: number, signal: AbortSignal): Promise<GatewayLink | null> {
    for (;;) {
      const link = await this.ready(chat, until, signal);
      if (!link) return null;
      const wait = this.#waitOf(chat);
      if (wait <= 0) {
        this.#blocked.delete(chatKey(chat));
        return link;
      }
      await sleep(this.#clock, wait, signal);
    }
  }

  /** @returns a chat's gateway if it is ready and its platform asked for no wait; otherwise null. */
  openNow(chat: ChatAddress): GatewayLink | null {
    const link = this.link(chat.gateway);
    return link?.isReady && this.#waitOf(chat) <= 0 ? link : null;
  }

  /** The chat's platform takes nothing more for so long, in ms. */
  block(chat: ChatAddress, ms: number): void {
    this.#blocked.set(chatKey(chat), this.#clock.monotonic() + ms);
  }

  /** An id that no other request has. */
  requestId(): string {
    this.#requests += 1;
    return `r${this.#requests}`;
  }

  /** What each request about a chat begins with. */
  about({ chat_id, thread_id }: Pick<ChatAddress, 'chat_id' | 'thread_id'>): {
    request_id: string;
    chat_id: string;
    thread_id?: string;
  } {
    const request_id = this.requestId();
    return { request_id, chat_id, ...(thread_id === undefined ? {} : { thread_id }) };
  }

  /** How long a chat's platform asked to wait from now on, in ms. */
  #waitOf(chat: ChatAddress): number {
    return (this.#blocked.get(chatKey(chat)) ?? 0) - this.#clock.monotonic();
  }
}
