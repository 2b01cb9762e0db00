import { isIPv4, isIPv6 } from 'node:net';

const DEFAULT = 'http://127.0.0.1:11434';
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: '80', https: '443' };

/**
 * The base URL that `OLLAMA_HOST` means to Ollama: `[scheme://]host[:port][/path]`, each part with
 * Ollama's default (`http://127.0.0.1:11434`). An address that stands for all of this machine's
 * becomes its loopback address.
 * @returns null if it cannot be used, where Ollama would go on with its default.
 */
export function parseOllamaHost(variable: string | undefined): string | null {
  const text = trimQuotes(variable ?? '');
  // The first question whether something is an IPv6 address takes 5 ms.
  if (text === '') return DEFAULT;
  const cut = text.indexOf('://');
  const scheme = cut === -1 ? 'http' : text.slice(0, cut);
  const defaultPort = cut === -1 ? '11434' : DEFAULT_PORTS[scheme];
  if (defaultPort === undefined) return null;
  const rest = cut === -1 ? text : text.slice(cut + 3);
  const slash = rest.indexOf('/');
  const authority = slash === -1 ? rest : rest.slice(0, slash);
  const path = slash === -1 ? '' : rest.slice(slash).replace(/\/+$/, '');
  const { host, port } = splitPort(authority);
  if (port !== null && !(/^\d{1,5}$/.test(port) && Number(port) <= 65_535)) return null;
  const named = host === '' ? '127.0.0.1' : loopbackFor(host);
  if (named === null) return null;
  const base = `${scheme}://${named}:${port ?? defaultPort}${path}`;
  return URL.canParse(base) ? base : null;
}

function trimQuotes(text: string): string {
  return text
    .trim()
    .replace(/^["']+/, '')
    .replace(/["']+$/, '')
    .trim();
}

function splitPort(authority: string): { host: string; port: string | null } {
  const bare = authority.replace(/^\[/, '').replace(/\]$/, '');
  if (isIPv6(bare)) return { host: bare, port: null };
  const colon = authority.lastIndexOf(':');
  if (colon === -1) return { host: bare, port: null };
  const host = authority.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  return { host, port: authority.slice(colon + 1) };
}

function loopbackFor(host: string): string | null {
  if (isIPv6(host)) return host === '::' ? '[::1]' : `[${host}]`;
  if (isIPv4(host)) return host === '0.0.0.0' ? '127.0.0.1' : host;
  return /^[A-Za-z0-9._-]{1,253}$/.test(host) ? host : null;
}
