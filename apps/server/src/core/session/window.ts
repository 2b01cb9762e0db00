import {
  type AssistantPart,
  type EventOf,
  isKnownEvent,
  type StoredEvent,
  type UserPart,
} from '@duragent/protocol';
import { estimateTokens } from '../utf8.ts';
import type { SessionState } from './state.ts';

/** Events that a model call may need: what was said, and what ties it to turns. */
export type WindowEvent =
  | EventOf<'user_message'>
  | EventOf<'message_dropped'>
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

/** Events that a window holds at most, besides those that it must hold. */
const MAX_EVENTS = 4096;

/** Makes the next window out of one and any number of events, with one copy. */
export class WindowBuilder {
  #start: number;
  #events: WindowEvent[];
  #sizes: number[];
  #tokens: number;
  /** How many of the first events are dropped. */
  #dropped = 0;

  constructor(window: ConversationWindow) {
    this.#start = window.start;
    this.#events = [...window.events];
    this.#sizes = [...window.sizes];
    this.#tokens = window.tokens;
  }

  /** Adds what an event says to the conversation. */
  add(event: StoredEvent): void {
    if (!isKnownEvent(event) || !isWindowEvent(event) || event.seq < this.#start) return;
    const size = tokensOf(event);
    this.#events.push(event);
    this.#sizes.push(size);
    this.#tokens += size;
  }

  /**
   * Drops the oldest events until the rest fits the state's `windowTokens` and `MAX_EVENTS`; never
   * one of the open turn or a message that no model call has seen. `state` is the fold up to the
   * same event.
   */
  trim(state: SessionState): void {
    const before = this.#dropped;
    const keepFrom = Math.min(state.turn?.firstSeq ?? Infinity, state.pending[0]?.seq ?? Infinity);
    for (;;) {
      const event = this.#events[this.#dropped];
      const count = this.#events.length - this.#dropped;
      if (!event || event.seq >= keepFrom) break;
      if (this.#tokens <= state.windowTokens && count <= MAX_EVENTS) break;
      this.#tokens -= this.#sizes[this.#dropped] ?? 0;
      this.#dropped += 1;
    }
    if (this.#dropped > before) this.#start = this.#events[this.#dropped]?.seq ?? state.seq + 1;
  }

  build(): ConversationWindow {
    return {
      start: this.#start,
      events: this.#dropped > 0 ? this.#events.slice(this.#dropped) : this.#events,
      sizes: this.#dropped > 0 ? this.#sizes.slice(this.#dropped) : this.#sizes,
      tokens: this.#tokens,
    };
  }
}

function isWindowEvent(event: StoredEvent): event is WindowEvent {
  return (
    event.type === 'user_message' ||
    event.type === 'message_dropped' ||
    event.type === 'turn_started' ||
    event.type === 'assistant_message' ||
    event.type === 'tool_finished'
  );
}

function tokensOf(event: WindowEvent): number {
  switch (event.type) {
    case 'user_message':
      return event.content.reduce((sum, part) => sum + tokensOfPart(part), 1);
    case 'message_dropped':
    case 'turn_started':
      return 1;
    case 'assistant_message':
      return (
        event.content.reduce((sum, part) => sum + tokensOfPart(part), 1) +
        (event.tool_calls.length > 0 ? estimateTokens(JSON.stringify(event.tool_calls)) : 0)
      );
    case 'tool_finished':
      return 1 + estimateTokens(event.content);
  }
}

function tokensOfPart(part: AssistantPart | UserPart): number {
  return estimateTokens(part.type === 'file' ? part.name : part.text);
}
