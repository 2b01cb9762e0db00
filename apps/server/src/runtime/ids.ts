import { randomUUIDv7 } from 'node:crypto';
import type { IdKind } from '@duragent/protocol';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** A new id: `<kind>_` and a UUIDv7 as 26 Crockford base-32 characters, which sort by time. */
export function newId(kind: IdKind): string {
  const hex = randomUUIDv7().replaceAll('-', '');
  // Two digits are the first two characters, and every five after them four more.
  let text = characters(hex.slice(0, 2), 2);
  for (let at = 2; at < hex.length; at += 5) text += characters(hex.slice(at, at + 5), 4);
  return `${kind}_${text}`;
}

function characters(hex: string, count: number): string {
  const bits = Number.parseInt(hex, 16);
  let text = '';
  for (let shift = 5 * (count - 1); shift >= 0; shift -= 5) {
    text += ALPHABET[(bits >>> shift) & 31] ?? '';
  }
  return text;
}
