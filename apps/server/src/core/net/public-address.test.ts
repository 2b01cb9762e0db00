import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIp } from './ip-address.ts';
import { addressFault } from './public-address.ts';

describe('an address is read', () => {
  it.each([
    ['1.2.3.4', [1, 2, 3, 4]],
    ['0.0.0.0', [0, 0, 0, 0]],
    ['::', Array(16).fill(0)],
    ['::1', [...Array(15).fill(0), 1]],
    ['1::', [0, 1, ...Array(14).fill(0)]],
    ['1:2:3:4:5:6:7:8', [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]],
    ['1:2:3:4:5:6:7::', [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 0]],
    ['::FFFF:1.2.3.4', [...Array(10).fill(0), 255, 255, 1, 2, 3, 4]],
    ['1:2:3:4:5:6:1.2.3.4', [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 1, 2, 3, 4]],
  ])('%s', (text, bytes) => {
    expect(parseIp(text)).toEqual(bytes);
  });
});

describe('no address is', () => {
  const words = ['', ' ', 'localhost', '0'.repeat(100)];
  const ipv4 = ['1.2.3', '1.2.3.4.5', '1.2.3.256', '01.2.3.4', '0x1.2.3.4', '1.2.3.4 ', '-1.2.3.4'];
  const odd = ['1..2.3', '127.1', '2130706433', '１.2.3.4', '1.2.3.4\n', '1e1.0.0.1', '+1.2.3.4'];
  const ipv6 = [':', ':::', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1::2::3', '::1%lo', '[::1]'];
  const mixed = ['12345::', '1:2:3:4:5:6:7:8::', '::g', '1.2.3.4::', '::1.2.3.4:1', '1.2.3.4::1'];
  const ends = ['::1.2.3', ' ::1', '::1\n', '::1.2.3.04', '1:2:3:4:5:6:7:1.2.3.4'];
  it.each([words, ipv4, odd, ipv6, mixed, ends].flat())('%j', (text) => {
    expect(parseIp(text)).toBeNull();
    expect(addressFault(text)).toBe('no plain IP address');
  });
});

/** The first and the last of each range, and what is public right beside it. */
describe('a range is closed from its first to its last address', () => {
  it.each([
    [null, '0.0.0.0', '0.255.255.255', '1.0.0.0'],
    ['9.255.255.255', '10.0.0.0', '10.255.255.255', '11.0.0.0'],
    ['100.63.255.255', '100.64.0.0', '100.127.255.255', '100.128.0.0'],
    ['126.255.255.255', '127.0.0.0', '127.255.255.255', '128.0.0.0'],
    ['168.63.129.15', '168.63.129.16', '168.63.129.16', '168.63.129.17'],
    ['169.253.255.255', '169.254.0.0', '169.254.255.255', '169.255.0.0'],
    ['172.15.255.255', '172.16.0.0', '172.31.255.255', '172.32.0.0'],
    ['191.255.255.255', '192.0.0.0', '192.0.0.255', '192.0.1.0'],
    ['192.0.1.255', '192.0.2.0', '192.0.2.255', '192.0.3.0'],
    ['192.88.98.255', '192.88.99.0', '192.88.99.255', '192.88.100.0'],
    ['192.167.255.255', '192.168.0.0', '192.168.255.255', '192.169.0.0'],
    ['198.17.255.255', '198.18.0.0', '198.19.255.255', '198.20.0.0'],
    ['198.51.99.255', '198.51.100.0', '198.51.100.255', '198.51.101.0'],
    ['203.0.112.255', '203.0.113.0', '203.0.113.255', '203.0.114.0'],
    ['223.255.255.255', '224.0.0.0', '255.255.255.255', null],
    [null, '::', '1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '2000::'],
    ['2000:ffff::', '2001::', '2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff', '2001:200::'],
    ['2001:db7:ffff::', '2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', '2001:db9::'],
    ['2001:ffff::', '2002::', '2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '2003::'],
    ['3ffe:ffff::', '3fff::', '3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff', '3fff:1000::'],
    ['3fff:ffff::', '4000::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', null],
  ])('%s | %s to %s | %s', (before, first, last, after) => {
    for (const address of [first, last]) expect(addressFault(address)).not.toBeNull();
    for (const address of [before, after]) {
      if (address !== null) expect(addressFault(address)).toBeNull();
    }
  });
});

it.each([
  ['127.0.0.1', 'a loopback address'],
  ['::1', 'a loopback address'],
  ['::ffff:10.0.0.1', 'a private address'],
  ['64:ff9b::a9fe:a9fe', 'a link-local or metadata address'],
  ['64:ff9b:1::808:808', 'a local NAT64 address'],
  ['::8.8.8.8', 'an IPv4-compatible address'],
  ['fd00:ec2::254', 'a private address'],
  ['fe80::1', 'a link-local address'],
  ['ff02::1', 'a multicast address'],
  ['2606:4700::5efe:8.8.8.8', 'an ISATAP address'],
  ['1234::1', 'a reserved address'],
])('says of %s that it is %s', (address, kind) => {
  expect(addressFault(address)).toBe(kind);
});

it.each(['8.8.8.8', '93.184.216.34', '2606:4700:4700::1111', '2a00:1450:4001:81b::200e'])(
  'lets %s pass, and as mapped or translated',
  (address) => {
    expect(addressFault(address)).toBeNull();
    if (address.includes(':')) return;
    expect(addressFault(`::ffff:${address}`)).toBeNull();
    expect(addressFault(`64:ff9b::${address}`)).toBeNull();
  },
);

it('judges IPv4 the same however IPv6 carries it', () => {
  fc.assert(
    fc.property(fc.ipV4(), (address) => {
      expect(addressFault(`::ffff:${address}`)).toBe(addressFault(address));
      expect(addressFault(`64:ff9b::${address}`)).toBe(addressFault(address));
    }),
  );
});

it('answers whatever the text', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.ipV6(), fc.ipV4Extended()), (text) => {
      const fault = addressFault(text);
      expect(fault === null || fault.length > 0).toBe(true);
    }),
  );
});
