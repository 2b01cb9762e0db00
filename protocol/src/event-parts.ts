import { z } from 'zod';
import { inlineKeyboardSchema } from './gateway/buttons.ts';
import { chatTypeSchema, textFormatSchema } from './gateway/shared.ts';
import type { InferKnown } from './infer-known.ts';

/** Metadata of a model provider that must go back to it unchanged with the next call. */
const providerMetadata = z.record(z.string(), z.unknown());

export const textPartSchema = z.looseObject({
  type: z.literal('text'),
  text: z.string(),
  provider_metadata: providerMetadata.optional(),
});
export const reasoningPartSchema = z.looseObject({
  type: z.literal('reasoning'),
  text: z.string(),
  provider_metadata: providerMetadata.optional(),
});
export const filePartSchema = z.looseObject({
  type: z.literal('file'),
  /** The server's id of the file, `art_…`. */
  artifact: z.string(),
  name: z.string(),
  mime: z.string(),
  /** Bytes. */
  size: z.int().min(0),
});
export type TextPart = InferKnown<typeof textPartSchema>;
export type ReasoningPart = InferKnown<typeof reasoningPartSchema>;
export type FilePart = InferKnown<typeof filePartSchema>;
/** A part of what a person sent. */
export type UserPart = TextPart | FilePart;
/** A part of what the model said, in the order it said it. */
export type AssistantPart = TextPart | ReasoningPart | FilePart;

/** Tokens of one call, or summed over a turn or session. */
export const usageSchema = z.looseObject({
  /** All input tokens, cached ones included. */
  input_tokens: z.int().min(0),
  /** All output tokens, reasoning included. */
  output_tokens: z.int().min(0),
  /** Input tokens read from the provider's cache. */
  cache_read_tokens: z.int().min(0).optional(),
  /** Input tokens written to the provider's cache. */
  cache_write_tokens: z.int().min(0).optional(),
  /** Output tokens spent on reasoning. */
  reasoning_tokens: z.int().min(0).optional(),
  /** US dollars, by the prices of then; of a call that was cut the most that it may have cost. */
  usd: z.number().min(0).optional(),
});
export type Usage = InferKnown<typeof usageSchema>;

export const errorInfoSchema = z.looseObject({
  /** A stable word for programs. */
  code: z.string(),
  /** What happened and what to do, for people. Never holds a secret. */
  message: z.string(),
});
export type ErrorInfo = InferKnown<typeof errorInfoSchema>;

export const onDisconnectSchema = z.enum(['continue', 'pause']);
export type OnDisconnect = InferKnown<typeof onDisconnectSchema>;

/** A chat of a platform, or one thread of it; or a webhook: `webhook`, and its name as `chat_id`. */
export const chatAddress = {
  /** The gateway's name in duragent.yaml. */
  gateway: z.string(),
  /** Which of the gateway's accounts; it has the gateway's name. */
  account: z.string(),
  chat_id: z.string(),
  thread_id: z.string().optional(),
};
export const chatAddressSchema = z.looseObject(chatAddress);
export type ChatAddress = InferKnown<typeof chatAddressSchema>;

export const originSchema = z.looseObject({
  /** What created the session. */
  kind: z.enum(['cli', 'http', 'gateway', 'schedule', 'webhook', 'agent']),
  /** The first 16 hex digits of the SHA-256 of the caller, the route and its Idempotency-Key. */
  idempotency: z.string().optional(),
  /** The chat that it was made for, of a direct one with its person. */
  chat: z.looseObject({ ...chatAddress, peer: z.string().optional() }).optional(),
  /** Whether that chat had no session before. */
  first: z.boolean().optional(),
});
export type Origin = InferKnown<typeof originSchema>;

export const sourceSchema = z.looseObject({
  /** Where a message came from. */
  kind: z.enum(['cli', 'http', 'gateway', 'schedule', 'webhook', 'agent']),
  /** Who said it, as other clients show it; of a chat with the platform's immutable id. */
  sender: z
    .looseObject({
      name: z.string().max(200),
      id: z.string().max(200).optional(),
      is_bot: z.boolean().optional(),
    })
    .optional(),
  /** The chat it was said in, and its id there. */
  chat: z
    .looseObject({ ...chatAddress, chat_type: chatTypeSchema, message_id: z.string() })
    .optional(),
  /** Its number in the account's inbox: a chat's numbers rise, so that none is taken twice. */
  inbox: z.looseObject({ account: z.string(), n: z.int().min(1) }).optional(),
  /** The first 16 hex digits of the SHA-256 of the caller, the route and its Idempotency-Key. */
  idempotency: z.string().optional(),
});
export type MessageSource = InferKnown<typeof sourceSchema>;

