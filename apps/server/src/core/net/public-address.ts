import { type IpBytes, parseIp } from './ip-address.ts';

/** A range of addresses that is no place of the public internet. */
interface Range {
  from: string;
  bits: number;
  /** What is there, as in "it is …". */
  kind: string;
}

/** The IANA registries of special-purpose addresses, and what clouds use beside them. */
const RANGES_V4: readonly Range[] = [
  { from: '0.0.0.0', bits: 8, kind: 'an address of this network' },
  { from: '10.0.0.0', bits: 8, kind: 'a private address' },
  { from: '100.64.0.0', bits: 10, kind: 'an address behind a provider (CGNAT)' },
  { from: '127.0.0.0', bits: 8, kind: 'a loopback address' },
  // Azure's own services for its machines: secrets too, at what looks like a public address.
  { from: '168.63.129.16', bits: 32, kind: 'a metadata address' },
  { from: '169.254.0.0', bits: 16, kind: 'a link-local or metadata address' },
  { from: '172.16.0.0', bits: 12, kind: 'a private address' },
  { from: '192.0.0.0', bits: 24, kind: 'a reserved address' },
  { from: '192.0.2.0', bits: 24, kind: 'an address for examples' },
  { from: '192.88.99.0', bits: 24, kind: 'a 6to4 relay' },
  { from: '192.168.0.0', bits: 16, kind: 'a private address' },
  { from: '198.18.0.0', bits: 15, kind: 'an address for benchmarks' },
  { from: '198.51.100.0', bits: 24, kind: 'an address for examples' },
  { from: '203.0.113.0', bits: 24, kind: 'an address for examples' },
  { from: '224.0.0.0', bits: 4, kind: 'a multicast address' },
  // With the broadcast address.
  { from: '240.0.0.0', bits: 4, kind: 'a reserved address' },
];

const RANGES_V6: readonly Range[] = [
  { from: '::', bits: 128, kind: 'the unspecified address' },
  { from: '::1', bits: 128, kind: 'a loopback address' },
  { from: '::', bits: 96, kind: 'an IPv4-compatible address' },
  { from: '64:ff9b:1::', bits: 48, kind: 'a local NAT64 address' },
  { from: '100::', bits: 64, kind: 'a discard address' },
  // Teredo, ORCHID, benchmarks: none is a server's address.
  { from: '2001::', bits: 23, kind: 'a Teredo or other special-purpose address' },
  { from: '2001:db8::', bits: 32, kind: 'an address for examples' },
  { from: '2002::', bits: 16, kind: 'a 6to4 address' },
  { from: '3fff::', bits: 20, kind: 'an address for examples' },
  { from: '5f00::', bits: 16, kind: 'a segment routing address' },
  { from: 'fc00::', bits: 7, kind: 'a private address' },
  { from: 'fe80::', bits: 10, kind: 'a link-local address' },
  { from: 'fec0::', bits: 10, kind: 'a site-local address' },
  { from: 'ff00::', bits: 8, kind: 'a multicast address' },
];

/** Ranges whose last four bytes are the IPv4 address that is really meant. */
const EMBEDDING: readonly Range[] = [
  { from: '::ffff:0:0', bits: 96, kind: 'mapped' },
  { from: '64:ff9b::', bits: 96, kind: 'NAT64' },
];

/** All of IPv6 that is given out as public. */
const GLOBAL_UNICAST: Range = { from: '2000::', bits: 3, kind: '' };

/**
 * Why a connection to an address could reach what is not on the public internet, as in "it is …";
 * null: it is public. What is no address at all is refused too.
 */
export function addressFault(address: string): string | null {
  const bytes = parseIp(address);
  if (bytes === null) return 'no plain IP address';
  return bytes.length === 4 ? faultOfIpv4(bytes) : faultOfIpv6(bytes);
}

function faultOfIpv4(bytes: IpBytes): string | null {
  return RANGES_V4.find((range) => isWithin(bytes, range))?.kind ?? null;
}

function faultOfIpv6(bytes: IpBytes): string | null {
  if (EMBEDDING.some((range) => isWithin(bytes, range))) return faultOfIpv4(bytes.slice(12));
  const range = RANGES_V6.find((each) => isWithin(bytes, each));
  if (range !== undefined) return range.kind;
  if (!isWithin(bytes, GLOBAL_UNICAST)) return 'a reserved address';
  return isIsatap(bytes) ? 'an ISATAP address' : null;
}

/** An interface id of `0:5efe` or `200:5efe`, then IPv4: a tunnel to that address. */
function isIsatap(bytes: IpBytes): boolean {
  const [a = 0, b, c, d] = bytes.slice(8);
  return (a & 0xfd) === 0 && b === 0 && c === 0x5e && d === 0xfe;
}

function isWithin(bytes: IpBytes, { from, bits }: Range): boolean {
  const start = parseIp(from);
  if (start?.length !== bytes.length) return false;
  return start.every((byte, index) => {
    const left = Math.min(Math.max(bits - 8 * index, 0), 8);
    const mask = (0xff << (8 - left)) & 0xff;
    return (byte & mask) === ((bytes[index] ?? 0) & mask);
  });
}
