import { z } from 'zod';
import { platformIdSchema } from './shared.ts';

/**
 * Server → gateway: the text so far of a reply that is being written. Best effort: show the
 * newest, skip what the platform's limits do not allow. It ends with a `send_message` that
 * `replaces` it; of a reply that came to nothing it stays.
 */
export const previewMessageSchema = z.looseObject({
  type: z.literal('preview_message'),
  /** The delivery's `out`. */
  preview_id: z.string().min(1).max(100),
  chat_id: platformIdSchema,
  thread_id: platformIdSchema.optional(),
  reply_to: platformIdSchema.optional(),
  /** Markdown, cut so that no fence or table is half open. */
  content: z.string().min(1),
});

/** Gateway → server, once for each preview: it is on the platform as this message. */
export const previewPostedSchema = z.looseObject({
  type: z.literal('preview_posted'),
  preview_id: z.string().min(1).max(100),
  message_id: platformIdSchema,
});
