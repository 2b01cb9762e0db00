import { z } from 'zod';
import type { InferKnown } from '../infer-known.ts';

/** An id that a platform gave: opaque to all but its gateway, never empty. */
export const platformIdSchema = z.string().min(1).max(200);

/** Ties an answer to its command; made by the server, opaque to the gateway. */
export const requestIdSchema = z.string().min(1).max(100);

/** An instant: UTC, ISO 8601. */
export const instantSchema = z.string().min(1).max(40);

/** The most that a cursor may take, in bytes of its JSON. */
export const MAX_CURSOR_BYTES = 16 * 1024;

/** Where a gateway would go on: opaque to the server, at most 16 KiB of JSON. */
export const cursorSchema = z
  .unknown()
  .refine(
    (cursor) =>
      cursor === undefined ||
      new TextEncoder().encode(JSON.stringify(cursor)).length <= MAX_CURSOR_BYTES,
    `a cursor takes at most ${MAX_CURSOR_BYTES} bytes of JSON`,
  );

/** How a text is written: `markdown` (CommonMark with tables) or `text` (shown as it is). */
export const textFormatSchema = z.enum(['markdown', 'text']);
export type TextFormat = z.infer<typeof textFormatSchema>;

export const senderSchema = z.looseObject({
  /** The platform's immutable id of the person or bot. */
  id: platformIdSchema,
  username: z.string().max(200).optional(),
  display_name: z.string().max(200).optional(),
  is_bot: z.boolean().default(false),
});
export type Sender = InferKnown<typeof senderSchema>;

export const chatTypeSchema = z.enum(['dm', 'group', 'channel']);
export type ChatType = z.infer<typeof chatTypeSchema>;
