import { z } from 'zod';
import { eventFields } from '../event-fields.ts';
import {
  chatAddress,
  errorInfoSchema,
  onDisconnectSchema,
  originSchema,
  usageSchema,
} from '../event-parts.ts';
import { chatTypeSchema } from '../gateway/shared.ts';
import type { InferKnown } from '../infer-known.ts';

/** What happens to a session as a whole: its life, its chats, its settings, its history. */

export const sessionStartedSchema = z.looseObject({
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

export const chatBoundSchema = z.looseObject({
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
  /** The platform's id of the chat until now, where that has changed. */
  moved_from: z.string().optional(),
});

export const chatUnboundSchema = z.looseObject({
  ...eventFields,
  type: z.literal('chat_unbound'),
  ...chatAddress,
  by: z.string(),
});

export const settingChangedSchema = z.looseObject({
  ...eventFields,
  type: z.literal('setting_changed'),
  name: z.enum(['queue', 'activation']),
  /** null: as the agent says again. */
  value: z.string().nullable(),
  by: z.string(),
});

export const sessionPausedSchema = z.looseObject({
  ...eventFields,
  type: z.literal('session_paused'),
  by: z.string(),
});

export const sessionResumedSchema = z.looseObject({
  ...eventFields,
  type: z.literal('session_resumed'),
  by: z.string(),
});

export const historySummarizedSchema = z.looseObject({
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

export const summaryFailedSchema = z.looseObject({
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

export const recoveredSchema = z.looseObject({
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

export const sessionEndedSchema = z.looseObject({
  ...eventFields,
  type: z.literal('session_ended'),
  reason: endReasonSchema,
});
