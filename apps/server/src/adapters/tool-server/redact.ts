import type { ToolServerPlace } from '../../ports/tool-server.ts';

/** The shortest text that counts as a secret: shorter ones are found in any sentence. */
const MIN_LENGTH = 8;

/**
 * Takes out of a text what the place of a server may keep secret: values of its own environment
 * and headers, and of its URL all but the host.
 */
export function redactorOf(place: ToolServerPlace): (text: string) => string {
  const secrets = new Set<string>();
  const add = (text: string): void => {
    if (text.length < MIN_LENGTH) return;
    secrets.add(text);
    secrets.add(JSON.stringify(text).slice(1, -1));
    secrets.add(encodeURIComponent(text.toWellFormed()));
  };
  if (place.type === 'command') {
    Object.values(place.env).forEach(add);
  } else {
    for (const value of Object.values(place.headers)) value.split(' ').concat(value).forEach(add);
    const url = URL.parse(place.url);
    add(place.url);
    if (url !== null) {
      const { username, password, pathname, search, searchParams } = url;
      [url.href, username, password, pathname + search, search].forEach(add);
      [...searchParams.values(), ...pathname.split('/')].forEach(add);
    }
  }
  // The longest first: one may hold another.
  const sorted = [...secrets].sort((a, b) => b.length - a.length);
  return (text) => sorted.reduce((rest, secret) => rest.replaceAll(secret, '[redacted]'), text);
}

/** A place in words that hold no secret. */
export function describePlace(place: ToolServerPlace): string {
  return place.type === 'command' ? (place.argv[0] ?? '') : (URL.parse(place.url)?.origin ?? 'URL');
}