export const handlingSchema = z.enum(['turn', 'passive', 'silent']);
/** `turn`: the agent answers; `passive`: the model sees it at its next call; `silent`: kept for audit only. */
export type Handling = InferKnown<typeof handlingSchema>;

export const queueModeSchema = z.enum(['steer', 'batch', 'sequential', 'interrupt', 'drop']);
/**
 * What happens to a message that arrives while a turn works. `steer`: it enters the turn at its next
 * safe point; `batch`: all that wait become one turn; `sequential`: it waits for a turn of its own;
 * `interrupt`: the model call is aborted; `drop`: it is kept and not answered.
 */
export type QueueMode = InferKnown<typeof queueModeSchema>;

export const toolEffectSchema = z.enum(['pure', 'idempotent', 'effectful']);
export type ToolEffect = InferKnown<typeof toolEffectSchema>;

export const onInterruptSchema = z.enum(['tell_model', 'ask', 'retry']);
/**
 * What happens to a call whose outcome a stop of the server hid. `ask`: people are asked what came of it;
 * `retry` holds only for `pure` and `idempotent` tools.
 */
export type OnInterrupt = InferKnown<typeof onInterruptSchema>;

export const toolCallSchema = z.looseObject({
  /** The server's id of the call, `call_…`. */
  call: z.string(),
  /** The provider's id, sent back with the result. */
  provider_call_id: z.string(),
  name: z.string(),
  /** The parsed arguments; the raw text where the model's JSON did not parse. */
  arguments: z.unknown(),
  /** What the tool said of itself when it was offered; absent: there is no such tool. */
  effect: toolEffectSchema.optional(),
  on_interrupt: onInterruptSchema.optional(),
  provider_metadata: providerMetadata.optional(),
});
export type ToolCall = InferKnown<typeof toolCallSchema>;

export const givenContextSchema = z.looseObject({
  /** The conversation from this seq on; what stands before it was left out. */
  from_seq: z.int().min(1),
  /** Tool results up to this seq were left out, but for the first of them; 0: none. */
  masked_seq: z.int().min(0),
  /** Estimated tokens of the whole request. */
  tokens: z.int().min(0),
  /** The conversation up to this seq is to be summarized, so that the rest has room to grow. */
  summarize_seq: z.int().min(1).optional(),
});
/** How much of the conversation a model was given. The next call begins at the same place, so that caches hit. */
export type GivenContext = InferKnown<typeof givenContextSchema>;

export const turnLimitsSchema = z.looseObject({
  /** Steps a turn may take. */
  max_tool_iterations: z.int().min(1),
  /** Working time a turn may take, in ms; null: no limit. */
  turn_timeout_ms: z.int().min(1).nullable(),
  /** How often a failed call is tried again with the agent's model before the fallbacks. */
  model_retries: z.int().min(0),
  /** How many fallback models there are, tried once each. */
  fallbacks: z.int().min(0),
  /** Tokens of history a call may carry; the window kept for it is four times that. */
  max_history_tokens: z.int().min(1),
});
export type TurnLimits = InferKnown<typeof turnLimitsSchema>;

export const onUncertainSchema = z.enum(['resend_marked', 'notify', 'never']);
/** What becomes of a part that may have been posted, where the platform cannot tell. */
export type OnUncertain = InferKnown<typeof onUncertainSchema>;

/** A part of a text as it is sent: prefix, the text from `from` to `to` (UTF-16 units), suffix. Or a file. */
export const deliveryPartSchema = z.union([
  z.looseObject({
    prefix: z.string(),
    from: z.int().min(0),
    to: z.int().min(0),
    suffix: z.string(),
  }),
  z.looseObject({ file: z.string() }),
]);
export type DeliveryPart = InferKnown<typeof deliveryPartSchema>;

export const deliverySchema = z.looseObject({
  /** The server's id of the delivery, `out_…`. */
  out: z.string(),
  ...chatAddress,
  /** The platform's id of the message that it answers. */
  reply_to: z.string().optional(),
  format: textFormatSchema,
  on_uncertain: onUncertainSchema,
  /** ISO instant after which it is dead. */
  expires_at: z.string(),
  /** The bodies joined are the event's text. Cut once, and never again. */
  parts: z.array(deliveryPartSchema).min(1),
  /** Below the last part that is text. */
  keyboard: inlineKeyboardSchema.optional(),
  /** It posts nothing: it is the new text of a card, whose buttons go. Nothing where a platform cannot edit. */
  edits: z
    .looseObject({
      /** The delivery that showed the card. */
      out: z.string(),
      /** The platform's id of the card's message; absent: it was not there yet. */
      message: z.string().optional(),
    })
    .optional(),
});
/** Where an event is to be shown, and in which parts. */
export type Delivery = InferKnown<typeof deliverySchema>;
