import { z } from 'zod';
import type { InferKnown } from '../infer-known.ts';
import { inlineKeyboardSchema } from './buttons.ts';
import { mediaFileSchema } from './media.ts';
import {
  chatTypeSchema,
  cursorSchema,
  instantSchema,
  platformIdSchema,
  requestIdSchema,
  senderSchema,
  textFormatSchema,
} from './shared.ts';

const chat = {
  chat_id: platformIdSchema,
  /** The topic or thread within the chat. */
  thread_id: platformIdSchema.optional(),
};

/** Server → gateway: these events are durable; the platform may be told. */
export const ackSchema = z.looseObject({
  type: z.literal('ack'),
  event_ids: z.array(z.string().min(1)).min(1),
});

/** Server → gateway: post a text, or finish one that was shown. Answered by `command_ok {message_id}` or `command_error`. */
export const sendMessageSchema = z.looseObject({
  type: z.literal('send_message'),
  request_id: requestIdSchema,
  ...chat,
  /** Never longer than the gateway's `limits`. */
  content: z.string(),
  format: textFormatSchema,
  /** The platform's id of the message that this answers. */
  reply_to: platformIdSchema.optional(),
  inline_keyboard: inlineKeyboardSchema.optional(),
  /** Finish that message instead of posting a new one; "not modified" is success. An unknown preview is posted anew. */
  replaces: z
    .looseObject({ preview_id: z.string().optional(), message_id: platformIdSchema.optional() })
    .optional(),
  /** Which part of a long text this is: 1, 2, 3 … of `parts`. */
  part: z.int().min(1).default(1),
  parts: z.int().min(1).default(1),
  /** Names this posting; the same when it is repeated. */
  nonce: z.string().min(1).max(25).optional(),
});
export type SendMessage = InferKnown<typeof sendMessageSchema>;

/** Server → gateway: replaces the text of a message of ours. Answered as `send_message`. */
export const editMessageSchema = z.looseObject({
  type: z.literal('edit_message'),
  request_id: requestIdSchema,
  ...chat,
  message_id: platformIdSchema,
  content: z.string(),
  format: textFormatSchema.default('markdown'),
  /** Absent: the buttons go. */
  inline_keyboard: inlineKeyboardSchema.optional(),
});

/** Server → gateway: removes a message of ours. Answered as `send_message`. */
export const deleteMessageSchema = z.looseObject({
  type: z.literal('delete_message'),
  request_id: requestIdSchema,
  ...chat,
  message_id: platformIdSchema,
});

/** Server → gateway: was this posted? Answered by `message_found` or `message_not_found`. Only with capability `find`. */
export const findMessageSchema = z.looseObject({
  type: z.literal('find_message'),
  request_id: requestIdSchema,
  ...chat,
  nonce: z.string().max(25).optional(),
  content: z.string(),
  author: z.literal('self'),
  /** Look only at what was posted after this instant. */
  after: instantSchema,
});

const place = z.looseObject({
  latitude: z.number(),
  longitude: z.number(),
  name: z.string().max(500).optional(),
});
const contact = z.looseObject({
  name: z.string().max(500).default(''),
  phone: z.string().max(100).optional(),
});

/** What a message says; at least one of its members is given. */
export const messageContentSchema = z.looseObject({
  text: z.string().optional(),
  media: z.array(mediaFileSchema).max(50).optional(),
  location: place.optional(),
  contact: contact.optional(),
  /** Something this gateway does not know, in a word, such as `poll`. */
  unknown: z.string().max(200).optional(),
});
export type MessageContent = InferKnown<typeof messageContentSchema>;

/** Gateway → server: somebody said something. */
export const messageReceivedSchema = z.looseObject({
  type: z.literal('message_received'),
  /** The same on every redelivery. Without it (v1alpha1) chat, message id and `timestamp` are used. */
  event_id: platformIdSchema.optional(),
  /** Where the gateway would go on after this event; kept by the server and given back in `configure`. At most 16 KiB of JSON. */
  cursor: cursorSchema.optional(),
  message_id: platformIdSchema,
  /** A new text of a message that was sent before. */
  edited: z.boolean().default(false),
  ...chat,
  sender: senderSchema,
  content: messageContentSchema,
  routing: z.looseObject({
    channel: z.string().max(100).optional(),
    chat_type: chatTypeSchema,
    chat_id: platformIdSchema,
    sender_id: platformIdSchema,
    /** Such as `owner`, `admin` or `member`, in the platform's word. */
    sender_role: z.string().max(100).optional(),
  }),
  /** The platform's id of the message that this answers. */
  reply_to: platformIdSchema.optional(),
  /** The bot is mentioned by name. */
  mentions_bot: z.boolean().default(false),
  /** It answers a message of the bot. */
  reply_to_bot: z.boolean().default(false),
  timestamp: instantSchema,
  metadata: z.record(z.string(), z.unknown()).default({}),
});
export type MessageReceived = InferKnown<typeof messageReceivedSchema>;

/** Gateway → server: a chat goes on under another id (a Telegram group that became a supergroup). */
export const chatMigratedSchema = z.looseObject({
  type: z.literal('chat_migrated'),
  event_id: platformIdSchema,
  cursor: cursorSchema.optional(),
  chat_id: platformIdSchema,
  new_chat_id: platformIdSchema,
});

/** Gateway → server: the platform could not redeliver this window. Instants or the platform's own marks. */
export const inboundGapSchema = z.looseObject({
  type: z.literal('inbound_gap'),
  from: z.string().max(200),
  to: z.string().max(200),
  reason: z.string().max(2000),
});

/** Gateway → server: a command was done. */
export const commandOkSchema = z.looseObject({
  type: z.literal('command_ok'),
  request_id: requestIdSchema,
  /** Of the message that was posted or finished. */
  message_id: platformIdSchema.optional(),
});

export const gatewayErrorCodeSchema = z.enum([
  'chat_not_found',
  'message_not_found',
  'rate_limited',
  'unauthorized',
  'platform_error',
  'invalid_request',
  'not_connected',
  'too_long',
  'blocked',
  'conflict',
]);
/** Why a command was refused. An unknown code counts as `platform_error`. */
export type GatewayErrorCode = z.infer<typeof gatewayErrorCodeSchema>;

/** Gateway → server: a command was refused, and its effect did not happen, unless `uncertain`. */
export const commandErrorSchema = z.looseObject({
  type: z.literal('command_error'),
  request_id: requestIdSchema,
  code: z.string().min(1).max(100),
  message: z.string().max(4000).default(''),
  /** With `rate_limited`: how long the platform asked to wait. */
  retry_after_ms: z.number().min(0).optional(),
  /** The platform's answer was lost: the effect may have happened. */
  uncertain: z.boolean().default(false),
});
export type CommandError = InferKnown<typeof commandErrorSchema>;

/** Gateway → server: the message that was looked for is there. */
export const messageFoundSchema = z.looseObject({
  type: z.literal('message_found'),
  request_id: requestIdSchema,
  message_id: platformIdSchema,
});

/** Gateway → server: the message that was looked for is certainly not there. */
export const messageNotFoundSchema = z.looseObject({
  type: z.literal('message_not_found'),
  request_id: requestIdSchema,
});

/** Whether a refusal may go away by itself: then the delivery is tried again. Unknown codes may. */
export function isTransient(code: string): boolean {
  return (
    code === 'rate_limited' ||
    code === 'not_connected' ||
    code === 'platform_error' ||
    !knownCodes.has(code)
  );
}

const knownCodes: ReadonlySet<string> = new Set(gatewayErrorCodeSchema.options);
