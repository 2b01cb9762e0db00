import { z } from 'zod';
import type { InferKnown } from '../infer-known.ts';
import { platformIdSchema, requestIdSchema } from './shared.ts';

/** The most that `base64` may hold, in bytes of the file. */
export const MAX_INLINE_MEDIA_BYTES = 512 * 1024;

/** A file that a person sent, written by the gateway below `media_dir`. Never a platform's URL. */
export const mediaFileSchema = z.looseObject({
  /** Below `media_dir`, absolute or relative to it; no link. The server moves it. */
  path: z.string().min(1).max(4096),
  name: z.string().max(255).default(''),
  mime: z.string().max(255).default('application/octet-stream'),
  /** Bytes. */
  size: z.int().min(0),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type MediaFile = InferKnown<typeof mediaFileSchema>;

/** Server → gateway: post a file. Exactly one of `path`, `url` (https) and `base64` is given. */
export const sendMediaSchema = z.looseObject({
  type: z.literal('send_media'),
  request_id: requestIdSchema,
  chat_id: platformIdSchema,
  thread_id: platformIdSchema.optional(),
  media: z.looseObject({
    path: z.string().min(1).optional(),
    url: z.string().min(1).optional(),
    base64: z
      .string()
      .max(Math.ceil(MAX_INLINE_MEDIA_BYTES / 3) * 4)
      .optional(),
    name: z.string().max(255).default('file'),
    mime: z.string().max(255).default('application/octet-stream'),
  }),
  caption: z.string().optional(),
  reply_to: platformIdSchema.optional(),
  /** As in `send_message`. */
  nonce: z.string().min(1).max(25).optional(),
});
