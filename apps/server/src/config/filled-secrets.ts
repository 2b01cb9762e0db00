import type { Variable } from './substitute.ts';

/** Shorter ones would also be cut out of what they are no part of. */
const LEAST_SECRET = 8;
/** Hiding these would make logs unreadable. */
const plainVariables: ReadonlySet<string> = new Set([
  'HOME',
  'HOSTNAME',
  'LANG',
  'LC_ALL',
  'LOGNAME',
  'PATH',
  'PWD',
  'SHELL',
  'TMPDIR',
  'TZ',
  'USER',
]);
/** An address without user, path and query has no room for a secret. */
const bareOrigin = /^(?:https?|wss?):\/\/[^/@?#]+\/?$/;

/** The values of variables that were put in, but for those that are no secret by their name or their value. */
export function filledSecrets(filled: readonly Variable[]): string[] {
  return filled
    .filter(({ name, value }) => !plainVariables.has(name) && isHidden(value))
    .map(({ value }) => value);
}

/** Whether a text that may be an address has room for a secret. */
export function isHidden(text: string): boolean {
  return !bareOrigin.test(text);
}

/** The texts that are long enough to be hidden, each once. */
export function longOf(texts: readonly string[]): string[] {
  return [...new Set(texts)].filter((text) => text.length >= LEAST_SECRET);
}
