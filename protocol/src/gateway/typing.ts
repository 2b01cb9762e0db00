import { z } from 'zod';
import { platformIdSchema } from './shared.ts';

/** Server → gateway: show that the bot is writing. No answer. */
export const sendTypingSchema = z.looseObject({
  type: z.literal('send_typing'),
  chat_id: platformIdSchema,
  thread_id: platformIdSchema.optional(),
  /** For how long, in ms, unless a message comes first. */
  duration: z.int().min(0).max(60_000),
});
