import type { ChatAddress } from '@duragent/protocol';
import type { Clock } from '../../ports/clock.ts';
import type { GatewayLink } from './gateway-link.ts';

/** How long platforms show it (Telegram: 5 s), and how often it is said again, in ms. */
const SHOWN_MS = 5_000;
const AGAIN_MS = 4_000;

/** Shows in chats that an agent works. */
export class Typing {
  readonly #clock: Clock;
  readonly #link: (gateway: string) => GatewayLink | null;
  readonly #working = new Map<string, () => void>();

  constructor(clock: Clock, link: (gateway: string) => GatewayLink | null) {
    this.#clock = clock;
    this.#link = link;
  }

  /** A session works in these chats, until it is said to work in none. */
  set(session: string, chats: readonly ChatAddress[]): void {
    if (chats.length > 0 && this.#working.has(session)) return;
    this.#working.get(session)?.();
    this.#working.delete(session);
    if (chats.length > 0) this.#show(session, chats);
  }

  close(): void {
    for (const cancel of this.#working.values()) cancel();
    this.#working.clear();
  }

  #show(session: string, chats: readonly ChatAddress[]): void {
    for (const { gateway, chat_id, thread_id } of chats) {
      const link = this.#link(gateway);
      if (!link?.isReady || !link.can('typing')) continue;
      const thread = thread_id === undefined ? {} : { thread_id };
      link.running?.notify({ type: 'send_typing', chat_id, ...thread, duration: SHOWN_MS });
    }
    const again = this.#clock.after(AGAIN_MS, () => this.#show(session, chats));
    this.#working.set(session, again);
  }
}
