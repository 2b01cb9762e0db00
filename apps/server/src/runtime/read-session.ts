import { foldLog } from '../core/session/fold.ts';
import type { SessionStore } from '../ports/session-store.ts';
import type { OpenedSession } from './session-journal.ts';

/** A session as its log tells it. */
export type ReadSession = Omit<OpenedSession, 'onFailure'>;

/**
 * Reads a session's log and folds it: from its snapshot on, or all of it where that does not fit.
 * @throws as `SessionStore.open`
 */
export async function readSession(store: SessionStore, session: string): Promise<ReadSession> {
  const { log, snapshot, records, torn } = await store.open(session);
  const events = records.map((record) => record.event);
  if (!snapshot) return { log, ...foldLog(null, events), snapshotSeq: 0, torn };
  const fold = foldLog(snapshot, events);
  if (fold) return { log, ...fold, snapshotSeq: snapshot.seq, torn };
  await log.close(null);
  const whole = await store.open(session, { ignoreSnapshot: true });
  const all = whole.records.map((record) => record.event);
  return { log: whole.log, ...foldLog(null, all), snapshotSeq: 0, torn: torn ?? whole.torn };
}
