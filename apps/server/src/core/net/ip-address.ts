/** An IP address as its bytes: 4 of IPv4, 16 of IPv6. */
export type IpBytes = readonly number[];

/** `::ffff:255.255.255.255` written out is no longer than this. */
const MAX_LENGTH = 45;

/**
 * The bytes of an address in the usual form of its family; null of anything else: a name, a zone
 * id, brackets, IPv4 in octal, hexadecimal or with fewer than four parts.
 */
export function parseIp(text: string): IpBytes | null {
  if (text.length > MAX_LENGTH) return null;
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): IpBytes | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  // A leading zero means octal to some and nothing to others.
  const bytes = parts.map((part) => (/^(0|[1-9][0-9]{0,2})$/.test(part) ? Number(part) : 256));
  return bytes.every((byte) => byte <= 255) ? bytes : null;
}

function parseIpv6(text: string): IpBytes | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const [head, tail] = [
    parseGroups(halves[0] ?? '', halves.length === 1),
    parseGroups(halves[1] ?? '', true),
  ];
  if (head === null || tail === null) return null;
  const left = 16 - head.length - tail.length;
  if (halves.length === 1) return left === 0 ? head : null;
  return left < 2 ? null : [...head, ...Array<number>(left).fill(0), ...tail];
}

/** The bytes of what is on one side of `::`; IPv4 may stand at the very end. */
function parseGroups(text: string, isEnd: boolean): number[] | null {
  if (text === '') return [];
  const groups = text.split(':');
  const bytes: number[] = [];
  for (const [index, group] of groups.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
      continue;
    }
    const embedded = isEnd && index === groups.length - 1 ? parseIpv4(group) : null;
    if (embedded === null) return null;
    bytes.push(...embedded);
  }
  return bytes;
}
