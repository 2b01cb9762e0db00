import { z } from 'zod';
import type { InferKnown } from '../infer-known.ts';
import { callbackQuerySchema } from './buttons.ts';
import { authRequiredSchema, authSuccessSchema, readySchema } from './handshake.ts';
import { gatewayErrorSchema, pongSchema, shutdownEventSchema } from './health.ts';
import {
  chatMigratedSchema,
  commandErrorSchema,
  commandOkSchema,
  inboundGapSchema,
  messageFoundSchema,
  messageNotFoundSchema,
  messageReceivedSchema,
} from './messages.ts';
import { previewPostedSchema } from './previews.ts';

/** Every line a gateway sends to its server, by `type`. */
export const gatewayEventSchema = z.discriminatedUnion('type', [
  readySchema,
  messageReceivedSchema,
  callbackQuerySchema,
  chatMigratedSchema,
  commandOkSchema,
  commandErrorSchema,
  previewPostedSchema,
  messageFoundSchema,
  messageNotFoundSchema,
  inboundGapSchema,
  pongSchema,
  gatewayErrorSchema,
  authRequiredSchema,
  authSuccessSchema,
  shutdownEventSchema,
]);
export type GatewayEvent = InferKnown<typeof gatewayEventSchema>;
export type GatewayEventType = GatewayEvent['type'];
/** One kind of event: `GatewayEventOf<'message_received'>`. */
export type GatewayEventOf<T extends GatewayEventType> = Extract<GatewayEvent, { type: T }>;
/** Events that come from people, and have to be durable before the platform is told. */
export type InboundEvent = GatewayEventOf<'message_received' | 'callback_query' | 'chat_migrated'>;
/** What a request is answered with. */
export type GatewayAnswer = GatewayEventOf<
  'command_ok' | 'command_error' | 'message_found' | 'message_not_found' | 'pong'
>;

/** The longest line in either direction, in bytes without its LF. */
export const MAX_LINE_BYTES = 1024 * 1024;
/** How deep the JSON of a line may be nested. */
export const MAX_LINE_DEPTH = 64;
