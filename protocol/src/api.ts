import { z } from 'zod';
import {
  chatAddressSchema,
  handlingSchema,
  onDisconnectSchema,
  originSchema,
  queueModeSchema,
  usageSchema,
} from './event-parts.ts';
import { endReasonSchema } from './events/session.ts';
import { chatTypeSchema } from './gateway/shared.ts';
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
/** `waiting_approval` and `waiting_input`: people have to speak before the turn goes on. */
export const turnStateSchema = z.enum([
  'idle',
  'queued',
  'working',
  'waiting_approval',
  'waiting_input',
  'paused',
]);
export type TurnState = InferKnown<typeof turnStateSchema>;

/** A chat that shows and drives a session. */
export const boundChatSchema = chatAddressSchema.extend({
  chat_type: chatTypeSchema,
  /** The person of a direct chat: the platform's id. */
  peer: z.string().optional(),
});

/** A session as the API shows it. */
export const sessionViewSchema = z.looseObject({
  session: z.string(),
  agent: z.string(),
  key: z.string().optional(),
  labels: z.record(z.string(), z.string()),
  origin: originSchema,
  status: sessionStatusSchema,
  turn_state: turnStateSchema,
  /** Who paused it; absent: nobody has. */
  paused_by: z.string().optional(),
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
  /** The chats that show and drive it. */
  chats: z.array(boundChatSchema),
  /** Deliveries to chats that are owed, and those that died and may be tried again. */
  owed: z.int().min(0),
  dead: z.int().min(0),
  /** What people set in it; null: as the agent says. */
  settings: z.looseObject({
    queue: queueModeSchema.nullable(),
    activation: z.enum(['mention', 'always']).nullable(),
  }),
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

/** `GET /api/v1/chats/{gateway}/{chat_id}`. */
export const chatSessionSchema = z.looseObject({ session: z.string() });

export const gatewayStateSchema = z.enum([
  'starting',
  'ready',
  'backoff',
  'degraded',
  'fatal',
  'stopped',
]);

/** A gateway as operators see it. */
export const gatewayViewSchema = z.looseObject({
  name: z.string(),
  state: gatewayStateSchema,
  /** Why it is not ready; null: there is nothing to say. */
  reason: z.string().nullable(),
  /** ISO instant since which it is in this state. */
  since: z.string(),
  pid: z.int().nullable(),
  restarts: z.int().min(0),
  /** Lines that were no valid events, and lines or fields of unknown kinds. */
  dropped: z.int().min(0),
  unknown: z.int().min(0),
  /** What it announced last; null: nothing yet. */
  ready: z
    .looseObject({
      /** What it is, such as `telegram`, and its own version. */
      gateway: z.string(),
      version: z.string(),
      protocol: z.string(),
      capabilities: z.array(z.string()),
      /** Who it is on the platform. */
      identity: z.looseObject({ id: z.string(), username: z.string().optional() }).optional(),
    })
    .nullable(),
});
export type GatewayView = InferKnown<typeof gatewayViewSchema>;

export const gatewayListSchema = z.looseObject({ gateways: z.array(gatewayViewSchema) });
export const gatewayLogSchema = z.looseObject({ lines: z.array(z.string()) });

export const outboxStateSchema = z.enum(['owed', 'sending', 'uncertain', 'dead']);

/** A delivery to a chat that is owed, or died and may be tried again. */
export const outboxEntrySchema = z.looseObject({
  out: z.string(),
  session: z.string(),
  gateway: z.string(),
  chat_id: z.string(),
  thread_id: z.string().optional(),
  state: outboxStateSchema,
  /** The part that is next, and how many there are. */
  part: z.int().min(1),
  parts: z.int().min(1),
  /** Its current try. */
  attempt: z.int().min(1),
  /** ISO instant since which it is in this state; of a dead one, when it died. */
  since: z.string(),
  /** ISO instant before which it is not tried again. */
  retry_at: z.string().optional(),
  /** ISO instant after which it is dead. */
  expires_at: z.string(),
  /** Why the last try failed, where one did. */
  code: z.string().optional(),
  message: z.string().optional(),
  /** The beginning of the part's text, in one line; of a file its name. */
  preview: z.string(),
});
export type OutboxEntry = InferKnown<typeof outboxEntrySchema>;

export const outboxPageSchema = z.looseObject({
  deliveries: z.array(outboxEntrySchema),
  /** Sessions that owe something and cannot be opened. */
  unreadable: z.array(
    z.looseObject({ session: z.string(), code: z.string(), message: z.string() }),
  ),
  /** What the next page is asked with; null: there is none. */
  cursor: z.string().nullable(),
});
export type OutboxPage = InferKnown<typeof outboxPageSchema>;

/** What people decided about who may speak. */
export const accessListSchema = z.looseObject({
  pairings: z.array(
    z.looseObject({
      agent: z.string(),
      /** `<gateway>:<platform id>`. */
      sender: z.string(),
      /** As they call themselves. */
      name: z.string(),
      at: z.string(),
      /** Who let them in: `<gateway>:<platform id>`, or `cli`. */
      by: z.string(),
    }),
  ),
  /** Strangers who ask to be let in. */
  requests: z.array(
    z.looseObject({
      code: z.string(),
      agent: z.string(),
      sender: z.string(),
      name: z.string(),
      expires_at: z.string(),
    }),
  ),
});
export type AccessList = InferKnown<typeof accessListSchema>;

/** What a reload of the configuration did. */
export const reloadReportSchema = z.looseObject({
  /** Keys of duragent.yaml whose new values hold from now on. */
  applied: z.array(z.string()),
  /** Keys whose new values need a restart of the server. */
  restart_needed: z.array(z.string()),
  /** Gateways, by what was done with them. */
  gateways: z.looseObject({
    started: z.array(z.string()),
    stopped: z.array(z.string()),
    restarted: z.array(z.string()),
  }),
  warnings: z.array(z.string()),
});
export type ReloadReport = InferKnown<typeof reloadReportSchema>;

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

/** How far a turn is, as its agent says; it takes the place of the one before. `percent` is 0 to 100. */
export type ProgressDelta = Extract<DraftDelta, { type: 'progress' }>;

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
  | { type: 'tool_output'; turn: string; call: string; offset: number; text: string }
  | { type: 'progress'; turn: string; call: string; text: string; percent?: number };

/** The longest text of a progress, in UTF-16 units. */
export const MAX_PROGRESS_LENGTH = 500;
