import type { SessionLog, StoredRecord } from '../ports/session-store.ts';
import type { Feed, Frame } from './feed.ts';

/** Records that a reader with an unknown id is given. */
const TAIL = 100;
/** Records that a reader behind the ring gets from the log at once. */
const PAGE = 200;

/**
 * What one reader of a session gets: events after `after`, once each and in order, then live ones
 * with the deltas between them, until one of the signals aborts. An `after` that was never given
 * gets `reset` and the tail.
 */
export async function* followSession(
  feed: Feed,
  log: SessionLog,
  options: { after: number; wordsFrom?: number; signals: readonly AbortSignal[] },
): AsyncGenerator<Frame> {
  const { signals } = options;
  const hasEnded = (): boolean => signals.some((signal) => signal.aborted);
  const wake = (): void => feed.wake();
  for (const signal of signals) signal.addEventListener('abort', wake);
  feed.enter();
  try {
    const newest = feed.lastSeq;
    let { after } = options;
    if (!(Number.isSafeInteger(after) && after >= 0 && after <= newest)) {
      after = Math.max(0, newest - TAIL);
      yield { kind: 'delta', delta: { type: 'reset', seq: after } };
    }
    const position = feed.position(after, options.wordsFrom);
    let isCaughtUp = false;
    while (!hasEnded()) {
      const changed = feed.changed();
      const frames = feed.take(position);
      if (frames === null) {
        if (isCaughtUp) yield { kind: 'delta', delta: { type: 'lagged' } };
        // What the ring holds is read there, with the words between the records.
        const missing = feed.firstSeq - 1 - position.seq;
        let records: StoredRecord[];
        try {
          records = await log.read(position.seq, Math.min(missing, PAGE));
        } catch (error) {
          // It was closed meanwhile.
          if (hasEnded()) return;
          throw error;
        }
        for (const record of records) {
          yield { kind: 'event', record };
          position.seq = record.event.seq;
        }
        continue;
      }
      yield* frames;
      if (!isCaughtUp) {
        isCaughtUp = true;
        yield { kind: 'delta', delta: { type: 'caught_up', seq: position.seq } };
      } else if (frames.length === 0) await changed;
    }
  } finally {
    feed.leave();
    for (const signal of signals) signal.removeEventListener('abort', wake);
  }
}
