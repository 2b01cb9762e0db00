import type { ErrorInfo } from '@duragent/protocol';
import type { DeliveryEnd } from '../../core/session/session-input.ts';
import { notificationBody } from '../../core/webhooks/notification.ts';
import { askedWaitMs, retryWaitMs } from '../../core/webhooks/retry-wait.ts';
import { type Clock, sleep } from '../../ports/clock.ts';
import type { WebhookOutcome, WebhookRequest, WebhookSender } from '../../ports/webhook-sender.ts';
import type { Chats, PartToSend } from '../chats.ts';
import { WakeList } from '../gateways/wake-list.ts';
import type { Logger } from '../logger.ts';
import { Slots } from '../slots.ts';

/** Requests to one webhook at once. */
const MAX_AT_ONCE = 4;
/** Longest single wait, should the clock jump, in ms. */
const LOOK_MS = 60 * 60 * 1000;

/** The webhooks that there are. */
export interface WebhookSettings {
  /** Whether they may be at addresses that are not public. */
  allowPrivate: boolean;
  /** No two have one name. */
  outgoing: readonly { name: string; url: string; secret: string }[];
}

export interface WebhooksDeps {
  clock: Clock;
  log: Logger;
  sender: WebhookSender;
  /** From 0 up to 1. */
  random: () => number;
}

/** Where a webhook is, and what is known of it since that was said. */
interface Endpoint {
  at: Pick<WebhookRequest, 'url' | 'secret' | 'allowPrivate'>;
  slots: Slots;
  /** Until when it asked to wait, on the monotonic clock. */
  blockedUntil: number;
  /** It said that nothing will ever be taken there. */
  isGone: boolean;
}

/**
 * Sends what sessions owe to webhooks. What may have arrived is sent again with the same id and the
 * same body, whatever `delivery.on_uncertain` says: the receiver tells copies by the id.
 */
export class Webhooks {
  readonly #deps: WebhooksDeps;
  readonly #changes = new WakeList();
  #endpoints: ReadonlyMap<string, Endpoint> = new Map();

  constructor(deps: WebhooksDeps, settings: WebhookSettings) {
    this.#deps = deps;
    this.apply(settings);
  }

  /** Their names, in the order of the configuration. */
  get names(): string[] {
    return [...this.#endpoints.keys()];
  }

  /** Takes a new configuration. What is being sent goes on; one that did not change keeps what is known of it. */
  apply({ allowPrivate, outgoing }: WebhookSettings): void {
    const before = this.#endpoints;
    this.#endpoints = new Map(
      outgoing.map(({ name, url, secret }) => {
        const at = { url, secret, allowPrivate };
        const known = before.get(name);
        const isKnown = known && JSON.stringify(known.at) === JSON.stringify(at);
        return [name, isKnown ? known : newEndpoint(at)];
      }),
    );
    this.#changes.wake();
  }

