import { z } from 'zod';
import { chatTypeSchema, textFormatSchema } from './gateway/shared.ts';
import type { InferKnown } from './infer-known.ts';

/**
 * The durable records of a session's log (PROTOCOL.md, "Events").
 *
 * A reader keeps fields and types it does not know: every schema here is loose, and a record
 * whose `type` is not listed is an `UnknownEvent`.
 */

/** The largest record in a log, in bytes of its line without the LF. */
export const MAX_RECORD_BYTES = 1024 * 1024;

/** Fields that every record begins with. `crc` is written by the store and is not part of an event. */
const common = {
  /** Position in the session's log: 1, 2, 3 … without a gap. */
  seq: z.int().min(1),
  /** The start of the server that wrote the record: rises by one at each start. Never falls in a log. */
  epoch: z.int().min(0),
  /** When it was recorded: UTC with milliseconds, ISO 8601. */
  at: z.string(),
};

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

/** A chat of a platform, or one thread of it. */
const chatAddress = {
  /** The gateway's name in duragent.yaml. */
  gateway: z.string(),
  /** Which of the gateway's accounts; the gateway's name, for now. */
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

export const onInterruptSchema = z.enum(['tell_model', 'retry']);
/** What happens to a call whose outcome a crash hid. `retry` holds only for `pure` and `idempotent` tools. */
export type OnInterrupt = InferKnown<typeof onInterruptSchema>;

export const toolCallSchema = z.looseObject({
  /** The server's id of the call, `call_…`. */
  call: z.string(),
  /** The provider's id, sent back with the result. */
  provider_call_id: z.string(),
  name: z.string(),
  /** The parsed arguments; the raw text where the model's JSON did not parse. */
  arguments: z.unknown(),
  provider_metadata: providerMetadata.optional(),
});
export type ToolCall = InferKnown<typeof toolCallSchema>;

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
});
/** Where an event is to be shown, and in which parts. */
export type Delivery = InferKnown<typeof deliverySchema>;

const sessionStarted = z.looseObject({
  ...common,
  type: z.literal('session_started'),
  session: z.string(),
  agent: z.string(),
  /** Hash of the agent's definition when the session began. */
  agent_hash: z.string(),
  /** The creator's own name for the session; at most one session that has not ended holds it. */
  key: z.string().optional(),
  origin: originSchema,
  /** Only if the request gave it; else the agent's, else the server's setting applies. */
  on_disconnect: onDisconnectSchema.optional(),
  labels: z.record(z.string(), z.string()),
});

const userMessage = z.looseObject({
  ...common,
  type: z.literal('user_message'),
  message_id: z.string(),
  /** The message that this one is the new text of, where no model call had seen that. */
  replaces: z.string().optional(),
  source: sourceSchema,
  content: z.array(z.union([textPartSchema, filePartSchema])),
  handling: handlingSchema,
  /** ISO instant up to which a turn waits for more of the sender's messages. */
  held_until: z.string().optional(),
  /** Other chats of the session that are shown it, as one line. */
  deliveries: z.array(deliverySchema).optional(),
});

const chatBound = z.looseObject({
  ...common,
  type: z.literal('chat_bound'),
  ...chatAddress,
  chat_type: chatTypeSchema,
  /** The person of a direct chat. */
  peer: z.string().optional(),
  /** The chat's inbox numbers up to this one are no messages of this session. */
  inbox: z.int().min(0),
  /** Who bound it: `<gateway>:<id>` of a person, or `server`. */
  by: z.string(),
});

const chatUnbound = z.looseObject({
  ...common,
  type: z.literal('chat_unbound'),
  ...chatAddress,
  by: z.string(),
});

const messageDropped = z.looseObject({
  ...common,
  type: z.literal('message_dropped'),
  message_ids: z.array(z.string()),
  /** `overflow`: too many waited; `busy`: a turn worked (queue mode drop). */
  reason: z.enum(['overflow', 'busy']),
});

