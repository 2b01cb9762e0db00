import { createHash } from 'node:crypto';

/** The first 16 hex digits of a key's SHA-256: enough to know it again, and not the key. */
export function hashKey(key: string): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 16);
}
