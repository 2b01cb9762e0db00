import { DuragentError, type SessionView } from '@duragent/protocol';
import type { SessionSummary } from '../core/session/summary.ts';
import type { Quarantine } from '../ports/session-store.ts';
import { viewOf } from './session-view.ts';

/** How long an Idempotency-Key of a new session is remembered, in ms. */
const KEY_MS = 24 * 60 * 60 * 1000;

/** What is known of every session without opening it: for listings, keys, and repeated requests. */
export class KnownSessions {
  readonly #now: () => number;
  readonly #summaries = new Map<string, SessionSummary>();
  /** Damage that opening found. */
  readonly #quarantines = new Map<string, Quarantine>();
  /** Sessions that this version cannot read, and why. */
  readonly #unreadable = new Map<string, DuragentError>();
  /** Keys of sessions that have not ended. */
  readonly #keys = new Map<string, string>();
  /** Hashes of Idempotency-Keys, and the session that each made. */
  readonly #made = new Map<string, { session: Promise<string>; until: number }>();

  /** @param now the wall clock, ms since 1970. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Newest first. */
  get ids(): string[] {
    return [...this.#summaries.keys()].sort().reverse();
  }

  /** Takes what a session is now. */
  learn(summary: SessionSummary): void {
    const { session, key } = summary;
    this.#summaries.set(session, summary);
    const { idempotency, kind } = summary.origin;
    // A schedule's run is handed over again however late the server starts again.
    const until = kind === 'schedule' ? Infinity : Date.parse(summary.created_at) + KEY_MS;
    if (idempotency !== undefined && this.#now() < until) {
      this.#made.set(idempotency, { session: Promise.resolve(session), until });
    }
    if (key === undefined) return;
    if (summary.ended_at === undefined) this.#keys.set(key, session);
    else this.releaseKey(key, session);
  }

  has(session: string): boolean {
    return this.#summaries.has(session);
  }

  /** @throws DuragentError session_not_found, or why it cannot be read. */
  summary(session: string): SessionSummary {
    const summary = this.#summaries.get(session);
    if (summary) return summary;
    throw this.#unreadable.get(session) ?? notFound(session);
  }

  /** As the API shows a session that is not open. `present`: how many of its chats can be reached. @throws as `summary`. */
  view(session: string, present: (summary: SessionSummary) => number): SessionView {
    const summary = this.summary(session);
    return viewOf(summary, {
      clients: present(summary),
      isWorking: false,
      isQueued: false,
      quarantine: this.#quarantines.get(session) ?? null,
    });
  }

  /** Takes what opening found of a session's log. */
  foundDamage(session: string, damage: Quarantine | null): void {
    if (damage) this.#quarantines.set(session, damage);
    else this.#quarantines.delete(session);
  }

  foundUnreadable(session: string, why: DuragentError): void {
    this.#unreadable.set(session, why);
  }

  /** The session is gone with all its data. */
  forget(session: string): void {
    const summary = this.#summaries.get(session);
    if (summary?.key !== undefined) this.releaseKey(summary.key, session);
    const { idempotency } = summary?.origin ?? {};
    if (idempotency !== undefined) this.#made.delete(idempotency);
    this.#quarantines.delete(session);
    this.#summaries.delete(session);
  }

  /** Takes a key for a session that is being made. @throws DuragentError `conflict`, naming who holds it. */
  reserveKey(key: string, session: string): void {
    const holder = this.#keys.get(key);
    if (holder !== undefined) {
      throw new DuragentError(
        'conflict',
        `The key ${key} is taken by ${holder}; use that session or end it.`,
        { details: { session: holder } },
      );
    }
    this.#keys.set(key, session);
  }

  releaseKey(key: string, session: string): void {
    if (this.#keys.get(key) === session) this.#keys.delete(key);
  }

  /** The session that a request with this Idempotency-Key made, or is making; null: none, or too long ago. */
  madeBy(hash: string): Promise<string> | null {
    const first = this.#made.get(hash);
    return first && this.#now() < first.until ? first.session : null;
  }

  /** Remembers who makes a session; forgotten when that fails. */
  making(hash: string, session: Promise<string>): void {
    this.#made.set(hash, { session, until: this.#now() + KEY_MS });
    session.catch(() => this.#made.delete(hash));
  }

  /** Drops keys that are too old to count. */
  prune(): void {
    for (const [hash, { until }] of this.#made) {
      if (this.#now() >= until) this.#made.delete(hash);
    }
  }
}

function notFound(session: string): DuragentError {
  return new DuragentError(
    'session_not_found',
    `There is no session ${session.slice(0, 100)}; duragent sessions lists them.`,
  );
}