const turnStarted = z.looseObject({
  ...common,
  type: z.literal('turn_started'),
  turn: z.string(),
  /** Message ids that the turn answers. */
  trigger: z.array(z.string()),
  agent_hash: z.string(),
  limits: turnLimitsSchema,
  /** What happens to messages that arrive while the turn works. */
  queue: queueModeSchema,
});

const assistantMessage = z.looseObject({
  ...common,
  type: z.literal('assistant_message'),
  turn: z.string(),
  /** Which model call of the turn: 1, 2, 3 … */
  step: z.int().min(1),
  /** Which try of the step, over retries, fallbacks and restarts: 1, 2, 3 … */
  attempt: z.int().min(1),
  message_id: z.string(),
  /** The last seq the model saw. */
  input_seq: z.int().min(0),
  content: z.array(z.union([textPartSchema, reasoningPartSchema, filePartSchema])),
  tool_calls: z.array(toolCallSchema),
  /** `stop`, `length`, `tool_calls`, `content_filter`, `cancelled` (a person stopped it: the text up to there), `other`. */
  finish_reason: z.string(),
  usage: usageSchema.optional(),
  /** The model that answered, `<provider>/<name>`. */
  model: z.string(),
  /** Where the message is to be delivered to; empty without a bound chat. */
  deliveries: z.array(deliverySchema),
});

const modelCallFailed = z.looseObject({
  ...common,
  type: z.literal('model_call_failed'),
  turn: z.string(),
  step: z.int().min(1),
  attempt: z.int().min(1),
  model: z.string(),
  error: errorInfoSchema,
  usage: usageSchema.optional(),
  /** The next try: when, and with which model (0: the agent's, 1…: its fallbacks). Absent: there is none. */
  retry: z.looseObject({ at: z.string(), candidate: z.int().min(0) }).optional(),
});

const toolStarted = z.looseObject({
  ...common,
  type: z.literal('tool_started'),
  turn: z.string(),
  call: z.string(),
  provider_call_id: z.string(),
  name: z.string(),
  arguments: z.unknown(),
  effect: toolEffectSchema,
  on_interrupt: onInterruptSchema,
});

export const toolOutcomeSchema = z.enum([
  'ok',
  'error',
  'denied',
  'skipped',
  'timed_out',
  'cancelled',
  'unknown',
]);
export type ToolOutcome = InferKnown<typeof toolOutcomeSchema>;

const toolFinished = z.looseObject({
  ...common,
  type: z.literal('tool_finished'),
  turn: z.string(),
  call: z.string(),
  outcome: toolOutcomeSchema,
  /** What the model is told. */
  content: z.string(),
  /** What people may see beside it. */
  details: z.record(z.string(), z.unknown()),
});

export const pauseReasonSchema = z.enum(['disconnected', 'drain']);
export type PauseReason = InferKnown<typeof pauseReasonSchema>;
export const resumeCauseSchema = z.enum(['attached', 'message', 'crash', 'drain']);
export type ResumeCause = InferKnown<typeof resumeCauseSchema>;

const turnPaused = z.looseObject({
  ...common,
  type: z.literal('turn_paused'),
  turn: z.string(),
  reason: pauseReasonSchema,
});

const turnResumed = z.looseObject({
  ...common,
  type: z.literal('turn_resumed'),
  turn: z.string(),
  cause: resumeCauseSchema,
  /** The attempt of the current step that follows. */
  attempt: z.int().min(1),
});

export const turnOutcomeSchema = z.enum([
  'completed',
  'failed',
  'cancelled',
  'interrupted',
  'needs_attention',
]);
export type TurnOutcome = InferKnown<typeof turnOutcomeSchema>;

const turnFinished = z.looseObject({
  ...common,
  type: z.literal('turn_finished'),
  turn: z.string(),
  outcome: turnOutcomeSchema,
  error: errorInfoSchema.optional(),
  /** Summed over the turn's calls. */
  usage: usageSchema,
});

const previewPosted = z.looseObject({
  ...common,
  type: z.literal('preview_posted'),
  /** The delivery that will finish it. */
  out: z.string(),
  part: z.int().min(1),
  platform_message_id: z.string(),
});

