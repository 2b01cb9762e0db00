import { z } from 'zod';
import { eventFields } from '../event-fields.ts';
import {
  chatAddressSchema,
  deliverySchema,
  errorInfoSchema,
  filePartSchema,
  handlingSchema,
  sourceSchema,
  textPartSchema,
} from '../event-parts.ts';
import type { InferKnown } from '../infer-known.ts';

/** What people say and are told, and how it gets to their chats. */

/** Chats beside those of its session that one message's answer may go to. */
export const MAX_DELIVER_TO = 4;

export const userMessageSchema = z.looseObject({
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

export const messageDroppedSchema = z.looseObject({
  ...eventFields,
  type: z.literal('message_dropped'),
  message_ids: z.array(z.string()),
  /** `overflow`: too many waited; `busy`: a turn worked (queue mode drop). */
  reason: z.enum(['overflow', 'busy']),
});

export const noticeSchema = z.looseObject({
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

export const previewPostedSchema = z.looseObject({
  ...eventFields,
  type: z.literal('preview_posted'),
  /** The delivery that will finish it. */
  out: z.string(),
  part: z.int().min(1),
  platform_message_id: z.string(),
});

export const deliveryStartedSchema = z.looseObject({
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

export const deliveryFinishedSchema = z.looseObject({
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
