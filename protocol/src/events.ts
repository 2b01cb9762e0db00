import { z } from 'zod';
import {
  approvalDecidedSchema,
  approvalRequestedSchema,
  questionAnsweredSchema,
  questionAskedSchema,
} from './consent.ts';
import { eventFields } from './event-fields.ts';
import {
  chatAddress,
  chatAddressSchema,
  deliverySchema,
  errorInfoSchema,
  filePartSchema,
  givenContextSchema,
  handlingSchema,
  onDisconnectSchema,
  onInterruptSchema,
  originSchema,
  queueModeSchema,
  reasoningPartSchema,
  sourceSchema,
  textPartSchema,
  toolCallSchema,
  toolEffectSchema,
  turnLimitsSchema,
  usageSchema,
} from './event-parts.ts';
import { chatTypeSchema } from './gateway/shared.ts';
import type { InferKnown } from './infer-known.ts';

/**
 * The durable records of a session's log (PROTOCOL.md, "Events").
 *
 * A reader keeps fields and types it does not know: every schema here is loose, and a record
 * whose `type` is not listed is an `UnknownEvent`.
 */

/** Chats beside those of its session that one message's answer may go to. */
export const MAX_DELIVER_TO = 4;

/** The largest record in a log, in bytes of its line without the LF. */
export const MAX_RECORD_BYTES = 1024 * 1024;

const sessionStarted = z.looseObject({
  ...eventFields,
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
  ...eventFields,
  type: z.literal('user_message'),
  message_id: z.string(),
  /** The message that this one is the new text of, where no model call had seen that. */
  replaces: z.string().optional(),
  source: sourceSchema,
  content: z.array(z.union([textPartSchema, filePartSchema])),
  handling: handlingSchema,
  /** ISO instant up to which a turn waits for more of the sender's messages. */
  held_until: z.string().optional(),
  /** The question that it answers, `q_…`. */
  answers: z.string().optional(),
  /** Chats that get the answer beside those of the session. */
  deliver_to: z.array(chatAddressSchema).max(MAX_DELIVER_TO).optional(),
  /** Other chats of the session that are shown it, as one line. */
  deliveries: z.array(deliverySchema).optional(),
});

const chatBound = z.looseObject({
  ...eventFields,
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
  ...eventFields,
  type: z.literal('chat_unbound'),
  ...chatAddress,
  by: z.string(),
});

const messageDropped = z.looseObject({
  ...eventFields,
  type: z.literal('message_dropped'),
  message_ids: z.array(z.string()),
  /** `overflow`: too many waited; `busy`: a turn worked (queue mode drop). */
  reason: z.enum(['overflow', 'busy']),
});

const turnStarted = z.looseObject({
  ...eventFields,
  type: z.literal('turn_started'),
  turn: z.string(),
  /** Message ids that the turn answers. */
  trigger: z.array(z.string()),
  agent_hash: z.string(),
  limits: turnLimitsSchema,
  /** What happens to messages that arrive while the turn works. */
  queue: queueModeSchema,
});

/** For how long the turn had worked with nobody attached by then, in ms; absent: as long as before. */
const unattended = { unattended_ms: z.int().min(0).optional() };

const assistantMessage = z.looseObject({
  ...eventFields,
  type: z.literal('assistant_message'),
  turn: z.string(),
  /** Which model call of the turn: 1, 2, 3 … */
  step: z.int().min(1),
  /** Which try of the step, over retries, fallbacks and restarts: 1, 2, 3 … */
  attempt: z.int().min(1),
  message_id: z.string(),
  /** The last seq the model saw. */
  input_seq: z.int().min(0),
  /** Absent where a person stopped the answer. */
  given: givenContextSchema.optional(),
  content: z.array(z.union([textPartSchema, reasoningPartSchema, filePartSchema])),
  tool_calls: z.array(toolCallSchema),
  /** `stop`, `length`, `tool_calls`, `content_filter`, `cancelled` (a person stopped it: the text up to there), `other`. */
  finish_reason: z.string(),
  usage: usageSchema.optional(),
  /** The model that answered, `<provider>/<name>`. */
  model: z.string(),
  /** Where the message is to be delivered to; empty without a bound chat. */
  deliveries: z.array(deliverySchema),
  ...unattended,
});

const modelCallFailed = z.looseObject({
  ...eventFields,
  type: z.literal('model_call_failed'),
  turn: z.string(),
  step: z.int().min(1),
  attempt: z.int().min(1),
  model: z.string(),
  error: errorInfoSchema,
  usage: usageSchema.optional(),
  /** The next try: when, and with which model (0: the agent's, 1…: its fallbacks). Absent: there is none. */
  retry: z.looseObject({ at: z.string(), candidate: z.int().min(0) }).optional(),
  ...unattended,
});

const toolStarted = z.looseObject({
  ...eventFields,
  type: z.literal('tool_started'),
  turn: z.string(),
  call: z.string(),
  provider_call_id: z.string(),
  name: z.string(),
  arguments: z.unknown(),
  effect: toolEffectSchema,
  on_interrupt: onInterruptSchema,
  /** SHA-256 over all that is done, in hex: the same as of the approval that allowed it. */
  hash: z.string().optional(),
  ...unattended,
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
  ...eventFields,
  type: z.literal('tool_finished'),
  turn: z.string(),
  call: z.string(),
  outcome: toolOutcomeSchema,
  /** What the model is told. */
  content: z.string(),
  /** What people may see beside it. */
  details: z.record(z.string(), z.unknown()),
  /** What the cards say from now on that asked about it, where the turn was stopped meanwhile. */
  deliveries: z.array(deliverySchema).optional(),
  ...unattended,
});

