import { z } from 'zod';
import { eventFields } from '../event-fields.ts';
import {
  deliverySchema,
  errorInfoSchema,
  filePartSchema,
  givenContextSchema,
  onInterruptSchema,
  queueModeSchema,
  reasoningPartSchema,
  textPartSchema,
  toolCallSchema,
  toolEffectSchema,
  turnLimitsSchema,
  usageSchema,
} from '../event-parts.ts';
import type { InferKnown } from '../infer-known.ts';

/** What an agent does to answer: its calls of the model and of tools. */

export const turnStartedSchema = z.looseObject({
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

export const assistantMessageSchema = z.looseObject({
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

export const modelCallFailedSchema = z.looseObject({
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

export const toolStartedSchema = z.looseObject({
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

export const toolFinishedSchema = z.looseObject({
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

export const turnPausedSchema = z.looseObject({
  ...eventFields,
  type: z.literal('turn_paused'),
  turn: z.string(),
  reason: pauseReasonSchema,
  ...unattended,
});

export const turnResumedSchema = z.looseObject({
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

export const turnFinishedSchema = z.looseObject({
  ...eventFields,
  type: z.literal('turn_finished'),
  turn: z.string(),
  outcome: turnOutcomeSchema,
  error: errorInfoSchema.optional(),
  /** Summed over the turn's calls. */
  usage: usageSchema,
});
