import { hash } from 'node:crypto';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const LENGTH = 26;

/** The id of a schedule, `sched_` and 26 Crockford base-32 characters: the same for the same seed. */
export function scheduleIdOf(seed: string): string {
  let value = BigInt(`0x${hash('sha256', seed, 'hex')}`);
  let text = '';
  for (let i = 0; i < LENGTH; i += 1) {
    text += ALPHABET[Number(value & 31n)] ?? '';
    value >>= 5n;
  }
  return `sched_${text}`;
}