export const pauseReasonSchema = z.enum(['disconnected', 'operator', 'background_limit', 'drain']);
export type PauseReason = InferKnown<typeof pauseReasonSchema>;
export const resumeCauseSchema = z.enum(['attached', 'operator', 'message', 'crash', 'drain']);
export type ResumeCause = InferKnown<typeof resumeCauseSchema>;

const turnPaused = z.looseObject({
  ...eventFields,
  type: z.literal('turn_paused'),
  turn: z.string(),
  reason: pauseReasonSchema,
  ...unattended,
});

const turnResumed = z.looseObject({
  ...eventFields,
  type: z.literal('turn_resumed'),
  turn: z.string(),
  cause: resumeCauseSchema,
  /** The attempt of the current step that follows. */
  attempt: z.int().min(1),
  /** Of the call that was cut, as far as it is charged. */
  usage: usageSchema.optional(),
  model: z.string().optional(),
  ...unattended,
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
  ...eventFields,
  type: z.literal('turn_finished'),
  turn: z.string(),
  outcome: turnOutcomeSchema,
  error: errorInfoSchema.optional(),
  /** Summed over the turn's calls. */
  usage: usageSchema,
});

const previewPosted = z.looseObject({
  ...eventFields,
  type: z.literal('preview_posted'),
  /** The delivery that will finish it. */
  out: z.string(),
  part: z.int().min(1),
  platform_message_id: z.string(),
});

const deliveryStarted = z.looseObject({
  ...eventFields,
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
  ...eventFields,
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
  ...eventFields,
  type: z.literal('notice'),
  /** What people are told, once. Not part of the conversation. */
  text: z.string(),
  /** Names what asked for it: asked twice, it is told once. */
  idempotency: z.string().optional(),
  /** The call of the open turn that the policy wants people to know of, or that tells it: it is told once. */
  call: z.string().optional(),
  deliveries: z.array(deliverySchema),
});

const settingChanged = z.looseObject({
  ...eventFields,
  type: z.literal('setting_changed'),
  name: z.enum(['queue', 'activation']),
  /** null: as the agent says again. */
  value: z.string().nullable(),
  by: z.string(),
});

const sessionPaused = z.looseObject({
  ...eventFields,
  type: z.literal('session_paused'),
  by: z.string(),
});

const sessionResumed = z.looseObject({
  ...eventFields,
  type: z.literal('session_resumed'),
  by: z.string(),
});

const historySummarized = z.looseObject({
  ...eventFields,
  type: z.literal('history_summarized'),
  /** The turn that was open; absent: none. */
  turn: z.string().optional(),
  /** What the conversation says up to this seq, the summary before this one included. */
  up_to_seq: z.int().min(1),
  /** At most 8 KiB. */
  summary: z.string(),
  usage: usageSchema.optional(),
  /** The model that wrote it, `<provider>/<name>`. */
  model: z.string(),
});

const summaryFailed = z.looseObject({
  ...eventFields,
  type: z.literal('summary_failed'),
  /** The open turn goes on; absent: none is open. */
  turn: z.string().optional(),
  /** Up to where it was to be summarized; tried again when there is more. */
  up_to_seq: z.int().min(1),
  error: errorInfoSchema,
  usage: usageSchema.optional(),
  model: z.string(),
});

const recovered = z.looseObject({
  ...eventFields,
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
  ...eventFields,
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
  approvalRequestedSchema,
  approvalDecidedSchema,
  questionAskedSchema,
  questionAnsweredSchema,
  toolFinished,
  turnPaused,
  turnResumed,
  turnFinished,
  previewPosted,
  deliveryStarted,
  deliveryFinished,
  notice,
  settingChanged,
  sessionPaused,
  sessionResumed,
  historySummarized,
  summaryFailed,
  recovered,
  sessionEnded,
]);

export type SessionEvent = InferKnown<typeof sessionEventSchema>;
export type SessionEventType = SessionEvent['type'];
/** One kind of event: `EventOf<'user_message'>`. */
export type EventOf<T extends SessionEventType> = Extract<SessionEvent, { type: T }>;

const unknownEventSchema = z.looseObject({ ...eventFields, type: z.string() });
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
 * @param options.isOneOfFew whether so few are read that writing and compiling a function for each kind costs
 *   more than it saves.
 * @returns the event, or what is wrong with it. Fields that are not known are kept.
 */
export function readEvent(
  value: unknown,
  options: { isOneOfFew?: boolean } = {},
): { ok: true; event: StoredEvent } | { ok: false; fault: string } {
  const type = (value as { type?: unknown } | null)?.type;
  const schema =
    typeof type === 'string' && knownTypes.has(type) ? sessionEventSchema : unknownEventSchema;
  const result = schema.safeParse(value, { jitless: options.isOneOfFew === true });
  if (result.success) return { ok: true, event: result.data as StoredEvent };
  const issue = result.error.issues[0];
  return { ok: false, fault: `/${issue?.path.join('/') ?? ''}: ${issue?.message ?? 'invalid'}` };
}