  /** As `Chats.send`, to the webhook that the chat's id names. */
  async send(
    part: PartToSend,
    { begin, signal }: Parameters<Chats['send']>[1],
  ): Promise<DeliveryEnd> {
    const { content, isEdit = false, parts, out, session, agent, recordedAt } = part;
    // Nothing to edit was ever posted.
    if (isEdit) return { outcome: 'delivered' };
    if (content.type !== 'text' || parts > 1) return { outcome: 'dead', error: UNFIT };
    const entered = await this.#enter(part, signal);
    if (!entered)
      return { outcome: 'dead', error: expired(this.#endpoints.has(part.chat.chat_id)) };
    const { endpoint, leave } = entered;
    try {
      if (endpoint.isGone) return { outcome: 'dead', error: GONE };
      const { text } = content;
      const body = notificationBody({ id: out, session, agent, text, recordedAt });
      await begin();
      const request = { ...endpoint.at, id: out, body };
      const outcome = await this.#deps.sender.send(request, { signal });
      signal.throwIfAborted();
      return this.#endOf(outcome, endpoint, part);
    } finally {
      leave();
    }
  }

  /** Waits for a place at the webhook. @returns null when the part's time was over first. */
  async #enter(
    part: PartToSend,
    signal: AbortSignal,
  ): Promise<{ endpoint: Endpoint; leave: () => void } | null> {
    for (;;) {
      const endpoint = await this.#open(part, signal);
      if (!endpoint) return null;
      const leave = await endpoint.slots.acquire(signal);
      // Much may have changed while this waited for its place.
      const isSame = this.#endpoints.get(part.chat.chat_id) === endpoint;
      const isInTime = part.expiresAt > this.#deps.clock.now();
      if (isSame && isInTime && this.#waitOf(endpoint) <= 0) return { endpoint, leave };
      leave();
    }
  }

  /** Waits until the webhook is configured and takes more. @returns null when the part's time was over first. */
  async #open(part: PartToSend, signal: AbortSignal): Promise<Endpoint | null> {
    const { clock } = this.#deps;
    for (;;) {
      signal.throwIfAborted();
      const left = part.expiresAt - clock.now();
      if (left <= 0) return null;
      const endpoint = this.#endpoints.get(part.chat.chat_id);
      const wait = endpoint ? this.#waitOf(endpoint) : LOOK_MS;
      if (endpoint && wait <= 0) return endpoint;
      const timer = new AbortController();
      const stop = AbortSignal.any([signal, timer.signal]);
      const time = sleep(clock, Math.min(left, wait, LOOK_MS), stop).catch(() => undefined);
      await Promise.race([time, this.#changes.wait(stop)]);
      timer.abort();
    }
  }

  /** How long nothing may be sent there, in ms; one that is gone says so at once. */
  #waitOf({ isGone, blockedUntil }: Endpoint): number {
    return isGone ? 0 : blockedUntil - this.#deps.clock.monotonic();
  }

  #endOf(outcome: WebhookOutcome, endpoint: Endpoint, part: PartToSend): DeliveryEnd {
    const { clock, random } = this.#deps;
    const left = Math.max(0, part.expiresAt - clock.now());
    const retryAfterMs = Math.min(left, retryWaitMs(part.attempt, random()));
    switch (outcome.type) {
      case 'unsent': {
        const error = { code: outcome.code, message: outcome.reason };
        return { outcome: 'failed', error, retryAfterMs };
      }
      case 'lost': {
        const error = { code: 'lost', message: outcome.reason };
        return { outcome: 'uncertain', error, retryAfterMs };
      }
      case 'answered': {
        const { status } = outcome;
        if (status >= 200 && status < 300) return { outcome: 'delivered' };
        if (status === 410) return this.#giveUp(endpoint, part);
        if ((status !== 429 && status !== 503) || outcome.retryAfterMs === null) {
          return { outcome: 'failed', error: answered(status), retryAfterMs };
        }
        const pause = askedWaitMs(outcome.retryAfterMs);
        endpoint.blockedUntil = clock.monotonic() + pause;
        const error = { ...answered(status), code: 'rate_limited' };
        return { outcome: 'failed', error, retryAfterMs: Math.min(left, pause) };
      }
    }
  }

  #giveUp(endpoint: Endpoint, { chat }: PartToSend): DeliveryEnd {
    if (!endpoint.isGone) {
      endpoint.isGone = true;
      this.#deps.log.warn(
        { webhook: chat.chat_id },
        'a webhook is gone (410): nothing more is sent to it until its configuration changes or the server restarts',
      );
      this.#changes.wake();
    }
    return { outcome: 'dead', error: GONE };
  }
}

function newEndpoint(at: Endpoint['at']): Endpoint {
  return { at, slots: new Slots(MAX_AT_ONCE), blockedUntil: -Infinity, isGone: false };
}

function answered(status: number): ErrorInfo {
  const isRedirect = status >= 300 && status < 400;
  const hint = isRedirect ? ' Redirects are not followed: write the URL that it leads to.' : '';
  return { code: 'platform_error', message: `It answered ${status}.${hint}` };
}

function expired(isConfigured: boolean): ErrorInfo {
  const message = isConfigured
    ? 'It could not be sent within its time (delivery.ttl).'
    : 'There was no such webhook within its time (webhooks.outgoing, delivery.ttl).';
  return { code: 'expired', message };
}

const GONE: ErrorInfo = {
  code: 'gone',
  message:
    'It answered 410 (Gone): nothing more is sent there until its configuration changes or the server restarts.',
};
const UNFIT: ErrorInfo = {
  code: 'invalid_request',
  message: 'A webhook takes one text, and no file.',
};
