import type { LookupAddress } from 'node:dns';
import { lookup } from 'node:dns/promises';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { networkInterfaces } from 'node:os';
import tls from 'node:tls';
import type { Fetched, FetchOptions, GuardedFetch, Posting, WebFailure } from '../../ports/web.ts';
import { readBody, skipBody } from './bounded-body.ts';
import { FailedFetch, failed } from './failure.ts';

const MAX_BODY_BYTES = 1024 * 1024;
/** Of an answer to what was posted, whose body is not wanted. */
const MAX_SKIPPED_BYTES = 4 * 1024;
/** From the first name that is looked up to the last byte of the last redirect. */
const TIMEOUT_MS = 10_000;
const MAX_REDIRECTS = 5;
const MAX_HEADER_BYTES = 16 * 1024;
/** Of more addresses for one name, the first are as good. */
const MAX_ADDRESSES = 16;

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** What may be connected to; `core/net` has it. Faults read as in "it is …". */
export interface FetchRules {
  /** Why nobody may fetch this URL, as a sentence. */
  urlFault(url: URL): string | null;
  /** Why a name is not public by itself. */
  hostFault(hostname: string): string | null;
  /** Why an address is not public. */
  addressFault(address: string): string | null;
}

/** What a connection is made to: only to these addresses, whatever the name would mean now. */
export interface ConnectTarget {
  /** The address itself, or the name that was looked up. */
  host: string;
  port: number;
  addresses: readonly LookupAddress[];
}

/** The outside, for tests to stand in for. */
export interface FetchSurroundings {
  /** All addresses of a name, in the resolver's order. */
  resolve(hostname: string): Promise<LookupAddress[]>;
  connect(target: ConnectTarget): net.Socket;
  /** The addresses of this machine: public or not, what listens there trusts its own machine. */
  ownAddresses(): string[];
  timeoutMs: number;
  userAgent: string;
}

/** One request that was judged: where to, and by which addresses. */
interface Hop {
  url: URL;
  target: ConnectTarget;
  headers: Readonly<Record<string, string>>;
  post: Posting | undefined;
}

/** Makes the one function that asks URLs which the operator did not write. */
export function createGuardedFetch(
  rules: FetchRules,
  surroundings: Partial<FetchSurroundings> = {},
): GuardedFetch {
  const outside: FetchSurroundings = {
    resolve: (hostname) => lookup(hostname, { all: true, order: 'verbatim' }),
    connect,
    ownAddresses,
    timeoutMs: TIMEOUT_MS,
    userAgent: 'Duragent',
    ...surroundings,
  };
  return async (text, options) => {
    const timeout = AbortSignal.timeout(outside.timeoutMs);
    const signal = AbortSignal.any([options.signal, timeout]);
    try {
      return await follow(text, { ...options, signal }, rules, outside);
    } catch (error) {
      if (options.signal.aborted) return failed('aborted', 'The fetch was cancelled.');
      if (timeout.aborted) {
        const seconds = outside.timeoutMs / 1_000;
        return failed(
          'timed_out',
          `The page was not there whole within ${seconds} s. Try again later, or another page.`,
        );
      }
      return explain(error);
    }
  };
}

/** Goes from redirect to redirect; each is judged as if it were the first. */
async function follow(
  text: string,
  options: FetchOptions,
  rules: FetchRules,
  outside: FetchSurroundings,
): Promise<Fetched> {
  const first = parseUrl(text);
  const maxRedirects = options.maxRedirects ?? MAX_REDIRECTS;
  let url = first;
  for (let redirects = 0; ; redirects += 1) {
    const isFirstOrigin = url.origin === first.origin;
    const isTrusted = isFirstOrigin && options.allowPrivate === true;
    const target = await judge(url, isTrusted, rules, outside, options.signal);
    const headers = isFirstOrigin ? (options.headers ?? {}) : {};
    const { post } = options;
    const response = await send({ url, target, headers, post }, outside, options.signal);
    if (post) return { ...(await readAnswer(response, url)), redirects };
    const next = redirectOf(response, url);
    if (next === null) return { ...(await readResponse(response, url)), redirects };
    response.destroy();
    if (redirects >= maxRedirects) {
      throw new FailedFetch(
        'too_many_redirects',
        `The page redirects more than ${maxRedirects} times. Fetch the URL it should lead to.`,
      );
    }
    if (url.protocol === 'https:' && next.protocol === 'http:') {
      throw new FailedFetch(
        'redirect_refused',
        'The page redirects from https to http, which anyone on the way can read and change. Fetch the http URL itself if that is what you want.',
      );
    }
    url = next;
  }
}