const deliveryStarted = z.looseObject({
  ...common,
  type: z.literal('delivery_started'),
  out: z.string(),
  /** Which of the delivery's parts: 1, 2, 3 … */
  part: z.int().min(1),
  /** Which try of this part: 1, 2, 3 … */
  attempt: z.int().min(1),
});

export const deliveryOutcomeSchema = z.enum(['delivered', 'failed', 'uncertain', 'dead']);
/** `failed`: tried again at `retry_at`; `uncertain`: it may be there; `dead`: it ended without being shown whole. */
export type DeliveryOutcome = InferKnown<typeof deliveryOutcomeSchema>;

const deliveryFinished = z.looseObject({
  ...common,
  type: z.literal('delivery_finished'),
  out: z.string(),
  part: z.int().min(1),
  attempt: z.int().min(1),
  outcome: deliveryOutcomeSchema,
  platform_message_id: z.string().optional(),
  retry_at: z.string().optional(),
  /** A new end of its time, where somebody asked for another try. */
  expires_at: z.string().optional(),
  error: errorInfoSchema.optional(),
});

const notice = z.looseObject({
  ...common,
  type: z.literal('notice'),
  /** What people are told, once. Not part of the conversation. */
  text: z.string(),
  deliveries: z.array(deliverySchema),
});

const settingChanged = z.looseObject({
  ...common,
  type: z.literal('setting_changed'),
  name: z.enum(['queue', 'activation']),
  /** null: as the agent says again. */
  value: z.string().nullable(),
  by: z.string(),
});

const recovered = z.looseObject({
  ...common,
  type: z.literal('recovered'),
  /** How many bytes behind the last good record were cut off. */
  bytes: z.int().min(1),
  /** The file beside the log that keeps them. */
  saved_as: z.string(),
});

export const endReasonSchema = z.enum([
  'user',
  'reset',
  'expired',
  'abandoned',
  'operator',
  'error',
]);
export type EndReason = InferKnown<typeof endReasonSchema>;

const sessionEnded = z.looseObject({
  ...common,
  type: z.literal('session_ended'),
  reason: endReasonSchema,
});

/** Every event this version knows, by `type`. */
export const sessionEventSchema = z.discriminatedUnion('type', [
  sessionStarted,
  chatBound,
  chatUnbound,
  userMessage,
  messageDropped,
  turnStarted,
  assistantMessage,
  modelCallFailed,
  toolStarted,
  toolFinished,
  turnPaused,
  turnResumed,
  turnFinished,
  previewPosted,
  deliveryStarted,
  deliveryFinished,
  notice,
  settingChanged,
  recovered,
  sessionEnded,
]);

export type SessionEvent = InferKnown<typeof sessionEventSchema>;
export type SessionEventType = SessionEvent['type'];
/** One kind of event: `EventOf<'user_message'>`. */
export type EventOf<T extends SessionEventType> = Extract<SessionEvent, { type: T }>;

const unknownEventSchema = z.looseObject({ ...common, type: z.string() });
/** A record of a newer minor version: kept, passed through, and without effect on the state. */
export type UnknownEvent = InferKnown<typeof unknownEventSchema>;
export type StoredEvent = SessionEvent | UnknownEvent;

const knownTypes: ReadonlySet<string> = new Set(
  sessionEventSchema.options.map((option) => option.shape.type.value),
);

/** Whether this version knows the event's type (and so its fields). */
export function isKnownEvent(event: StoredEvent): event is SessionEvent {
  return knownTypes.has(event.type);
}

/**
 * Reads one parsed record of a log.
 * @returns the event, or what is wrong with it. Fields that are not known are kept.
 */
export function readEvent(
  value: unknown,
): { ok: true; event: StoredEvent } | { ok: false; fault: string } {
  const type = (value as { type?: unknown } | null)?.type;
  const schema =
    typeof type === 'string' && knownTypes.has(type) ? sessionEventSchema : unknownEventSchema;
  const result = schema.safeParse(value);
  if (result.success) return { ok: true, event: result.data as StoredEvent };
  const issue = result.error.issues[0];
  return { ok: false, fault: `/${issue?.path.join('/') ?? ''}: ${issue?.message ?? 'invalid'}` };
}
