import { isKnownEvent, type StoredEvent } from '@duragent/protocol';
import type { SettledCall } from '../core/budget/settled-call.ts';
import { SpendingReader } from '../core/budget/spending.ts';
import type { StoredRecord } from '../ports/session-store.ts';
import type { Logger } from './logger.ts';
import { newestFirst, type ReadableLog } from './newest-first.ts';
import type { SessionRegistry } from './session-registry.ts';

/** Records that are read at once. */
const PAGE = 1000;
/** So many of earlier in a row end the way back: a clock may be set back a little. */
const MAX_EARLIER = 100;

interface ReplayDeps {
  sessions: Pick<SessionRegistry, 'summaries'> & {
    opened(session: string): ReadableLog | undefined;
    open(session: string): Promise<ReadableLog>;
  };
  /** Of this process. */
  epoch: number;
  log: Logger;
}

/**
 * The model calls that the logs of sessions charge, of sessions that spent something and changed
 * since an instant (ms since 1970), as far as earlier processes recorded them: those since then,
 * and some before. A log that cannot be read is told and left out.
 */
export async function* replaySpending(
  since: number,
  deps: ReplayDeps,
): AsyncGenerator<SettledCall> {
  const changed = deps.sessions
    .summaries()
    .filter(({ updated_at, usage }) => usage.usd !== undefined && Date.parse(updated_at) >= since);
  for (const { session, agent } of changed) {
    try {
      yield* callsOf(session, agent, since, deps);
    } catch (error) {
      deps.log.warn({ session, err: error }, 'spending of the session not counted');
    }
  }
}

async function* callsOf(
  session: string,
  agent: string,
  since: number,
  { sessions, epoch }: ReplayDeps,
): AsyncGenerator<SettledCall> {
  // One that waits to go on after a start is read and not begun: that has a pace of its own.
  const log = sessions.opened(session) ?? (await sessions.open(session));
  const reader = new SpendingReader({ session, agent }, () => null);
  const from = await startOf(log, since, epoch);
  for await (const { event } of recordsOf(log, from, log.lastSeq)) {
    // What this process records it charges itself.
    if (event.epoch >= epoch) return;
    const call = reader.add(event);
    if (call) yield call;
  }
}

/**
 * The seq behind which all is that calls since an instant need: themselves, the beginning of their
 * turns, and the messages that those answer.
 */
async function startOf(log: ReadableLog, since: number, epoch: number): Promise<number> {
  const needed = new Needed();
  let earlier = 0;
  for await (const { event } of newestFirst(log)) {
    const isSince = Date.parse(event.at) >= since;
    earlier = isSince ? 0 : earlier + 1;
    if (event.epoch < epoch) needed.note(event, isSince);
    if (earlier >= MAX_EARLIER && needed.isEmpty) return event.seq - 1;
  }
  return 0;
}

/** Beginnings that were not met yet, on the way back through a log. */
class Needed {
  readonly #turns = new Set<string>();
  readonly #messages = new Set<string>();

  get isEmpty(): boolean {
    return this.#turns.size === 0 && this.#messages.size === 0;
  }

  note(event: StoredEvent, isSince: boolean): void {
    if (!isKnownEvent(event)) return;
    if (event.type === 'user_message') this.#messages.delete(event.message_id);
    else if (event.type === 'turn_started') {
      if (!this.#turns.delete(event.turn)) return;
      for (const message of event.trigger) this.#messages.add(message);
    } else if (isSince && 'usage' in event && event.type !== 'turn_finished') {
      if (event.turn !== undefined) this.#turns.add(event.turn);
    }
  }
}

/** Records behind `after`, up to `last`. */
async function* recordsOf(
  log: ReadableLog,
  after: number,
  last: number,
): AsyncGenerator<StoredRecord> {
  for (let at = after; at < last;) {
    const records = await log.read(at, Math.min(PAGE, last - at));
    yield* records;
    const read = records.at(-1)?.event.seq;
    if (read === undefined) return;
    at = read;
  }
}
