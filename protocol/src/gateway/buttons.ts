import { z } from 'zod';
import type { InferKnown } from '../infer-known.ts';
import {
  chatTypeSchema,
  cursorSchema,
  instantSchema,
  platformIdSchema,
  requestIdSchema,
  senderSchema,
} from './shared.ts';

export const buttonSchema = z.looseObject({
  text: z.string().min(1).max(200),
  /** Opaque to the gateway; comes back in `callback_query`. At most 64 bytes of ASCII. */
  data: z.string().regex(/^[\x20-\x7e]{1,64}$/),
});
export type Button = InferKnown<typeof buttonSchema>;

/** Rows of buttons below a message. */
export const inlineKeyboardSchema = z.array(z.array(buttonSchema).min(1).max(20)).max(50);
export type InlineKeyboard = InferKnown<typeof inlineKeyboardSchema>;

/** Server → gateway: answers a press, so that the platform stops showing that it waits. */
export const answerCallbackQuerySchema = z.looseObject({
  type: z.literal('answer_callback_query'),
  request_id: requestIdSchema,
  callback_query_id: platformIdSchema,
  /** A short text that only the presser sees; at most 200 characters. */
  text: z.string().max(200).optional(),
});

/** Gateway → server: somebody pressed a button. */
export const callbackQuerySchema = z.looseObject({
  type: z.literal('callback_query'),
  /** The same on every redelivery. Without it the callback query's id is used. */
  event_id: platformIdSchema.optional(),
  cursor: cursorSchema.optional(),
  callback_query_id: platformIdSchema,
  chat_id: platformIdSchema,
  thread_id: platformIdSchema.optional(),
  chat_type: chatTypeSchema.optional(),
  sender: senderSchema,
  /** The message that carries the button. */
  message_id: platformIdSchema,
  data: z.string().max(200),
  timestamp: instantSchema.optional(),
});
export type CallbackQuery = InferKnown<typeof callbackQuerySchema>;
