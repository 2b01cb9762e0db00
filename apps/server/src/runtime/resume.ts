import { type Clock, sleep } from '../ports/clock.ts';
import type { Logger } from './logger.ts';
import type { SessionActor } from './session-actor.ts';

/** Turns that go on at once after a start. */
const AT_ONCE = 4;
const JITTER_MS = 10_000;

/**
 * Lets interrupted turns go on, newest session first, a few at once and each after a jitter. One
 * that somebody opened meanwhile is going on already.
 */
export async function resumeParked(
  parked: readonly SessionActor[],
  { clock, log, signal }: { clock: Clock; log: Logger; signal: AbortSignal },
): Promise<void> {
  const byAge = [...parked].sort((a, b) => (a.session < b.session ? -1 : 1));
  const waiting = byAge.sort((a, b) => Number(a.chats.length > 0) - Number(b.chats.length > 0));
  const resumeNext = async (): Promise<void> => {
    for (let actor = waiting.pop(); actor && !signal.aborted; actor = waiting.pop()) {
      // Where somebody looks on, at once.
      if (actor.chats.length === 0) await sleep(clock, Math.random() * JITTER_MS, signal);
      try {
        await actor.start();
        await restOf(actor, signal);
      } catch (error) {
        // The others go on; this one is opened anew when its log can be written.
        log.error({ session: actor.session, err: error }, 'turn not resumed');
      }
    }
  };
  await Promise.allSettled(Array.from({ length: AT_ONCE }, resumeNext));
}

/** Waits until a session has no turn that goes on. */
async function restOf(actor: SessionActor, signal: AbortSignal): Promise<void> {
  if (!actor.hasTurn) return;
  for await (const _ of actor.subscribe({ after: actor.lastSeq, signal, presence: false })) {
    if (!actor.hasTurn) return;
  }
}
