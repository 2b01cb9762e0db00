/** One try to tell a webhook something. */
export interface WebhookRequest {
  /** Written by an operator; http or https. */
  url: string;
  /** Whether that may be no public address. */
  allowPrivate: boolean;
  /** `whsec_` and the key in base64. */
  secret: string;
  /** The same at every try, so that the receiver knows what it has had. */
  id: string;
  /** JSON; the same at every try. */
  body: string;
}

/** What came of a try. A `reason` is a sentence without the URL, the secret or anything of an answer's body. */
export type WebhookOutcome =
  /** `retryAfterMs`: the pause that it asked for; null: it asked for none. */
  | { type: 'answered'; status: number; retryAfterMs: number | null }
  /** Nothing of it can have arrived. `code`: `not_connected`, or `refused` where it may not be sent there. */
  | { type: 'unsent'; code: 'not_connected' | 'refused'; reason: string }
  /** It may have arrived. */
  | { type: 'lost'; reason: string };

/** Sends to webhooks, signed after Standard Webhooks. */
export interface WebhookSender {
  /** Tries once, within 15 s, following no redirect. Never throws; an aborted signal ends it soon. */
  send(request: WebhookRequest, options: { signal: AbortSignal }): Promise<WebhookOutcome>;
}
