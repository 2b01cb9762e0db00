const LEAST_BYTES = 24;
const MOST_BYTES = 64;
/** Padded, as every library that verifies reads it. */
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Begins every secret, and is no part of its key. */
const SECRET_PREFIX = 'whsec_';

/** Whether a text is a secret of Standard Webhooks: `whsec_` and 24 to 64 bytes in base64. */
export function isWebhookSecret(text: string): boolean {
  const key = text.slice(SECRET_PREFIX.length);
  if (!text.startsWith(SECRET_PREFIX) || key.length > 2 * MOST_BYTES || !base64.test(key)) {
    return false;
  }
  const bytes = Math.floor((key.replace(/=/g, '').length * 3) / 4);
  return bytes >= LEAST_BYTES && bytes <= MOST_BYTES;
}
