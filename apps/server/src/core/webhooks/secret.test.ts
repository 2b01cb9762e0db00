import { describe, expect, test } from 'vitest';
import { isWebhookSecret } from './secret.ts';

const secretOf = (bytes: number): string => `whsec_${Buffer.alloc(bytes, 0xa7).toString('base64')}`;

describe('a secret', () => {
  test.each([24, 25, 26, 32, 63, 64])('may have %i bytes', (bytes) => {
    expect(isWebhookSecret(secretOf(bytes))).toBe(true);
  });

  test.each([
    ['too short', secretOf(23)],
    ['too long', secretOf(65)],
    ['far too long', secretOf(10_000)],
    ['empty', ''],
    ['only its beginning', 'whsec_'],
    ['without its beginning', secretOf(32).slice(6)],
    ['of another beginning', secretOf(32).replace('whsec', 'WHSEC')],
    ['without its padding', secretOf(32).replace('=', '')],
    ['in base64url', secretOf(32).replace('p', '_')],
    ['with a line break', `${secretOf(32)}\n`],
    ['with a blank', ` ${secretOf(32)}`],
  ])('is not one that is %s', (_, text) => {
    expect(isWebhookSecret(text)).toBe(false);
  });
});
