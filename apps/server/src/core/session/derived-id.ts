const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const TIME_CHARS = 10;

/**
 * The id of the delivery of one work to one chat: the same work names the same delivery, so that
 * a preview and what finishes it agree, also after a crash.
 * @param owner an id of the server that sorts by time, such as the turn's.
 * @param work what is delivered, within the owner, and where to.
 */
export function outId(owner: string, work: string): string {
  return derivedId('out', owner, work);
}

/** An id that follows from what it is for: deciding twice names it the same. */
export function derivedId(prefix: 'out' | 'appr' | 'q', owner: string, work: string): string {
  const time = owner
    .slice(owner.indexOf('_') + 1)
    .slice(0, TIME_CHARS)
    .padEnd(TIME_CHARS, '0');
  let rest = '';
  for (let round = 0; round < 4; round += 1) {
    // 20 of the 32 bits of each round.
    let bits = hash(`${round}/${owner}/${work}`);
    for (let i = 0; i < 4; i += 1) {
      rest += ALPHABET[bits & 31] ?? '0';
      bits >>>= 5;
    }
  }
  return `${prefix}_${time}${rest}`;
}

/** FNV-1a over UTF-16 units with a last mix, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  }
  value ^= value >>> 16;
  value = Math.imul(value, 0x85ebca6b);
  value ^= value >>> 13;
  value = Math.imul(value, 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