function parseUrl(text: string, base?: URL): URL {
  const url = URL.parse(text, base?.href);
  if (url === null) {
    const what = base === undefined ? 'This is no URL' : 'The page redirects to what is no URL';
    throw new FailedFetch('url_invalid', `${what}. Use one like https://example.com/page.`);
  }
  // Never sent, and two URLs that differ in it are one page.
  url.hash = '';
  return url;
}

/**
 * Looks a host up once and checks every address: one bad one refuses all.
 * @throws FailedFetch url_refused, address_refused, host_not_found.
 */
async function judge(
  url: URL,
  isTrusted: boolean,
  rules: FetchRules,
  outside: FetchSurroundings,
  signal: AbortSignal,
): Promise<ConnectTarget> {
  const fault = rules.urlFault(url);
  if (fault !== null) throw new FailedFetch('url_refused', fault);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  const family = net.isIP(host);
  if (family === 0 && !isTrusted) refuse(rules.hostFault(host), 'The host is');
  const addresses =
    family === 0 ? await lookUp(host, outside, signal) : [{ address: host, family }];
  if (!isTrusted) {
    const own = new net.BlockList();
    for (const address of outside.ownAddresses()) own.addAddress(address, familyName(address));
    for (const { address } of addresses) {
      refuse(rules.addressFault(address), 'The host is at');
      // Beyond the rules: they cannot know where they are applied.
      if (own.check(address, familyName(address))) refuse('this machine', 'The host is');
    }
  }
  return { host, port, addresses: addresses.slice(0, MAX_ADDRESSES) };
}

function refuse(fault: string | null, what: string): void {
  if (fault === null) return;
  throw new FailedFetch(
    'address_refused',
    `${what} ${fault}. Only pages of the public internet can be fetched.`,
  );
}

async function lookUp(
  host: string,
  outside: FetchSurroundings,
  signal: AbortSignal,
): Promise<LookupAddress[]> {
  // A lookup cannot be stopped, so it is left behind.
  const addresses = await untilAborted(outside.resolve(host), signal);
  if (addresses.length > 0) return addresses;
  throw Object.assign(new Error('no addresses'), { code: 'ENOTFOUND' });
}

/** Sends one GET or POST. Resolves with its final response, of which only the head was read. */
function send(
  { url, target, headers, post }: Hop,
  outside: FetchSurroundings,
  signal: AbortSignal,
): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const isTls = url.protocol === 'https:';
    const request = (isTls ? https : http).request({
      method: post ? 'POST' : 'GET',
      host: target.host,
      port: target.port,
      path: url.pathname + url.search,
      headers: {
        host: url.host,
        'user-agent': outside.userAgent,
        accept: 'text/html, application/xhtml+xml, application/json, text/*;q=0.9, */*;q=0.1',
        'accept-encoding': 'gzip, br',
        ...(post ? headersOf(post) : {}),
        ...headers,
      },
      maxHeaderSize: MAX_HEADER_BYTES,
      signal,
      // No agent: a connection is made for one request, and no proxy is asked.
      createConnection() {
        const socket = outside.connect(target);
        const ready = isTls ? secure(socket, target.host) : socket;
        if (post) ready.once(isTls ? 'secureConnect' : 'connect', post.onConnect);
        return ready;
      },
    });
    request.on('response', resolve);
    // Nobody asked to speak another protocol.
    request.on('upgrade', (_, socket) => {
      socket.destroy();
      reject(new FailedFetch('response_invalid', 'The server does not answer in HTTP.'));
    });
    request.on('error', reject);
    request.end(post?.body);
  });
}

function headersOf({ type, body }: Posting): Record<string, string | number> {
  return {
    accept: '*/*',
    'accept-encoding': 'identity',
    'content-type': type,
    'content-length': Buffer.byteLength(body),
  };
}

