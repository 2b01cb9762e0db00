import { randomUUIDv7 } from 'node:crypto';
import type { IdKind } from '@duragent/protocol';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const [DASH, ZERO, NINE, A] = [0x2d, 0x30, 0x39, 0x61];

/** A new id: `<kind>_` and a UUIDv7 as 26 Crockford base-32 characters, which sort by time. */
export function newId(kind: IdKind): string {
  const uuid = randomUUIDv7();
  let text = `${kind}_`;
  // Two zeros before the 128 bits: 26 times five.
  let count = 2;
  let bits = 0;
  for (let at = 0; at < uuid.length; at += 1) {
    const code = uuid.charCodeAt(at);
    if (code === DASH) continue;
    bits = (bits << 4) | (code - (code <= NINE ? ZERO : A - 10));
    count += 4;
    if (count < 5) continue;
    count -= 5;
    text += ALPHABET[bits >> count] ?? '';
    bits &= (1 << count) - 1;
  }
  return text;
}
