import { type Delivery, type EventOf, isKnownEvent, type OutboxEntry } from '@duragent/protocol';
import { DROPPED_CODE } from '../core/session/deliveries.ts';
import { isSpoken, type Spoken } from '../core/session/spoken-text.ts';
import type { SessionActor } from './session-actor.ts';

const PAGE = 500;

type Death = EventOf<'delivery_finished'>;

/** A delivery that died so long ago that its session keeps it in its log only. */
export interface OlderDead {
  entry: Omit<OutboxEntry, 'preview'>;
  record: Spoken;
  delivery: Delivery;
}

/** The deliveries of a session that died and were neither shown nor given up since, but for those at hand. */
export async function olderDead(actor: SessionActor): Promise<OlderDead[]> {
  const { older, owed, dead } = actor.outbox;
  if (older === null) return [];
  const deaths = new Map<string, Death>();
  for await (const event of eventsFrom(actor, older.from)) {
    if (event.type !== 'delivery_finished') continue;
    const isDead = event.outcome === 'dead' && event.error?.code !== DROPPED_CODE;
    if (isDead) deaths.set(event.out, event);
    else deaths.delete(event.out);
  }
  for (const { out } of [...owed, ...dead]) deaths.delete(out);
  const found: OlderDead[] = [];
  for await (const event of eventsFrom(actor, older.from)) {
    if (!isSpoken(event)) continue;
    for (const delivery of event.deliveries ?? []) {
      const death = deaths.get(delivery.out);
      // As in the state: of an edit nothing is missing.
      if (death && !delivery.edits)
        found.push({ entry: entryOf(actor, delivery, death), record: event, delivery });
    }
  }
  return found;
}

async function* eventsFrom(actor: SessionActor, from: number) {
  for (let after = from - 1; ;) {
    const records = await actor.read(after, PAGE);
    for (const { event } of records) if (isKnownEvent(event)) yield event;
    const last = records.at(-1)?.event.seq;
    if (last === undefined) return;
    after = last;
  }
}

function entryOf(actor: SessionActor, delivery: Delivery, death: Death): OlderDead['entry'] {
  const { out, gateway, chat_id, thread_id, parts, expires_at } = delivery;
  const { part, attempt, at, error } = death;
  return {
    out,
    session: actor.session,
    gateway,
    chat_id,
    ...(thread_id === undefined ? {} : { thread_id }),
    part,
    parts: parts.length,
    attempt,
    state: 'dead',
    since: at,
    expires_at,
    ...(error ? { code: error.code, message: error.message } : {}),
  };
}
