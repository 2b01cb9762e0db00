import { type EventOf, isKnownEvent, type StoredEvent } from '@duragent/protocol';
import { eventTokens } from './event-tokens.ts';
import type { SessionState } from './state.ts';

/** Events that a model call may need: what was said, and what ties it to turns. */
export type WindowEvent =
  | EventOf<'user_message'>
  | EventOf<'message_dropped'>
  | EventOf<'turn_started'>
  | EventOf<'assistant_message'>
  | EventOf<'question_asked'>
  | EventOf<'question_answered'>
  | EventOf<'tool_finished'>
  | EventOf<'history_summarized'>;

/**
 * The newest part of the conversation, in log order: every such event from seq `start` on. With
 * the state it is all that opening a session has to rebuild. A `start` behind what is summarized
 * means that something was dropped without.
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
/** Part that is kept when it holds too much: what a model is shown does not move with every event. */
const KEPT = 0.75;
/** What a tool's result counts for at most, in tokens: a model is not shown much more of it. */
const MAX_RESULT_SIZE = 4_000;

/** Makes the next window out of one and any number of events, with one copy where it grows. */
export class WindowBuilder {
  readonly #window: ConversationWindow;
  /** The window's events with those that were added; null: none was. */
  #grown: { events: WindowEvent[]; sizes: number[] } | null = null;
  #start: number;
  #tokens: number;
  /** How many of the first events are dropped. */
  #dropped = 0;

  constructor(window: ConversationWindow) {
    this.#window = window;
    this.#start = window.start;
    this.#tokens = window.tokens;
  }

  /** Adds what an event says to the conversation. */
  add(event: StoredEvent): void {
    if (!isKnownEvent(event) || !isWindowEvent(event) || event.seq < this.#start) return;
    const size = sizeOf(event);
    this.#grown ??= { events: [...this.#window.events], sizes: [...this.#window.sizes] };
    this.#grown.events.push(event);
    this.#grown.sizes.push(size);
    this.#tokens += size;
  }

  /**
   * Drops what the summary says, and the oldest events where there is more than the state's
   * `windowTokens` or `MAX_EVENTS`; never one of the open turn or a message that no model call has
   * seen. `state` is the fold up to the same event.
   */
  trim(state: SessionState): void {
    const needed = Math.min(state.turn?.firstSeq ?? Infinity, state.pending[0]?.seq ?? Infinity);
    const unsaid = Math.min(needed, state.summary.keepFrom);
    while (this.#first < unsaid) this.#drop();
    this.#start = Math.max(this.#start, unsaid);
    const before = this.#dropped;
    if (this.#holdsMore(1, state)) {
      while (this.#first < needed && this.#holdsMore(KEPT, state)) this.#drop();
    }
    if (this.#dropped > before) this.#start = Math.min(this.#first, state.seq + 1);
  }

  /** Seq of the oldest event. */
  get #first(): number {
    return this.#kept.events[this.#dropped]?.seq ?? Infinity;
  }

  /** Whether it holds more than a part of what it may. */
  #holdsMore(part: number, { windowTokens }: SessionState): boolean {
    const count = this.#kept.events.length - this.#dropped;
    return this.#tokens > part * windowTokens || count > part * MAX_EVENTS;
  }

  #drop(): void {
    this.#tokens -= this.#kept.sizes[this.#dropped] ?? 0;
    this.#dropped += 1;
  }

  get #kept(): Pick<ConversationWindow, 'events' | 'sizes'> {
    return this.#grown ?? this.#window;
  }

  build(): ConversationWindow {
    const { events, sizes } = this.#kept;
    return {
      start: this.#start,
      events: this.#dropped > 0 ? events.slice(this.#dropped) : events,
      sizes: this.#dropped > 0 ? sizes.slice(this.#dropped) : sizes,
      tokens: this.#tokens,
    };
  }
}

function sizeOf(event: WindowEvent): number {
  const tokens = eventTokens(event);
  return event.type === 'tool_finished' ? Math.min(tokens, MAX_RESULT_SIZE) : tokens;
}

function isWindowEvent(event: StoredEvent): event is WindowEvent {
  return (
    event.type === 'user_message' ||
    event.type === 'message_dropped' ||
    event.type === 'turn_started' ||
    event.type === 'assistant_message' ||
    event.type === 'question_asked' ||
    event.type === 'question_answered' ||
    event.type === 'tool_finished' ||
    event.type === 'history_summarized'
  );
}
