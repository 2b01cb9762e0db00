import { randomInt } from 'node:crypto';
import { oneLine } from '../../core/display-text.ts';
import {
  type AccessBook,
  approvePairing,
  makePairingCode,
  type Pairing,
  type PairingRequest,
  requestPairing,
  revokePairing,
} from '../../core/pairing.ts';
import type { AccessStore } from '../../ports/access-store.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Ask } from './handover.ts';

/** A stranger who goes on writing is told the code again so often, in ms. */
const TELL_AGAIN_MS = 60_000;
/** Strangers whose last answer is remembered. */
const MAX_TOLD = 1_000;

/** Lets strangers ask to be let in, and owners let them. */
export class PairingDesk {
  readonly #access: AccessStore;
  readonly #clock: Clock;
  readonly #told = new Map<string, number>();

  constructor(access: AccessStore, clock: Clock) {
    this.#access = access;
    this.#clock = clock;
  }

  /** What a stranger is told; null: nothing, they were told a moment ago or too many ask. */
  async ask({ place, agent, event }: Ask): Promise<string | null> {
    const sender = `${place.gateway}:${event.sender.id}`;
    const now = this.#clock.now();
    let request: PairingRequest | null = null;
    await this.#access.update((book) => {
      const asked = requestPairing(book, {
        agent,
        sender,
        name: oneLine(event.sender.display_name || event.sender.username || '', 100),
        chat: {
          gateway: place.gateway,
          chat_id: place.chat_id,
          ...(place.thread_id === undefined ? {} : { thread_id: place.thread_id }),
        },
        code: makePairingCode((max) => randomInt(max)),
        now,
      });
      if ('refused' in asked) return book;
      ({ request } = asked);
      return asked.book;
    });
    const toldAt = this.#told.get(sender);
    if (!request || (toldAt !== undefined && now - toldAt < TELL_AGAIN_MS)) return null;
    this.#told.delete(sender);
    this.#told.set(sender, now);
    const [oldest] = this.#told.keys();
    if (this.#told.size > MAX_TOLD && oldest !== undefined) this.#told.delete(oldest);
    const { code } = request as PairingRequest;
    return `I do not know you yet. Your code is ${code}, good for one hour. Give it to the owner of this bot, who lets you in with /approve ${code} or: duragent access approve ${code}`;
  }

  /** Lets in whoever has the code. @returns null where no request that is open has it. */
  async approve(
    code: string,
    options: { agent: string | null; by: string },
  ): Promise<{ pairing: Pairing; request: PairingRequest } | null> {
    let approved: { pairing: Pairing; request: PairingRequest } | null = null;
    await this.#access.update((book) => {
      const result = approvePairing(book, { code, ...options, now: this.#clock.now() });
      if ('refused' in result) return book;
      approved = { pairing: result.pairing, request: result.request };
      return result.book;
    });
    return approved;
  }

  /** Shuts somebody out again. @returns whether they were in. */
  async revoke(who: { agent: string; sender: string }): Promise<boolean> {
    let wasIn = false;
    await this.#access.update((book) => {
      const { book: after, revoked } = revokePairing(book, who);
      wasIn = revoked;
      return after;
    });
    return wasIn;
  }

  /** Who was let in, and who asks. */
  book(): Promise<AccessBook> {
    return this.#access.read();
  }
}
