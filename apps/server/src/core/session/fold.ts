import type { StoredEvent } from '@duragent/protocol';
import { evolve } from './evolve.ts';
import { initialState, type SessionState } from './state.ts';
import { type ConversationWindow, emptyWindow, WindowBuilder } from './window.ts';

/** Rises when the state's shape changes: an older snapshot is then rebuilt from the log. */
const STATE_VERSION = 10;

/** A log folded up to one record. */
export interface Fold {
  state: SessionState;
  window: ConversationWindow;
}

/** The fold after more events. */
export function foldOn(fold: Fold, events: readonly StoredEvent[]): Fold {
  let { state } = fold;
  const window = new WindowBuilder(fold.window);
  for (const event of events) {
    state = evolve(state, event);
    window.add(event);
    window.trim(state);
  }
  return { state, window: window.build() };
}

/** The fold after more events whose states are known. */
export function foldSteps(
  { state, window }: Fold,
  steps: readonly { event: StoredEvent; after: SessionState }[],
): Fold {
  const builder = new WindowBuilder(window);
  for (const { event, after } of steps) {
    builder.add(event);
    builder.trim(after);
  }
  return { state: steps.at(-1)?.after ?? state, window: builder.build() };
}

/** A state as a snapshot keeps it. */
export function packState(state: SessionState): unknown {
  return { version: STATE_VERSION, ...state };
}

/**
 * The fold of a log from its snapshot and the events from the snapshot's window start on; without
 * a snapshot from all events.
 * @returns null where the snapshot is of another version: fold all events instead.
 */
export function foldLog(
  snapshot: { state: unknown; seq: number },
  events: readonly StoredEvent[],
): Fold | null;
export function foldLog(snapshot: null, events: readonly StoredEvent[]): Fold;
export function foldLog(
  snapshot: { state: unknown; seq: number } | null,
  events: readonly StoredEvent[],
): Fold | null {
  if (!snapshot) return foldOn({ state: initialState(), window: emptyWindow() }, events);
  const { version, ...state } = snapshot.state as { version?: unknown } & SessionState;
  if (version !== STATE_VERSION || state.seq !== snapshot.seq) return null;
  const firstNew = events.findIndex((event) => event.seq > snapshot.seq);
  const old = firstNew < 0 ? events : events.slice(0, firstNew);
  const start = events[0]?.seq ?? snapshot.seq + 1;
  const window = new WindowBuilder(emptyWindow(start));
  for (const event of old) window.add(event);
  return foldOn({ state, window: window.build() }, firstNew < 0 ? [] : events.slice(firstNew));
}
