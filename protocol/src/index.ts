export * from './api.ts';
export * from './connection.ts';
export * from './consent.ts';
export * from './errors.ts';
export * from './event-parts.ts';
export * from './events.ts';
export { deliveryOutcomeSchema, MAX_DELIVER_TO, type DeliveryOutcome } from './events/message.ts';
export { endReasonSchema, type EndReason } from './events/session.ts';
export {
  pauseReasonSchema,
  resumeCauseSchema,
  toolOutcomeSchema,
  turnOutcomeSchema,
  type PauseReason,
  type ResumeCause,
  type ToolOutcome,
  type TurnOutcome,
} from './events/turn.ts';
export * from './gateway/buttons.ts';
export * from './gateway/command.ts';
export * from './gateway/event.ts';
export * from './gateway/handshake.ts';
export * from './gateway/health.ts';
export * from './gateway/media.ts';
export * from './gateway/messages.ts';
export * from './gateway/previews.ts';
export * from './gateway/shared.ts';
export * from './gateway/typing.ts';
export * from './lines.ts';
export * from './names.ts';
export * from './schedules.ts';
export * from './visible.ts';
