import { createHmac } from 'node:crypto';
import type { Clock } from '../../ports/clock.ts';
import type { GuardedFetch, WebFailure } from '../../ports/web.ts';
import type { WebhookOutcome, WebhookRequest, WebhookSender } from '../../ports/webhook-sender.ts';

/** How long a webhook may take to answer, in ms, its name looked up included. */
export const ANSWER_MS = 15_000;

/** Over HTTP, by way of the guarded fetch, which ends within `ANSWER_MS`. */
export function httpWebhookSender({
  guardedFetch,
  clock,
}: {
  guardedFetch: GuardedFetch;
  clock: Clock;
}): WebhookSender {
  return {
    async send(request, { signal }) {
      const { url, allowPrivate, body } = request;
      let isConnected = false;
      const answer = await guardedFetch(url, {
        signal,
        allowPrivate,
        headers: signatureOf(request, Math.floor(clock.now() / 1_000)),
        post: {
          type: 'application/cloudevents+json',
          body,
          onConnect: () => (isConnected = true),
        },
      });
      if (!answer.ok) return explain(answer, isConnected);
      const { status, retryAfter } = answer;
      return { type: 'answered', status, retryAfterMs: pauseOf(retryAfter, clock.now()) };
    },
  };
}

/** Whose message it is and when it was sent, with the proof: as Standard Webhooks has it. */
function signatureOf({ id, secret, body }: WebhookRequest, seconds: number) {
  const key = Buffer.from(secret.slice(secret.indexOf('_') + 1), 'base64');
  const mac = createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64');
  return {
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': `v1,${mac}`,
  };
}

/** What `retry-after` asks for, in ms: it has seconds, or a date. */
function pauseOf(header: string | null, now: number): number | null {
  if (header === null) return null;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1_000;
  // What is no date of HTTP may still be one for `Date`, such as -1.
  const at = /^[A-Z][a-z]+, /.test(header) ? Date.parse(header) : Number.NaN;
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}

function explain({ code, reason }: WebFailure, isConnected: boolean): WebhookOutcome {
  const why = reason === undefined ? '' : ` (${reason})`;
  if (isConnected) {
    const lost =
      code === 'timed_out'
        ? `It did not answer within ${ANSWER_MS / 1_000} s.`
        : `The connection broke before it answered${why}.`;
    return { type: 'lost', reason: lost };
  }
  switch (code) {
    case 'address_refused':
      return {
        type: 'unsent',
        code: 'refused',
        reason:
          'Its address is not on the public internet; set webhooks.allow_private: true if it may be private.',
      };
    case 'url_invalid':
    case 'url_refused':
      return {
        type: 'unsent',
        code: 'refused',
        reason: 'Nothing can be sent to its URL; correct it in webhooks.outgoing.',
      };
    case 'host_not_found':
      return unconnected('Its host was not found.');
    case 'timed_out':
      return unconnected(`No connection stood within ${ANSWER_MS / 1_000} s.`);
    default:
      return unconnected(`It could not be reached${why}.`);
  }
}

function unconnected(reason: string): WebhookOutcome {
  return { type: 'unsent', code: 'not_connected', reason };
}
