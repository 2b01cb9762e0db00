import {
  DuragentError,
  type Delivery,
  type ErrorInfo,
  isKnownEvent,
  type OutboxEntry,
  type OutboxPage,
  type StoredEvent,
} from '@duragent/protocol';
import { isSpoken, type Spoken, spokenText } from '../core/session/spoken-text.ts';
import type { Chat, DeadDelivery, OpenDelivery } from '../core/session/state.ts';
import { type OlderDead, olderDead } from './older-dead.ts';
import { quarantined } from './refusals.ts';
import type { SessionActor } from './session-actor.ts';
import type { SessionRegistry } from './session-registry.ts';

/** How much of a text is shown, in UTF-16 units. */
const PREVIEW = 80;
/** Records that are searched for the reason of a death, a page at a time. */
const SEARCHED = 1_000;
const PAGE = 100;

export interface OutboxQuery {
  /** Only of this session, or to chats of this gateway. */
  session?: string | undefined;
  gateway?: string | undefined;
  /** Sessions behind this one. */
  cursor?: string | undefined;
  /** A page ends with the session that reaches it. */
  limit: number;
}

/** What all sessions owe to chats, and what died: for operators, who may try it again or give it up. */
export class OutboxView {
  readonly #sessions: SessionRegistry;

  constructor(sessions: SessionRegistry) {
    this.#sessions = sessions;
  }

  /** A page of deliveries, by session, newest first. @throws DuragentError session_not_found. */
  async list(query: OutboxQuery): Promise<OutboxPage> {
    const page: OutboxPage = { deliveries: [], unreadable: [], cursor: null };
    // Ids sort by time, so a cursor holds also when its session has been deleted.
    const behind = this.#owing(query.session).filter(
      (session) => query.cursor === undefined || session < query.cursor,
    );
    for (const [index, session] of behind.entries()) {
      try {
        const actor = await this.#sessions.open(session);
        const entries = await entriesOf(actor);
        page.deliveries.push(
          ...entries.filter(({ gateway }) => gateway === (query.gateway ?? gateway)),
        );
      } catch (error) {
        // One session that cannot be read is no reason not to show the others.
        if (!(error instanceof DuragentError) || error.code === 'draining') throw error;
        page.unreadable.push({ session, code: error.code, message: error.message });
      }
      if (page.deliveries.length + page.unreadable.length < query.limit) continue;
      if (index < behind.length - 1) page.cursor = session;
      break;
    }
    return page;
  }

  /**
   * Lets a dead delivery be tried again, with a new time. @returns its session.
   * @throws DuragentError not_found; conflict where it is still owed; session_quarantined.
   */
  async retry(out: string, session?: string): Promise<string> {
    const { actor, open, older } = await this.#find(out, session);
    if (older) {
      throw new DuragentError(
        'conflict',
        `${out} died so long ago that it is in the log of its session only: it cannot be tried again, only given up (duragent outbox drop).`,
      );
    }
    if (open) {
      throw new DuragentError(
        'conflict',
        open.status === 'started'
          ? `${out} is being sent now.`
          : `${out} is still owed and goes out by itself, once its gateway is ready and its turn has come (duragent gateway list, duragent outbox list).`,
      );
    }
    if (await actor.decideDelivery('deliver_again', out)) return actor.session;
    throw unknownDelivery(out);
  }

  /**
   * Gives a delivery up for good. @returns its session.
   * @throws DuragentError not_found; conflict while it is being sent; session_quarantined.
   */
  async drop(out: string, session?: string): Promise<string> {
    const { actor, older } = await this.#find(out, session);
    if (older) await actor.forgetDelivery(out, older.entry);
    else await actor.decideDelivery('deliver_never', out);
    const { owed, dead } = actor.outbox;
    const left = [...owed, ...dead].find((one) => one.out === out);
    if (!left) return actor.session;
    throw new DuragentError(
      'conflict',
      `${out} is being sent now and cannot be given up; look again in a moment (duragent outbox list).`,
    );
  }

  /** Sessions that owe something, or have something dead: newest first. */
  #owing(session: string | undefined): string[] {
    if (session !== undefined) this.#sessions.summary(session);
    return this.#sessions
      .summaries()
      .filter((one) => one.owed + one.dead > 0 && one.session === (session ?? one.session))
      .map((one) => one.session);
  }

  async #find(
    out: string,
    session: string | undefined,
  ): Promise<{
    actor: SessionActor;
    open: OpenDelivery | undefined;
    older?: OlderDead | undefined;
  }> {
    for (const id of this.#owing(session)) {
      const actor = await this.#openIfReadable(id);
      const { owed = [], dead = [] } = actor?.outbox ?? {};
      const open = owed.find((one) => one.out === out);
      const isAtHand = open !== undefined || dead.some((one) => one.out === out);
      const older =
        actor && !isAtHand
          ? (await olderDead(actor)).find(({ entry }) => entry.out === out)
          : undefined;
      if (!actor || (!isAtHand && !older)) continue;
      const { quarantine } = actor.view();
      if (quarantine) throw quarantined(quarantine);
      return { actor, open, older };
    }
    throw unknownDelivery(out);
  }

  async #openIfReadable(session: string): Promise<SessionActor | null> {
    try {
      return await this.#sessions.open(session);
    } catch (error) {
      if (error instanceof DuragentError && error.code !== 'draining') return null;
      throw error;
    }
  }
}

