import { z } from 'zod';

/** Kinds of ids the server makes; each is the prefix, `_`, and 26 Crockford base-32 characters that sort by time. */
export const idKinds = [
  'session',
  'turn',
  'msg',
  'call',
  'appr',
  'q',
  'out',
  'sched',
  'art',
] as const;
export type IdKind = (typeof idKinds)[number];

/** The strict pattern of an id of one kind. What does not match is refused, never cleaned. */
export function idPattern(kind: IdKind): RegExp {
  return new RegExp(`^${kind}_[0-9a-hjkmnp-tv-z]{26}$`);
}

/** Names that people choose: agents, workspaces, gateways. */
export const namePattern = /^[a-z0-9][a-z0-9-]{0,62}$/;

export const sessionIdSchema = z.string().regex(idPattern('session'));
export const agentNameSchema = z
  .string()
  .regex(namePattern, 'a name is 1 to 63 of a-z, 0-9 and "-", and starts with a letter or digit');
