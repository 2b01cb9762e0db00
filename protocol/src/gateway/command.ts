import { z } from 'zod';
import type { InferKnown } from '../infer-known.ts';
import { answerCallbackQuerySchema } from './buttons.ts';
import { configureSchema } from './handshake.ts';
import { pingSchema, shutdownCommandSchema } from './health.ts';
import { sendMediaSchema } from './media.ts';
import {
  ackSchema,
  deleteMessageSchema,
  editMessageSchema,
  findMessageSchema,
  sendMessageSchema,
} from './messages.ts';
import { previewMessageSchema } from './previews.ts';
import { sendTypingSchema } from './typing.ts';

/** Every line a server sends to a gateway, by `type`. */
export const gatewayCommandSchema = z.discriminatedUnion('type', [
  configureSchema,
  ackSchema,
  sendMessageSchema,
  previewMessageSchema,
  editMessageSchema,
  deleteMessageSchema,
  sendMediaSchema,
  sendTypingSchema,
  answerCallbackQuerySchema,
  findMessageSchema,
  pingSchema,
  shutdownCommandSchema,
]);
export type GatewayCommand = InferKnown<typeof gatewayCommandSchema>;
export type GatewayCommandType = GatewayCommand['type'];
/** One kind of command: `CommandOf<'send_message'>`. */
export type CommandOf<T extends GatewayCommandType> = Extract<GatewayCommand, { type: T }>;
/** Commands that are answered by their `request_id`. */
export type GatewayRequest = Extract<GatewayCommand, { request_id: string }>;
