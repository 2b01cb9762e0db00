import { readFileSync } from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, test } from 'vitest';
import { until } from '../../../../../test/support/until.ts';
import type { Fetched, FetchOptions, WebFailure } from '../../ports/web.ts';
import { testCertificate, testKey } from './certificate.testing.ts';
import { createGuardedFetch, type FetchRules, type FetchSurroundings } from './guarded-fetch.ts';
import { openStage, PUBLIC, rules, type Stage } from './stage.testing.ts';

const MIB = 1024 * 1024;
const never = new AbortController().signal;

interface Attack {
  line: string;
  kind: string;
  /** The status of a redirect, the addresses of a name; empty for a plain URL. */
  detail: string;
  url: string;
}

const attacks = readFileSync(
  path.join(import.meta.dirname, '../../../../../test/fixtures/ssrf-urls.txt'),
  'utf8',
)
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map(readAttack);

function readAttack(line: string): Attack {
  const [kind = '', ...words] = line.split(' ');
  const detail = kind === 'fetch' ? '' : (words.shift() ?? '');
  const text = words.join(' ');
  const url = text.startsWith('"') ? (JSON.parse(text) as string) : text;
  return { line, kind, detail, url };
}

function urlOf({ url }: Attack, { canaryPort }: Stage): string {
  return url.replaceAll('{port}', String(canaryPort));
}

function ofKind(kind: string): Attack[] {
  return attacks.filter((attack) => attack.kind === kind);
}

let stage: Stage;

function fetchOn(
  url: string,
  options: Partial<FetchOptions> = {},
  surroundings: Partial<FetchSurroundings> = {},
  changed: Partial<FetchRules> = {},
): Promise<Fetched | WebFailure> {
  const fetch = createGuardedFetch(
    { ...rules, ...changed },
    { ...stage.surroundings, ...surroundings },
  );
  return fetch(url, { signal: never, ...options });
}

function textOf(outcome: Fetched | WebFailure): string {
  return outcome.ok ? Buffer.from(outcome.body).toString() : `${outcome.code}: ${outcome.message}`;
}

describe('no attack reaches what is not public', () => {
  beforeAll(async () => {
    stage = await openStage();
  });
  afterAll(async () => {
    expect(stage.caught).toBe(0);
    await stage[Symbol.asyncDispose]();
  });

  const refusals = ['url_invalid', 'url_refused', 'address_refused'];

  test('there are enough of them', () => {
    expect(ofKind('fetch').length).toBeGreaterThanOrEqual(150);
    expect(new Set(attacks.map(({ line }) => line)).size).toBe(attacks.length);
    expect(attacks.filter(({ kind }) => !['fetch', 'redirect', 'resolve'].includes(kind))).toEqual(
      [],
    );
  });

  it.each(ofKind('fetch'))('$line', async (attack) => {
    const outcome = await fetchOn(urlOf(attack, stage));
    expect(outcome).toMatchObject({ ok: false, code: expect.toBeOneOf(refusals) });
    expect(stage.caught).toBe(0);
  });

  it.each(ofKind('redirect'))('$line', async (attack) => {
    const location = urlOf(attack, stage);
    stage.answer = (_, response) => {
      // Written as it is: it would be refused as a header's value otherwise.
      response.socket?.end(
        `HTTP/1.1 ${attack.detail} Moved\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`,
      );
    };
    const before = stage.requests.length;
    const outcome = await fetchOn(`http://${PUBLIC}/`);
    expect(outcome).toMatchObject({ ok: false, code: expect.toBeOneOf(refusals) });
    expect(stage.requests.length).toBe(before + 1);
    expect(stage.caught).toBe(0);
  });

  it.each(ofKind('resolve'))('$line', async (attack) => {
    const resolve = () =>
      Promise.resolve(
        attack.detail
          .split(',')
          .map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );
    const outcome = await fetchOn(urlOf(attack, stage), {}, { resolve });
    expect(outcome).toMatchObject({ ok: false, code: 'address_refused' });
    expect(stage.caught).toBe(0);
  });
});

