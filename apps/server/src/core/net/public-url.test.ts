import { describe, expect, it } from 'vitest';
import { hostFault, urlFault } from './public-url.ts';

describe('a URL that nobody may fetch', () => {
  it.each([
    ['file:///etc/passwd', 'file: URLs cannot be fetched'],
    ['ftp://example.com/', 'ftp: URLs cannot be fetched'],
    ['javascript:alert(1)', 'javascript: URLs cannot be fetched'],
    ['https://user@example.com/', 'user name or password'],
    ['https://:pass@example.com/', 'user name or password'],
    ['http://example.com:0/', 'Port 0 belongs'],
    ['http://example.com:22/', 'Port 22 belongs'],
    ['http://example.com:6000/', 'Port 6000 belongs'],
    [`http://example.com/${'x'.repeat(4_096)}`, 'longer than 4096 characters'],
  ])('%.40s', (url, fault) => {
    expect(urlFault(new URL(url))).toContain(fault);
  });
});

it.each(['https://example.com/', 'http://example.com:8080/a?b#c', 'http://example.com:80/'])(
  'lets %s pass',
  (url) => {
    expect(urlFault(new URL(url))).toBeNull();
  },
);

describe('a name that is not public', () => {
  const machine = ['localhost', 'LOCALHOST', 'localhost.', 'a.localhost', 'localhost.localdomain'];
  const network = ['printer.local', 'db.internal', 'metadata.google.internal.', 'nas.home.arpa'];
  it.each([machine, network, 'router.lan', '', '.'].flat())('%j', (name) => {
    expect(hostFault(name)).not.toBeNull();
  });
});

it.each(['example.com', 'localhost.example.com', 'notlocalhost', 'mylocal', 'internal.example'])(
  'lets the addresses of %s decide',
  (name) => {
    expect(hostFault(name)).toBeNull();
  },
);
