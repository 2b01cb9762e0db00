import { setTimeout as delay } from 'node:timers/promises';
import { DuragentError, type InboundEvent } from '@duragent/protocol';
import type { GatewayLink } from '@duragent/protocol/node';
import type { LoopbackConfig } from '../format.ts';
import { readMessage, readPress } from '../inbound.ts';

/** Messages and presses that wait for the server's ack. */
const MAX_UNACKED = 256;

interface Options {
  config: LoopbackConfig;
  link: GatewayLink;
  mediaDir: string;
  /** Names a message that the caller gave no id. */
  newMessageId: () => string;
}

/** Hands what people say and press to the server, and counts it. */
export class Arrivals {
  readonly #options: Options;
  /** Events that were taken, also by runs before this one: the cursor. */
  #received: number;
  #unacked = 0;

  /** @param cursor what a run before this one gave as the cursor of its last event */
  constructor(cursor: unknown, options: Options) {
    this.#received = readCursor(cursor);
    this.#options = options;
  }

  /**
   * Passes an arrival on; resolves, to its ids, when the server made it durable.
   * @throws DuragentError that says whether to send it again
   */
  async receive(type: 'message' | 'press', body: unknown): Promise<object> {
    const { link, mediaDir, newMessageId } = this.#options;
    if (link.signal.aborted) throw ending();
    if (this.#unacked >= MAX_UNACKED) {
      throw new DuragentError(
        'too_many_requests',
        `${MAX_UNACKED} messages wait for the server already. Send this one again later.`,
      );
    }
    this.#unacked += 1;
    try {
      const arrival = { messageId: newMessageId(), at: new Date().toISOString(), mediaDir };
      const event =
        type === 'message' ? await readMessage(body, arrival) : readPress(body, arrival);
      // Only now, when it is sent: the cursors are in the order of the lines.
      this.#received += 1;
      event.cursor = { received: this.#received };
      await this.#deliver(event);
      return {
        event_id: event.event_id,
        message_id: event.message_id,
        ...(event.type === 'callback_query' ? { callback_query_id: event.callback_query_id } : {}),
      };
    } finally {
      this.#unacked -= 1;
    }
  }

  async #deliver(event: InboundEvent & { event_id: string }): Promise<void> {
    const { config, link } = this.#options;
    const details = { event_id: event.event_id };
    const again = 'Send it again with the same event_id: then it counts once.';
    const delivered = link.deliver(event).catch((error: unknown) => {
      if (link.signal.aborted) {
        throw new DuragentError('draining', `The gateway ends. ${again}`, { details });
      }
      const reason = error instanceof Error ? error.message : String(error);
      throw new DuragentError('invalid_request', `It cannot be passed on: ${reason}`);
    });
    // Whether or not somebody still waits for it.
    delivered.catch(() => undefined);
    if (!config.capabilities.has('ack')) return;
    const late = new AbortController();
    try {
      await Promise.race([
        delivered,
        delay(config.ackTimeoutMs, undefined, { signal: late.signal }).then(() => {
          const message = `The server did not confirm it within ${config.ackTimeoutMs} ms. ${again}`;
          throw new DuragentError('request_timeout', message, { details });
        }),
        aborted(link.signal, late.signal).then(() => {
          throw new DuragentError('draining', `The gateway ends. ${again}`, { details });
        }),
      ]);
    } finally {
      late.abort();
    }
  }
}

/** The number that this gateway gave as its cursor; of anything else it starts anew. */
function readCursor(cursor: unknown): number {
  if (typeof cursor !== 'object' || cursor === null || !('received' in cursor)) return 0;
  const { received } = cursor;
  return typeof received === 'number' && Number.isSafeInteger(received) && received > 0
    ? received
    : 0;
}

function ending(): DuragentError {
  return new DuragentError('draining', 'The gateway ends. Send it again when it is back.');
}

/** Resolves when a signal aborts; its listener is gone when `until` aborts. */
async function aborted(signal: AbortSignal, until: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => resolve(), { once: true, signal: until });
  if (signal.aborted) resolve();
  await promise;
}
