import { clampNanos, type Nanos } from '../core/budget/money.ts';

/** Sessions that are remembered; of others, the log knows all but what is being recorded just now. */
const MAX_SESSIONS = 10_000;

interface Total {
  spent: Nanos;
  reserved: Nanos;
}

/** What sessions spent, also before their logs say so. */
export class SessionTotals {
  /** Least recently used first. */
  readonly #totals = new Map<string, Total>();

  /** The total of a session whose log says at least `logged`. */
  known(session: string, logged: Nanos): Readonly<Total> {
    const total = this.#of(session);
    total.spent = Math.max(total.spent, logged);
    return total;
  }

  spend(session: string, nanos: Nanos): void {
    const total = this.#of(session);
    total.spent = clampNanos(total.spent + nanos);
  }

  /** Reserves for a call. @returns what lets go of it, once. */
  reserve(session: string, nanos: Nanos): () => void {
    const total = this.#of(session);
    total.reserved += nanos;
    let isHeld = true;
    return () => {
      if (isHeld) total.reserved -= nanos;
      isHeld = false;
    };
  }

  #of(session: string): Total {
    const total = this.#totals.get(session) ?? { spent: 0, reserved: 0 };
    this.#totals.delete(session);
    this.#totals.set(session, total);
    if (this.#totals.size > MAX_SESSIONS) {
      for (const [oldest, { reserved }] of this.#totals) {
        if (reserved > 0) continue;
        this.#totals.delete(oldest);
        break;
      }
    }
    return total;
  }
}
