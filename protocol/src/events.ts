import { z } from 'zod';
import {
  approvalDecidedSchema,
  approvalRequestedSchema,
  questionAnsweredSchema,
  questionAskedSchema,
} from './consent.ts';
import { eventFields } from './event-fields.ts';
import {
  deliveryFinishedSchema,
  deliveryStartedSchema,
  messageDroppedSchema,
  noticeSchema,
  previewPostedSchema,
  userMessageSchema,
} from './events/message.ts';
import {
  chatBoundSchema,
  chatUnboundSchema,
  historySummarizedSchema,
  recoveredSchema,
  sessionEndedSchema,
  sessionPausedSchema,
  sessionResumedSchema,
  sessionStartedSchema,
  settingChangedSchema,
  summaryFailedSchema,
} from './events/session.ts';
import {
  assistantMessageSchema,
  modelCallFailedSchema,
  toolFinishedSchema,
  toolStartedSchema,
  turnFinishedSchema,
  turnPausedSchema,
  turnResumedSchema,
  turnStartedSchema,
} from './events/turn.ts';
import type { InferKnown } from './infer-known.ts';

/**
 * The durable records of a session's log (PROTOCOL.md, "Events").
 *
 * A reader keeps fields and types it does not know: every schema here is loose, and a record
 * whose `type` is not listed is an `UnknownEvent`.
 */

/** The largest record in a log, in bytes of its line without the LF. */
export const MAX_RECORD_BYTES = 1024 * 1024;

/** Every event this version knows, by `type`. */
export const sessionEventSchema = z.discriminatedUnion('type', [
  sessionStartedSchema,
  chatBoundSchema,
  chatUnboundSchema,
  userMessageSchema,
  messageDroppedSchema,
  turnStartedSchema,
  assistantMessageSchema,
  modelCallFailedSchema,
  toolStartedSchema,
  approvalRequestedSchema,
  approvalDecidedSchema,
  questionAskedSchema,
  questionAnsweredSchema,
  toolFinishedSchema,
  turnPausedSchema,
  turnResumedSchema,
  turnFinishedSchema,
  previewPostedSchema,
  deliveryStartedSchema,
  deliveryFinishedSchema,
  noticeSchema,
  settingChangedSchema,
  sessionPausedSchema,
  sessionResumedSchema,
  historySummarizedSchema,
  summaryFailedSchema,
  recoveredSchema,
  sessionEndedSchema,
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
