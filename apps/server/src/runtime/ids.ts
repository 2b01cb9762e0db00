import { randomUUIDv7 } from 'node:crypto';
import type { IdKind } from '@duragent/protocol';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** A new id: `<kind>_` and a UUIDv7 as 26 Crockford base-32 characters, which sort by time. */
export function newId(kind: IdKind): string {
  let value = BigInt(`0x${randomUUIDv7().replaceAll('-', '')}`);
  let text = '';
  for (let i = 0; i < 26; i += 1) {
    text = (ALPHABET[Number(value & 31n)] ?? '') + text;
    value >>= 5n;
  }
  return `${kind}_${text}`;
}
