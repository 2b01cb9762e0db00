import { z } from 'zod';
import {
  endReasonSchema,
  handlingSchema,
  onDisconnectSchema,
  originSchema,
  usageSchema,
} from './events.ts';
import type { InferKnown } from './infer-known.ts';
import { agentNameSchema } from './names.ts';

/** Bodies of the HTTP API, frames of its event streams, and its problems (PROTOCOL.md, "HTTP"). */

/** The largest request body, in bytes. */
export const MAX_BODY_BYTES = 1024 * 1024;

export const labelsSchema = z
  .record(z.string().regex(/^[a-zA-Z0-9][\w.-]{0,62}$/), z.string().max(256))
  .refine((labels) => Object.keys(labels).length <= 32, 'at most 32 labels');

/** `POST /api/v1/sessions`. */
export const createSessionSchema = z.strictObject({
  /** The agent's name; without it the default agent, or the only one. */
  agent: agentNameSchema.optional(),
  /** The caller's own name for the session. While a session that has not ended holds it, 409 names that one. */
  key: z.string().min(1).max(200).optional(),
  labels: labelsSchema.optional(),
  on_disconnect: onDisconnectSchema.optional(),
  /** What the session says of its maker; default `http`. */
  origin: z.enum(['cli', 'http']).optional(),
});
export type CreateSession = InferKnown<typeof createSessionSchema>;

/** Text, or a list of text parts. */
export const contentSchema = z.union([
  z.string().min(1),
  z
    .array(z.strictObject({ type: z.literal('text'), text: z.string().min(1) }))
    .min(1)
    .max(100),
]);

/** `POST /api/v1/sessions/{id}/stream`; with `handling` and `wait` also `…/messages`. */
export const streamMessageSchema = z.strictObject({
  content: contentSchema,
  /** Who says it, as other clients show it; at most 200 characters. */
  sender: z.strictObject({ name: z.string().min(1).max(200) }).optional(),
  /** Where it was typed; default `http`. */
  origin: z.enum(['cli', 'http']).optional(),
});
export const postMessageSchema = streamMessageSchema.extend({
  /** Default `turn`. */
  handling: handlingSchema.optional(),
  /** true: answer when the turn has ended, with its text. */
  wait: z.boolean().optional(),
});
export type PostMessage = InferKnown<typeof postMessageSchema>;

/** `DELETE /api/v1/sessions/{id}?reason=`. */
export const deleteReasonSchema = endReasonSchema.extract(['user', 'reset', 'operator']);

export const sessionStatusSchema = z.enum(['ended', 'paused', 'active', 'running', 'quarantined']);
export type SessionStatus = InferKnown<typeof sessionStatusSchema>;
export const turnStateSchema = z.enum(['idle', 'queued', 'working', 'paused']);
export type TurnState = InferKnown<typeof turnStateSchema>;

/** A session as the API shows it. */
export const sessionViewSchema = z.looseObject({
  session: z.string(),
  agent: z.string(),
  key: z.string().optional(),
  labels: z.record(z.string(), z.string()),
  origin: originSchema,
  status: sessionStatusSchema,
  turn_state: turnStateSchema,
  /** How many clients are attached. */
  clients: z.int().min(0),
  created_at: z.string(),
  updated_at: z.string(),
  ended_at: z.string().optional(),
  end_reason: endReasonSchema.optional(),
  turns: z.int().min(0),
  usage: usageSchema,
  last_seq: z.int().min(0),
  /** The beginning of the last message of a person, at most 80 characters. */
  preview: z.string().optional(),
  /** Only when quarantined: which file, which byte, and why. */
  quarantine: z.looseObject({ file: z.string(), offset: z.int(), reason: z.string() }).optional(),
});
export type SessionView = InferKnown<typeof sessionViewSchema>;

export const agentViewSchema = z.looseObject({
  name: z.string(),
  description: z.string(),
  version: z.string(),
  labels: z.record(z.string(), z.string()),
  hash: z.string(),
  /** `<provider>/<name>` of its model, as resolved now. */
  model: z.string(),
  default: z.boolean(),
});
export type AgentView = InferKnown<typeof agentViewSchema>;

/** An agent whose files do not load, with every fault found. */
export const brokenAgentSchema = z.looseObject({
  name: z.string(),
  faults: z.array(
    z.looseObject({ file: z.string(), line: z.int(), column: z.int(), message: z.string() }),
  ),
});

export const agentListSchema = z.looseObject({
  agents: z.array(agentViewSchema),
  broken: z.array(brokenAgentSchema),
});

/** 202 of `POST …/messages`. */
export const messageAcceptedSchema = z.looseObject({
  seq: z.int().min(1),
  message_id: z.string(),
  /** The turn that will answer, where it is known already. */
  turn: z.string().nullable(),
});
export type MessageAccepted = InferKnown<typeof messageAcceptedSchema>;

/** 200 of `POST …/messages` with `wait: true`. */
export const answerSchema = messageAcceptedSchema.extend({
  outcome: z.string(),
  /** The text of the turn's last message. */
  text: z.string(),
  usage: usageSchema,
  error: z.looseObject({ code: z.string(), message: z.string() }).optional(),
});
export type Answer = InferKnown<typeof answerSchema>;

/** `run/server.json`: how clients of a workspace find its server. */
export const serverFileSchema = z.looseObject({
  pid: z.int(),
  host: z.string(),
  started_at: z.string(),
  url: z.string(),
  version: z.string(),
  /** The first 16 hex digits of the SHA-256 of the data directory's real path. */
  workspace: z.string(),
  /** A new random word at each start. */
  instance: z.string(),
  token_file: z.string(),
  /** Seconds without use after which the server ends by itself; null: it stays. */
  ephemeral: z.number().nullable(),
});
export type ServerFile = InferKnown<typeof serverFileSchema>;

/** RFC 9457 body of every error; `type` is `urn:duragent:problem:<code>`. */
export const problemSchema = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
  request_id: z.string(),
  /** With `invalid_request`: a JSON pointer and a sentence for each fault. */
  errors: z.array(z.looseObject({ pointer: z.string(), message: z.string() })).optional(),
});
export type Problem = InferKnown<typeof problemSchema>;

/**
 * What a session's stream carries besides its events. Deltas have no id and are never durable.
 * `offset` counts UTF-16 units of that attempt's text, reasoning or output.
 */
export type Delta =
  | DraftDelta
  | { type: 'presence'; clients: number }
  /** The reader was too slow for the ring; what follows catches up. */
  | { type: 'lagged' }
  /** All that was recorded when the reader came has been sent. */
  | { type: 'caught_up'; seq: number }
  /** The id to resume from was not one of this log; what follows is its tail. */
  | { type: 'reset'; seq: number };

export type DraftDelta =
  | { type: 'token'; turn: string; step: number; attempt: number; offset: number; text: string }
  | { type: 'reasoning'; turn: string; step: number; attempt: number; offset: number; text: string }
  | { type: 'tool_output'; turn: string; call: string; offset: number; text: string };