/** TLS over a socket; the certificate has to be of the host that the URL names. */
function secure(socket: net.Socket, host: string): tls.TLSSocket {
  const isName = net.isIP(host) === 0;
  const secured = tls.connect({
    socket,
    host,
    // By its standard, SNI names no addresses.
    ...(isName ? { servername: host } : {}),
    rejectUnauthorized: true,
    ALPNProtocols: ['http/1.1'],
  });
  // TLS does not end by itself when the connection below could not be made.
  socket.on('error', (error) => secured.destroy(error));
  return secured;
}

/** Connects to the given addresses and no others: the name is not looked up again. */
function connect({ host, port, addresses }: ConnectTarget): net.Socket {
  return net.connect({
    host,
    port,
    lookup(_, { all = false }, callback) {
      const [first] = addresses;
      if (all) callback(null, [...addresses]);
      else callback(null, first?.address ?? '', first?.family);
    },
  });
}

/** Where a response redirects to; null: it is an answer. */
function redirectOf(response: http.IncomingMessage, from: URL): URL | null {
  const { location } = response.headers;
  if (location === undefined || !REDIRECTS.has(response.statusCode ?? 0)) return null;
  // Node reads headers as Latin-1; servers that write more than ASCII mean UTF-8.
  return parseUrl(Buffer.from(location, 'latin1').toString('utf8'), from);
}

async function readResponse(
  response: http.IncomingMessage,
  url: URL,
): Promise<Omit<Fetched, 'redirects'>> {
  const type = response.headers['content-type']?.slice(0, 255).toLowerCase() ?? '';
  const charset = /;\s*charset="?([\w.:-]{1,40})/.exec(type)?.[1] ?? null;
  const mime = /^\s*([\w.+-]+\/[\w.+-]+)/.exec(type)?.[1] ?? '';
  const { body, truncated } = await readBody(response, MAX_BODY_BYTES);
  const status = response.statusCode ?? 0;
  const retryAfter = retryAfterOf(response);
  return { ok: true, url: url.href, status, mime, charset, body, truncated, retryAfter };
}

/** What a posting was answered, without its body. */
async function readAnswer(
  response: http.IncomingMessage,
  url: URL,
): Promise<Omit<Fetched, 'redirects'>> {
  await skipBody(response, MAX_SKIPPED_BYTES);
  return {
    ok: true,
    url: url.href,
    status: response.statusCode ?? 0,
    mime: '',
    charset: null,
    body: new Uint8Array(),
    truncated: false,
    retryAfter: retryAfterOf(response),
  };
}

function retryAfterOf({ headers }: http.IncomingMessage): string | null {
  return headers['retry-after'] ?? null;
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((addresses = []) =>
    addresses.map(({ address }) => address),
  );
}

function familyName(address: string): 'ipv4' | 'ipv6' {
  return net.isIPv6(address) ? 'ipv6' : 'ipv4';
}

/** What a broken fetch means. Nothing of the error's own words: they may name addresses. */
function explain(error: unknown): WebFailure {
  if (error instanceof FailedFetch) return error.failure;
  const code = errorCode(error);
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN' || code === 'EAI_NODATA') {
    return failed('host_not_found', 'The host was not found. Check how its name is spelled.');
  }
  if (/^(ERR_TLS|ERR_SSL|CERT_|UNABLE_|DEPTH_ZERO|SELF_SIGNED|EPROTO)/.test(code)) {
    const message = `The host could not prove who it is (${code}), so nothing was read. Try another page.`;
    return { ...failed('unreachable', message), reason: code };
  }
  if (/^(HPE_|Z_|ERR__ERROR_|ERR_BROTLI|ERR_HTTP|ERR_INVALID)/.test(code)) {
    return failed('response_invalid', `The answer is broken (${code}). Try another page.`);
  }
  const message = `The host could not be reached${code === '' ? '' : ` (${code})`}. Try again later, or another page.`;
  return { ...failed('unreachable', message), ...(code === '' ? {} : { reason: code }) };
}

/** Node's code of an error; of several addresses that all failed, that of the first. */
function errorCode(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return errorCode(error.errors[0]);
  if (!(error instanceof Error) || !('code' in error)) return '';
  return typeof error.code === 'string' ? error.code : '';
}

/** What a promise becomes, unless the signal aborts first. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
