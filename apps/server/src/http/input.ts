import {
  createSessionSchema,
  DuragentError,
  namePattern,
  sessionIdSchema,
} from '@duragent/protocol';
import type { OpenSession, RouteContext, Sessions } from './context.ts';

const MAX_LIST = 32;

/** The body of a route that takes none: nothing, or `{}`. */
export const noBody = createSessionSchema.pick({});

/** The session id of the path. @throws DuragentError session_not_found for what is no id: it is never cleaned. */
export function sessionId(ctx: RouteContext): string {
  const id = ctx.params['id'] ?? '';
  if (sessionIdSchema.safeParse(id).success) return id;
  throw notASession();
}

function notASession(): DuragentError {
  return new DuragentError(
    'session_not_found',
    'There is no such session; ids look like session_ and 26 letters and digits (duragent sessions lists them).',
  );
}

/** The session of the path, open. */
export async function openSession(ctx: RouteContext, sessions: Sessions): Promise<OpenSession> {
  return await sessions.open(sessionId(ctx));
}

/** The agent's name in the path. @throws DuragentError agent_not_found for what is no name. */
export function agentName(ctx: RouteContext): string {
  const name = ctx.params['name'] ?? '';
  if (namePattern.test(name)) return name;
  throw new DuragentError(
    'agent_not_found',
    'There is no such agent; names are 1 to 63 of a-z, 0-9 and "-".',
  );
}

/** Who asks, as events record it: by which token, the owner's own or another. */
export function callerOf(ctx: RouteContext): string {
  return `http:${ctx.state.scope.caller?.name ?? ''}`;
}

/** A query parameter given at most once; null: absent or empty. @throws DuragentError invalid_request. */
export function queryText(ctx: RouteContext, name: string): string | null {
  const value = ctx.query[name];
  if (Array.isArray(value)) throw badQuery(name, 'is given more than once');
  return value === undefined || value === '' ? null : value;
}

/** A query parameter that may be given up to 32 times. @throws DuragentError invalid_request. */
export function queryList(ctx: RouteContext, name: string): string[] {
  const value = ctx.query[name] ?? [];
  const list = Array.isArray(value) ? value : [value];
  if (list.length > MAX_LIST) throw badQuery(name, `is given more than ${MAX_LIST} times`);
  return list;
}

/** A query parameter that is a whole number. @throws DuragentError invalid_request outside of `min` to `max`. */
export function queryNumber<T extends number | null>(
  ctx: RouteContext,
  name: string,
  { min, max, fallback }: { min: number; max: number; fallback: T },
): number | T {
  const text = queryText(ctx, name);
  if (text === null) return fallback;
  const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  throw badQuery(name, `has to be a whole number from ${min} to ${max}`);
}

/** A query parameter that is one of some words; null: absent. @throws DuragentError invalid_request. */
export function queryChoice<T extends string>(
  ctx: RouteContext,
  name: string,
  choices: readonly T[],
): T | null {
  const text = queryText(ctx, name);
  if (text === null) return null;
  const choice = choices.find((one) => one === text);
  if (choice !== undefined) return choice;
  throw badQuery(name, `has to be one of ${choices.join(', ')}`);
}

/** A query parameter that is a session's id; undefined: absent. @throws DuragentError session_not_found for what is no id. */
export function querySession(ctx: RouteContext, name: string): string | undefined {
  const text = queryText(ctx, name);
  if (text === null) return undefined;
  if (sessionIdSchema.safeParse(text).success) return text;
  throw notASession();
}

/** The Idempotency-Key, made the caller's own on this route; undefined: none. @throws DuragentError invalid_request. */
export function idempotencyKey(ctx: RouteContext, route: string): string | undefined {
  const key = ctx.req.headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key !== 'string' || !/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw new DuragentError(
      'invalid_request',
      'The Idempotency-Key has to be 1 to 255 visible ASCII characters without spaces, given once.',
    );
  }
  return `${ctx.state.scope.caller?.name ?? ''} ${route} ${key}`;
}

function badQuery(name: string, fault: string): DuragentError {
  return new DuragentError('invalid_request', `The query parameter ${name} ${fault}.`, {
    details: { parameter: name },
  });
}
