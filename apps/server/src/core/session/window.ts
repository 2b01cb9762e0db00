import { type EventOf, isKnownEvent, type StoredEvent } from '@duragent/protocol';
import { estimateTokens } from '../utf8.ts';
import type { SessionState } from './state.ts';

/** Events that a model call may need: what was said, and what ties it to turns. */
export type WindowEvent =
  | EventOf<'user_message'>
  | EventOf<'turn_started'>
  | EventOf<'assistant_message'>
  | EventOf<'tool_finished'>;

/**
 * The newest part of the conversation, in log order: every such event from seq `start` on. With
 * the state it is all that opening a session has to rebuild.
 */
export interface ConversationWindow {
  start: number;
  events: readonly WindowEvent[];
  /** Estimated tokens of each event, and their sum. */
  sizes: readonly number[];
  tokens: number;
}

/** A window that begins at `start`, before any event. */
export function emptyWindow(start = 1): ConversationWindow {
  return { start, events: [], sizes: [], tokens: 0 };
}

/** Adds what an event says to the conversation; drops nothing (`trimWindow` does). */
export function extendWindow(window: ConversationWindow, event: StoredEvent): ConversationWindow {
  if (!isKnownEvent(event) || !isWindowEvent(event) || event.seq < window.start) return window;
  const size = tokensOf(event);
  return {
    start: window.start,
    events: [...window.events, event],
    sizes: [...window.sizes, size],
    tokens: window.tokens + size,
  };
}

/**
 * Drops the oldest events until the rest fits the state's `windowTokens`; never one of the open
 * turn or a message that no model call has seen. `state` is the fold up to the same event.
 */
export function trimWindow(window: ConversationWindow, state: SessionState): ConversationWindow {
  if (window.tokens <= state.windowTokens) return window;
  const keepFrom = Math.min(state.turn?.startedSeq ?? Infinity, firstUnseen(state, window));
  let { tokens } = window;
  let drop = 0;
  for (const event of window.events) {
    if (tokens <= state.windowTokens || event.seq >= keepFrom) break;
    tokens -= window.sizes[drop] ?? 0;
    drop += 1;
  }
  if (drop === 0) return window;
  return {
    start: window.events[drop]?.seq ?? state.seq + 1,
    events: window.events.slice(drop),
    sizes: window.sizes.slice(drop),
    tokens,
  };
}

function firstUnseen(state: SessionState, window: ConversationWindow): number {
  const trigger = state.turn?.trigger ?? [];
  const triggered = window.events.find(
    (event) => event.type === 'user_message' && trigger.includes(event.message_id),
  );
  return Math.min(state.pending[0]?.seq ?? Infinity, triggered?.seq ?? Infinity);
}

function isWindowEvent(event: StoredEvent): event is WindowEvent {
  return (
    event.type === 'user_message' ||
    event.type === 'turn_started' ||
    event.type === 'assistant_message' ||
    event.type === 'tool_finished'
  );
}

function tokensOf(event: WindowEvent): number {
  switch (event.type) {
    case 'user_message':
      return event.content.reduce((sum, part) => sum + estimateTokens(part.text), 1);
    case 'turn_started':
      return 1;
    case 'assistant_message':
      return (
        event.content.reduce((sum, part) => sum + estimateTokens(part.text), 1) +
        (event.tool_calls.length > 0 ? estimateTokens(JSON.stringify(event.tool_calls)) : 0)
      );
    case 'tool_finished':
      return 1 + estimateTokens(event.content);
  }
}
