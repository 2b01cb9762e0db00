import { DuragentError, namePattern } from '@duragent/protocol';
import { z } from 'zod';
import type { AccessBook } from '../../ports/access-store.ts';

/** The most that an access book holds. */
const MAX_PAIRINGS = 10_000;
const MAX_REQUESTS = 1_000;

const name = z
  .string()
  .regex(namePattern, 'a name is 1 to 63 of a-z, 0-9 and "-", and starts with a letter or digit');
const personPattern = /^[a-z0-9][a-z0-9-]{0,62}:[^\s*](?:[^*]*[^\s*])?$/;
const person = z.string().max(264).regex(personPattern, 'expected <gateway>:<platform id>');
const approver = z
  .string()
  .max(264)
  .refine(
    (text) => text === 'cli' || personPattern.test(text),
    'expected cli or <gateway>:<platform id>',
  );
const shownName = z.string().max(200);
const instant = z.iso.datetime({ offset: true, error: 'expected an ISO 8601 instant' });
const platformId = z.string().min(1).max(200);

const pairingSchema = z.strictObject({
  agent: name,
  sender: person,
  name: shownName,
  at: instant,
  by: approver,
});
const requestSchema = z.strictObject({
  code: z
    .string()
    .regex(/^[A-HJKMNP-Z2-9]{8}$/, 'expected eight of A-Z and 2-9 without I, L and O'),
  agent: name,
  sender: person,
  name: shownName,
  chat: z
    .strictObject({
      gateway: name,
      chat_id: platformId,
      thread_id: platformId.optional(),
    })
    .transform(({ thread_id, ...chat }) =>
      thread_id === undefined ? chat : { ...chat, thread_id },
    ),
  expires_at: instant,
});

/** A list, which may be written as nothing. */
function listOf<T extends z.ZodType>(item: T, most: number) {
  const tooMany = `at most ${most} are kept; remove some`;
  return z
    .array(item)
    .max(most, tooMany)
    .nullish()
    .transform((list) => list ?? []);
}

/** The access book as its file holds it. */
export const accessBookSchema = z.strictObject({
  pairings: listOf(pairingSchema, MAX_PAIRINGS),
  requests: listOf(requestSchema, MAX_REQUESTS),
});

/**
 * Checks what a change made of a book.
 * @returns a copy with its members in their order.
 * @throws DuragentError `queue_full` for too many pairings or requests, `internal` for what is none.
 */
export function checkChanged(book: AccessBook): AccessBook {
  const { pairings, requests } = book;
  if (pairings.length > MAX_PAIRINGS || requests.length > MAX_REQUESTS) {
    throw new DuragentError(
      'queue_full',
      `access.yaml holds at most ${MAX_PAIRINGS} pairings and ${MAX_REQUESTS} requests: remove some, or wait until requests expire.`,
    );
  }
  const read = accessBookSchema.safeParse(book);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  throw new DuragentError(
    'internal',
    `An access book cannot be kept: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}.`,
  );
}

/** Freezes a book that is given to many. */
export function frozen(book: AccessBook): AccessBook {
  for (const list of [book.pairings, book.requests]) {
    for (const item of list) {
      if ('chat' in item) Object.freeze(item.chat);
      Object.freeze(item);
    }
    Object.freeze(list);
  }
  return Object.freeze(book);
}
