import type { IncomingMessage } from 'node:http';
import { isIPv6 } from 'node:net';
import { DuragentError } from '@duragent/protocol';
import { onlyHeader } from './only-header.ts';

/** The names under which a server may be called, besides `localhost` and IP literals. */
export interface HostRules {
  publicUrl: string | null;
  hosts: readonly string[];
}

/**
 * Makes the check that every request passes first: a page that a browser was tricked into
 * (a rebound name, a foreign site) gets no answer from this server.
 * @returns a function that throws DuragentError misdirected_request (unknown, missing or odd
 *   `Host`) or forbidden (a request of another site).
 */
export function createHostCheck(rules: HostRules): (req: IncomingMessage) => void {
  const publicUrl = rules.publicUrl === null ? null : new URL(rules.publicUrl);
  const names = new Set(['localhost']);
  if (publicUrl) names.add(publicUrl.hostname);
  // As a browser would send them: lower case, punycode, without a port.
  for (const host of rules.hosts)
    names.add(new URL(`http://${isIPv6(host) ? `[${host}]` : host}`).hostname);
  return (req) => {
    const host = onlyHeader(req.rawHeaders, 'host');
    if (host === null || !isKnownHost(host, names)) {
      throw new DuragentError(
        'misdirected_request',
        'This server is not known under that Host. Call it as localhost or by its IP address, or name the host in server.hosts or server.public_url.',
      );
    }
    const { origin } = req.headers;
    const site = req.headers['sec-fetch-site'];
    if (
      (origin !== undefined && !isSameSite(origin, host, publicUrl)) ||
      (site !== undefined && site !== 'same-origin' && site !== 'none')
    ) {
      throw new DuragentError(
        'forbidden',
        'Requests from the pages of other sites are refused; call from this server’s own address, or from a program.',
      );
    }
  };
}

const HOST =
  /^(?:(\[[0-9a-f:.]{2,45}\])|([a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?))(?::(\d{1,5}))?$/i;
const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

function isKnownHost(host: string, names: ReadonlySet<string>): boolean {
  const match = HOST.exec(host);
  if (!match || Number(match[3] ?? 0) > 65_535) return false;
  const [, v6, name = ''] = match;
  if (v6 !== undefined) return URL.canParse(`http://${v6}/`);
  return names.has(name.toLowerCase()) || IPV4.test(name);
}

/** Whether an Origin header names the very place that the request went to. */
function isSameSite(origin: string, host: string, publicUrl: URL | null): boolean {
  const scheme = /^https?:\/\//i.exec(origin)?.[0];
  if (scheme === undefined || !HOST.test(origin.slice(scheme.length))) return false; // also `null`
  if (!URL.canParse(origin)) return false;
  const url = new URL(origin);
  if (publicUrl !== null && url.origin === publicUrl.origin) return true;
  return url.host === new URL(`${scheme}${host}`).host;
}