async function entriesOf(actor: SessionActor): Promise<OutboxEntry[]> {
  const { owed, dead, chats } = actor.outbox;
  const entries: OutboxEntry[] = [];
  for (const one of [...owed, ...dead]) {
    const chat = chats.find(({ since }) => since === one.chat);
    const record = await eventAt(actor, one.seq);
    if (chat && record) entries.push(await entryOf(actor, one, chat, record));
  }
  for (const { entry, record, delivery } of await olderDead(actor)) {
    entries.push({ ...entry, preview: previewOf(record, delivery, entry.part) });
  }
  return entries;
}

async function entryOf(
  actor: SessionActor,
  one: OpenDelivery | DeadDelivery,
  chat: Chat,
  record: StoredEvent,
): Promise<OutboxEntry> {
  const { out, part, parts, attempt } = one;
  const spoken = isSpoken(record) ? record : null;
  const delivery = spoken?.deliveries?.find((it) => it.out === out);
  const { gateway, chat_id, thread_id } = chat;
  const entry = {
    out,
    session: actor.session,
    gateway,
    chat_id,
    ...(thread_id === undefined ? {} : { thread_id }),
    part,
    parts,
    attempt,
    preview: spoken && delivery ? previewOf(spoken, delivery, part) : '',
  };
  const expires_at = delivery?.expires_at ?? record.at;
  if ('died_at' in one) {
    const error = await deathOf(actor, one);
    const { code, message } = error ?? { code: one.code };
    const why = message === undefined ? { code } : { code, message };
    return { ...entry, state: 'dead', since: one.died_at, expires_at, ...why };
  }
  const last = await eventAt(actor, one.at);
  const failure =
    last && isKnownEvent(last) && last.type === 'delivery_finished' ? last.error : null;
  return {
    ...entry,
    state: one.status === 'started' ? 'sending' : one.uncertain ? 'uncertain' : 'owed',
    since: last?.at ?? record.at,
    ...(one.retry_at === undefined ? {} : { retry_at: one.retry_at }),
    expires_at: one.expires_at ?? expires_at,
    ...(failure ? { code: failure.code, message: failure.message } : {}),
  };
}

/** What was said when it died; null where that is far behind what owes it. */
async function deathOf(actor: SessionActor, dead: DeadDelivery): Promise<ErrorInfo | null> {
  for (let after = dead.seq; after < dead.seq + SEARCHED;) {
    const records = await actor.read(after, PAGE);
    const last = records.at(-1)?.event.seq;
    if (last === undefined) return null;
    for (const { event } of records) {
      if (!isKnownEvent(event) || event.type !== 'delivery_finished') continue;
      const isIt = event.out === dead.out && event.outcome === 'dead' && event.at === dead.died_at;
      if (isIt) return event.error ?? null;
    }
    after = last;
  }
  return null;
}

async function eventAt(actor: SessionActor, seq: number): Promise<StoredEvent | undefined> {
  const [record] = await actor.read(seq - 1, 1);
  return record?.event.seq === seq ? record.event : undefined;
}

/** The beginning of a part, as one line. */
function previewOf(event: Spoken, delivery: Delivery, part: number): string {
  const wanted = delivery.parts[part - 1];
  if (!wanted) return '';
  if ('file' in wanted) return `[file: ${fileName(event, wanted.file)}]`;
  const text = spokenText(event).slice(wanted.from, Math.min(wanted.to, wanted.from + 4 * PREVIEW));
  const line = (text === '' ? wanted.prefix : text).replaceAll(/\s+/g, ' ').trim();
  return line.length <= PREVIEW ? line : `${line.slice(0, PREVIEW - 1).toWellFormed()}…`;
}

function fileName(event: Spoken, artifact: string): string {
  const content = 'content' in event && typeof event.content !== 'string' ? event.content : [];
  for (const part of content) {
    if (part.type === 'file' && part.artifact === artifact) return part.name;
  }
  return artifact;
}

function unknownDelivery(out: string): DuragentError {
  return new DuragentError(
    'not_found',
    `No delivery ${out.slice(0, 60)} is owed or dead; it may have been delivered meanwhile (duragent outbox list).`,
  );
}
