import type { SettledCall } from '../core/budget/settled-call.ts';
import { SpendingReader } from '../core/budget/spending.ts';
import type { Logger } from './logger.ts';
import type { SessionRegistry } from './session-registry.ts';

/** Records that are read at once. */
const PAGE = 1000;

/**
 * The model calls that the logs of sessions charge, of sessions that changed since an instant (ms
 * since 1970), as far as earlier processes recorded them. A log that cannot be read is told and left out.
 */
export async function* replaySpending(
  since: number,
  deps: {
    sessions: Pick<SessionRegistry, 'summaries' | 'open'>;
    /** Of this process. */
    epoch: number;
    log: Logger;
  },
): AsyncGenerator<SettledCall> {
  const changed = deps.sessions
    .summaries()
    .filter(({ updated_at }) => Date.parse(updated_at) >= since);
  for (const { session, agent } of changed) {
    try {
      yield* callsOf(session, agent, deps);
    } catch (error) {
      deps.log.warn({ session, err: error }, 'spending of the session not counted');
    }
  }
}

async function* callsOf(
  session: string,
  agent: string,
  { sessions, epoch }: { sessions: Pick<SessionRegistry, 'open'>; epoch: number },
): AsyncGenerator<SettledCall> {
  const actor = await sessions.open(session);
  const reader = new SpendingReader({ session, agent }, () => null);
  for (let after = 0; ;) {
    const records = await actor.read(after, PAGE);
    for (const { event } of records) {
      // What this process records it charges itself.
      if (event.epoch >= epoch) return;
      const call = reader.add(event);
      if (call) yield call;
    }
    const last = records.at(-1)?.event.seq;
    if (last === undefined) return;
    after = last;
  }
}
