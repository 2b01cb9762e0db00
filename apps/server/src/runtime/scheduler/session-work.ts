import { DuragentError, isKnownEvent } from '@duragent/protocol';
import { hashKey } from '../hash-key.ts';
import type { SessionActor } from '../session-actor.ts';
import { newestFirst } from '../newest-first.ts';
import type { SessionRegistry } from '../session-registry.ts';
import type { Chat, ScheduledWork } from './scheduled-work.ts';

/** So much earlier than planned a run may be recorded, by a clock that was set back meanwhile. */
const CLOCK_MS = 60 * 60 * 1000;
/** So many records from before that in a row end the search. */
const MAX_EARLIER = 100;

type Task = Parameters<ScheduledWork['submitTask']>[0];

/** Gives what schedules run to sessions: each run is taken once, by its identity. */
export function sessionWork(
  sessions: () => Pick<SessionRegistry, 'open' | 'create'>,
): ScheduledWork {
  const sessionFor = async (
    { agent, target, schedule }: Pick<Task, 'agent' | 'target' | 'schedule'>,
    isolatedKey: string,
  ): Promise<SessionActor> => {
    const origin = { kind: 'schedule' as const };
    const labels = { schedule };
    if (target !== 'isolated' && 'session' in target) {
      const actor = await sessions().open(target.session);
      if (!actor.isOver) return actor;
      // What was planned there is still owed, to its chats or to whoever looks.
      return await sessions().create({ agent, origin, labels, idempotencyKey: isolatedKey });
    }
    if (target === 'isolated') {
      return await sessions().create({ agent, origin, labels, idempotencyKey: isolatedKey });
    }
    return await openOrCreate(sessions(), target.key, { agent, origin, labels });
  };
  return {
    async submitTask({ text, deliver, identity, ...task }, { signal }) {
      const actor = await sessionFor(task, `schedule ${identity}`);
      signal.throwIfAborted();
      const taken = await findTaken(actor, identity, task.planned);
      const accepted =
        taken ??
        (await actor.receive({
          content: [{ type: 'text', text }],
          handling: 'turn',
          source: { kind: 'schedule', sender: { name: `schedule ${task.schedule}` } },
          idempotencyKey: identity,
          ...(deliver ? { deliverTo: deliver.map(addressOf) } : {}),
        }));
      const { turn } = accepted;
      if (turn !== null) return { session: actor.session, turn };
      return { session: actor.session, dropped: await isDropped(actor, accepted) };
    },
    async sendMessage({ text, chats, identity, ...message }, { signal }) {
      // One session for all that a schedule sends by itself.
      const actor = await sessionFor(message, `schedule ${message.schedule}`);
      signal.throwIfAborted();
      if (await findTaken(actor, identity, message.planned)) return { session: actor.session };
      await actor.notify({
        text,
        idempotency: hashKey(identity),
        chats: chats ? chats.map(addressOf) : null,
      });
      return { session: actor.session };
    },
  };
}

/**
 * What a session took of a run before; null: nothing. It is looked for in the log: the session
 * itself remembers the newest keys only, and for a day.
 */
async function findTaken(
  actor: SessionActor,
  identity: string,
  planned: string,
): Promise<{ seq: number; message_id: string; turn: string | null } | null> {
  const key = hashKey(identity);
  const since = Date.parse(planned) - CLOCK_MS;
  const turns = new Map<string, string>();
  let earlier = 0;
  for await (const { event } of newestFirst(actor)) {
    earlier = Date.parse(event.at) < since ? earlier + 1 : 0;
    if (earlier >= MAX_EARLIER) return null;
    if (!isKnownEvent(event)) continue;
    if (event.type === 'turn_started') {
      for (const message of event.trigger) turns.set(message, event.turn);
    } else if (event.type === 'user_message' && event.source.idempotency === key) {
      const { seq, message_id } = event;
      return { seq, message_id, turn: turns.get(message_id) ?? null };
    } else if (event.type === 'notice' && event.idempotency === key) {
      return { seq: event.seq, message_id: '', turn: null };
    }
  }
  return null;
}

/** Whether a message was left out when it came, which is recorded right behind it. */
async function isDropped(
  actor: SessionActor,
  { seq, message_id }: { seq: number; message_id: string },
): Promise<boolean> {
  const behind = await actor.read(seq, 1);
  return behind.some(
    ({ event }) =>
      isKnownEvent(event) &&
      event.type === 'message_dropped' &&
      event.message_ids.includes(message_id),
  );
}

function addressOf({ gateway, account, chat_id, thread_id }: Chat) {
  return {
    gateway,
    account: account ?? gateway,
    chat_id,
    ...(thread_id === undefined ? {} : { thread_id }),
  };
}

/** The session that holds a key, made where none does. */
async function openOrCreate(
  sessions: Pick<SessionRegistry, 'open' | 'create'>,
  key: string,
  request: Omit<Parameters<SessionRegistry['create']>[0], 'key'>,
): Promise<SessionActor> {
  try {
    return await sessions.create({ ...request, key });
  } catch (error) {
    const holder = error instanceof DuragentError ? error.details['session'] : undefined;
    if (typeof holder !== 'string') throw error;
    return await sessions.open(holder);
  }
}