describe('on a stage of its own', () => {
  beforeEach(async () => {
    stage = await openStage();
  });
  afterEach(async () => {
    await stage[Symbol.asyncDispose]();
  });

  test('without its rules, the attacks reach the canary: the test would notice', async () => {
    const none = { addressFault: () => null, hostFault: () => null };
    let reached = 0;
    for (const attack of ofKind('fetch')) {
      const outcome = await fetchOn(urlOf(attack, stage), {}, {}, none);
      if (textOf(outcome) === 'caught') reached += 1;
    }
    expect(reached).toBeGreaterThan(150);
    expect(stage.caught).toBeGreaterThanOrEqual(reached);
  });

  test('a public page is fetched, by GET, with the name it was asked by', async () => {
    stage.names.set('page.example', [PUBLIC]);
    stage.answer = (_, response) =>
      response.writeHead(200, { 'content-type': 'Text/HTML; charset="UTF-8"' }).end('<p>Hi');
    const outcome = await fetchOn('http://page.example/a%20b?c=d#e');
    expect(outcome).toMatchObject({
      ok: true,
      url: 'http://page.example/a%20b?c=d',
      status: 200,
      mime: 'text/html',
      charset: 'utf-8',
      truncated: false,
      redirects: 0,
    });
    expect(textOf(outcome)).toBe('<p>Hi');
    const [request] = stage.requests;
    expect(request).toMatchObject({ method: 'GET', url: '/a%20b?c=d' });
    expect(Object.keys(request?.headers ?? {}).sort()).toEqual(
      ['accept', 'accept-encoding', 'connection', 'host', 'user-agent'].sort(),
    );
    expect(request?.headers.host).toBe('page.example');
  });

  test('an error of the server is an answer', async () => {
    expect(await fetchOn(`http://${PUBLIC}/`)).toMatchObject({ ok: true, status: 404, mime: '' });
  });

  test('a name is looked up once: what it means later does not matter', async () => {
    const meanings = [PUBLIC, '127.0.0.1', '127.0.0.1'];
    let lookups = 0;
    const resolve = () => {
      const address = meanings[lookups] ?? '127.0.0.1';
      lookups += 1;
      return Promise.resolve([{ address, family: 4 }]);
    };
    stage.answer = (_, response) => response.end('public');
    expect(textOf(await fetchOn('http://rebound.example/', {}, { resolve }))).toBe('public');
    expect(lookups).toBe(1);
    expect(stage.caught).toBe(0);
  });

  test('a redirect to a name that means something else now is refused', async () => {
    const meanings = [PUBLIC, '127.0.0.1'];
    const resolve = () =>
      Promise.resolve([{ address: meanings.shift() ?? '127.0.0.1', family: 4 }]);
    stage.answer = (_, response) => response.writeHead(302, { location: '/again' }).end();
    const outcome = await fetchOn('http://rebound.example/', {}, { resolve });
    expect(outcome).toMatchObject({ ok: false, code: 'address_refused' });
    expect(stage.caught).toBe(0);
  });

  test('a connection is made to the address that was checked, without another lookup', async () => {
    // The real way to connect. The name exists nowhere; for once, loopback counts as public.
    const { connect: _, ...others } = stage.surroundings;
    const fetch = createGuardedFetch(
      { ...rules, addressFault: (address) => (address === '127.0.0.1' ? null : 'elsewhere') },
      others,
    );
    stage.answer = (request, response) => response.end(request.headers.host);
    const url = `http://pinned.example:${stage.publicPort}/`;
    expect(textOf(await fetch(url, { signal: never }))).toBe(`pinned.example:${stage.publicPort}`);
  });

  test('this machine is refused by its public address too', async () => {
    const ownAddresses = () => ['10.1.2.3', PUBLIC, '2606:4700::7'];
    for (const url of [`http://${PUBLIC}/`, 'http://[2606:4700::7]/', `http://[::ffff:${PUBLIC}]/`])
      expect(textOf(await fetchOn(url, {}, { ownAddresses }))).toContain(
        'The host is this machine',
      );
    expect(stage.requests).toEqual([]);
  });

  test('what a page says in its HTML is not followed', async () => {
    const html = `<meta http-equiv="refresh" content="0;url=http://127.0.0.1:${stage.canaryPort}/">`;
    stage.answer = (_, response) =>
      response
        .writeHead(200, { refresh: `0; url=http://127.0.0.1:${stage.canaryPort}/` })
        .end(html);
    expect(textOf(await fetchOn(`http://${PUBLIC}/`))).toBe(html);
    expect(stage.caught).toBe(0);
  });

  describe('redirects', () => {
    const countDown: Stage['answer'] = (request, response) => {
      const left = Number(request.url?.slice(1));
      if (left === 0) response.end('there');
      else response.writeHead(302, { location: String(left - 1) }).end();
    };

    test('five are followed', async () => {
      stage.answer = countDown;
      const outcome = await fetchOn(`http://${PUBLIC}/5`);
      expect(outcome).toMatchObject({ ok: true, url: `http://${PUBLIC}/0`, redirects: 5 });
      expect(textOf(outcome)).toBe('there');
    });

    test('six are not, nor is a circle', async () => {
      stage.answer = countDown;
      expect(await fetchOn(`http://${PUBLIC}/6`)).toMatchObject({ code: 'too_many_redirects' });
      stage.answer = (_, response) => response.writeHead(301, { location: '/' }).end();
      expect(await fetchOn(`http://${PUBLIC}/`)).toMatchObject({ code: 'too_many_redirects' });
    });

    test('other statuses, and redirects to nowhere, are answers', async () => {
      stage.answer = (request, response) => {
        const status = Number(request.url?.slice(1));
        response.writeHead(status, status === 302 ? {} : { location: '/0' }).end();
      };
      for (const status of [200, 201, 300, 302, 304])
        expect(await fetchOn(`http://${PUBLIC}/${status}`)).toMatchObject({ status, redirects: 0 });
    });

    test('headers go to the origin that they were meant for only', async () => {
      stage.names.set('api.example', [PUBLIC]).set('other.example', [PUBLIC]);
      const ways: Record<string, string> = {
        '/one': '/two',
        '/two': 'http://other.example/three',
        '/three': 'http://api.example:81/four',
      };
      stage.answer = (request, response) => {
        const location = ways[request.url ?? ''];
        if (location === undefined) response.end();
        else response.writeHead(307, { location }).end();
      };
      const headers = { authorization: 'Bearer canary', 'x-key': 'canary' };
      await fetchOn('http://api.example/one', { headers });
      const seen = stage.requests.map(({ url, headers: { authorization, ...others } }) => [
        url,
        authorization,
        others['x-key'],
      ]);
      expect(seen).toEqual([
        ['/one', 'Bearer canary', 'canary'],
        ['/two', 'Bearer canary', 'canary'],
        ['/three', undefined, undefined],
        ['/four', undefined, undefined],
      ]);
    });
  });

  describe('URLs that the operator wrote', () => {
    test('may be private', async () => {
      const options = { allowPrivate: true };
      const url = `http://127.0.0.1:${stage.canaryPort}/`;
      expect(textOf(await fetchOn(url, options))).toBe('caught');
      expect(textOf(await fetchOn('http://models.internal/', options))).toBe('caught');
    });

    test('may redirect within their origin, but to no other private one', async () => {
      const { connect: _, ...others } = stage.surroundings;
      const fetch = createGuardedFetch(rules, others);
      const origin = `http://127.0.0.1:${stage.publicPort}`;
      stage.answer = (request, response) => {
        if (request.url === '/a') response.writeHead(302, { location: '/b' }).end();
        else if (request.url === '/b') response.end('there');
        else response.writeHead(302, { location: `http://127.0.0.1:${stage.canaryPort}/` }).end();
      };
      const options = { signal: never, allowPrivate: true };
      expect(textOf(await fetch(`${origin}/a`, options))).toBe('there');
      expect(await fetch(`${origin}/c`, options)).toMatchObject({ code: 'address_refused' });
      expect(stage.caught).toBe(0);
    });

    test('are http or https all the same', async () => {
      const outcome = await fetchOn('file:///etc/passwd', { allowPrivate: true });
      expect(outcome).toMatchObject({ ok: false, code: 'url_refused' });
    });
  });

  describe('a body', () => {
    const encodings = {
      gzip: gzipSync,
      br: brotliCompressSync,
      deflate: deflateSync,
    };

    test.each(Object.entries(encodings))('is decompressed from %s', async (name, compress) => {
      stage.answer = (_, response) =>
        response.writeHead(200, { 'content-encoding': name }).end(compress('Hello'));
      expect(textOf(await fetchOn(`http://${PUBLIC}/`))).toBe('Hello');
    });

    test('of exactly the limit is whole; of one byte more, cut', async () => {
      stage.answer = (request, response) =>
        response.end(Buffer.alloc(Number(request.url?.slice(1))));
      const whole = await fetchOn(`http://${PUBLIC}/${MIB}`);
      expect(whole).toMatchObject({ ok: true, truncated: false });
      const cut = await fetchOn(`http://${PUBLIC}/${MIB + 1}`);
      expect(cut).toMatchObject({ ok: true, truncated: true });
      for (const outcome of [whole, cut]) expect(outcome.ok && outcome.body.length).toBe(MIB);
    });

    test('without end is cut, and its server let go', async () => {
      let closed = false;
      stage.answer = (_, response) => {
        const fill = (): void => {
          while (!closed && response.write(Buffer.alloc(64 * 1024)));
        };
        response.on('drain', fill).on('close', () => (closed = true));
        fill();
      };
      expect(await fetchOn(`http://${PUBLIC}/`)).toMatchObject({ ok: true, truncated: true });
      await until('the connection is closed', () => closed);
    });

    test.each([
      ['gzip', gzipSync(Buffer.alloc(256 * MIB))],
      ['br', brotliCompressSync(Buffer.alloc(64 * MIB), { params: { 0: 0 } })],
    ])('that is a %s bomb is cut', async (name, bomb) => {
      stage.answer = (_, response) =>
        response.writeHead(200, { 'content-encoding': name }).end(bomb);
      const outcome = await fetchOn(`http://${PUBLIC}/`);
      expect(outcome).toMatchObject({ ok: true, truncated: true });
      expect(outcome.ok && outcome.body.length).toBe(MIB);
    });

    test('that goes on and decompresses to nothing is cut', async () => {
      const nothing = Buffer.concat(Array<Buffer>(4_000).fill(gzipSync('')));
      stage.answer = (_, response) => {
        response.writeHead(200, { 'content-encoding': 'gzip' });
        const fill = (): void => {
          while (!response.destroyed && response.write(nothing));
        };
        response.on('drain', fill);
        fill();
      };
      const outcome = await fetchOn(`http://${PUBLIC}/`);
      expect(outcome).toMatchObject({ ok: true, truncated: true });
      expect(textOf(outcome)).toBe('');
    });

    test.each([
      ['gzip, gzip', gzipSync(gzipSync('x'))],
      ['zstd', Buffer.from('x')],
      ['gzip', Buffer.from('no gzip')],
      ['br', Buffer.from('no brotli')],
      ['gzip', gzipSync('x'.repeat(1000)).subarray(0, 20)],
    ])('that is broken as %s is an answer of no use', async (name, body) => {
      stage.answer = (_, response) =>
        response.writeHead(200, { 'content-encoding': name }).end(body);
      expect(await fetchOn(`http://${PUBLIC}/`)).toMatchObject({
        ok: false,
        code: 'response_invalid',
      });
    });

    test('that breaks off is none', async () => {
      stage.answer = (_, response) => {
        response.writeHead(200, { 'content-length': 100 }).write('x');
        setImmediate(() => response.destroy());
      };
      expect(await fetchOn(`http://${PUBLIC}/`)).toMatchObject({ ok: false, code: 'unreachable' });
    });
  });

  describe('a server that answers badly', () => {
    test.each([
      ['not in HTTP', 'SSH-2.0-OpenSSH_9.6\r\n'],
      ['with endless headers', `HTTP/1.1 200 OK\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`],
      ['with many headers', `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(10_000)}\r\n`],
      [
        'by another protocol',
        'HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
      ],
    ])('%s is one of no use', async (_, bytes) => {
      stage.answer = (request) => request.socket.end(bytes);
      expect(await fetchOn(`http://${PUBLIC}/`)).toMatchObject({
        ok: false,
        code: 'response_invalid',
      });
    });

    test('not at all is unreachable', async () => {
      stage.answer = (request) => request.socket.destroy();
      expect(await fetchOn(`http://${PUBLIC}/`)).toMatchObject({ ok: false, code: 'unreachable' });
    });
  });

  describe('time', () => {
    const soon = { timeoutMs: 100 };

    test('bounds a lookup', async () => {
      const resolve = () => new Promise<never>(() => undefined);
      const outcome = await fetchOn('http://slow.example/', {}, { ...soon, resolve });
      expect(outcome).toMatchObject({ ok: false, code: 'timed_out' });
    });

    test('bounds a connection', async () => {
      const connect = () => net.connect({ host: 'x', port: 1, lookup: () => undefined });
      for (const scheme of ['http', 'https']) {
        const outcome = await fetchOn(`${scheme}://${PUBLIC}/`, {}, { ...soon, connect });
        expect(outcome).toMatchObject({ ok: false, code: 'timed_out' });
      }
    });

    test.each([
      ['headers', 'HTTP/1.1 200 OK\r\nx: ', '1'],
      ['early hints', '', 'HTTP/1.1 103 Early Hints\r\n\r\n'],
      ['a body', 'HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n', '1'],
      ['chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', '1\r\n1\r\n'],
      // Compressed, it begins with a file's name of any length.
      [
        'a compressed body',
        'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08\0\0\0\0\0\x03',
        '1',
      ],
    ])('bounds %s that come bit by bit', async (_, start, more) => {
      let isClosed = false;
      stage.answer = ({ socket }) => {
        socket.write(start, 'latin1');
        const drip = setInterval(() => socket.write(more), 5);
        socket.once('close', () => {
          clearInterval(drip);
          isClosed = true;
        });
      };
      const outcome = await fetchOn(`http://${PUBLIC}/`, {}, soon);
      expect(outcome).toMatchObject({ ok: false, code: 'timed_out' });
      await until('the connection is closed', () => isClosed);
    });

    test('is one for all redirects', async () => {
      stage.answer = (_, response) =>
        setTimeout(() => response.writeHead(302, { location: '/' }).end(), 40);
      const outcome = await fetchOn(`http://${PUBLIC}/`, { maxRedirects: 1e9 }, soon);
      expect(outcome).toMatchObject({ ok: false, code: 'timed_out' });
    });

    test('ends when the caller says so', async () => {
      const controller = new AbortController();
      let isClosed = false;
      stage.answer = ({ socket }) => {
        socket.once('close', () => (isClosed = true));
        controller.abort(new Error('enough'));
      };
      const outcome = await fetchOn(`http://${PUBLIC}/`, { signal: controller.signal });
      expect(outcome).toMatchObject({ ok: false, code: 'aborted' });
      await until('the connection is closed', () => isClosed);
      expect(await fetchOn(`http://${PUBLIC}/`, { signal: controller.signal })).toMatchObject({
        code: 'aborted',
      });
    });
  });

  describe('https', () => {
    let server: https.Server;
    let port: number;
    let servername: unknown;
    const trusted = tls.getCACertificates('default');

    beforeEach(async () => {
      server = https.createServer({ key: testKey, cert: testCertificate }, (request, response) => {
        servername = (request.socket as tls.TLSSocket).servername;
        if (request.url === '/down') response.writeHead(302, { location: `http://${PUBLIC}/` });
        response.end('secret');
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      port = (server.address() as net.AddressInfo).port;
      stage.names.set('secure.example', [PUBLIC]).set('other.example', [PUBLIC]);
    });
    afterEach(async () => {
      tls.setDefaultCACertificates(trusted);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });

    const connect = () => net.connect(port, '127.0.0.1');

    test('is of the host that the URL names', async () => {
      tls.setDefaultCACertificates([...trusted, testCertificate]);
      expect(textOf(await fetchOn('https://secure.example/', {}, { connect }))).toBe('secret');
      expect(servername).toBe('secure.example');
      expect(textOf(await fetchOn(`https://${PUBLIC}/`, {}, { connect }))).toBe('secret');
      expect(servername).toBe(false);
    });

    test('of another host, or of nobody known, is not read', async () => {
      const stranger = await fetchOn('https://secure.example/', {}, { connect });
      expect(textOf(stranger)).toMatch(/^unreachable: The host could not prove who it is/);
      tls.setDefaultCACertificates([...trusted, testCertificate]);
      const other = await fetchOn('https://other.example/', {}, { connect });
      expect(textOf(other)).toMatch(/^unreachable: .*\(ERR_TLS_CERT_ALTNAME_INVALID\)/);
    });

    test('does not redirect to http', async () => {
      tls.setDefaultCACertificates([...trusted, testCertificate]);
      const outcome = await fetchOn('https://secure.example/down', {}, { connect });
      expect(outcome).toMatchObject({ ok: false, code: 'redirect_refused' });
      expect(stage.requests).toEqual([]);
    });

    test('to what speaks no TLS is unreachable', async () => {
      const outcome = await fetchOn('https://secure.example/');
      expect(outcome).toMatchObject({ ok: false, code: 'unreachable' });
    });
  });

  test('a name that nobody knows is not found', async () => {
    const resolve = () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOTFOUND' }));
    for (const each of [resolve, () => Promise.resolve([])]) {
      const outcome = await fetchOn('http://nobody.example/', {}, { resolve: each });
      expect(outcome).toMatchObject({ ok: false, code: 'host_not_found' });
    }
  });
});
