import { accountsOf, isDaily } from '../core/budget/limits.ts';
import { clampNanos, type Nanos, nanosOf } from '../core/budget/money.ts';
import { keyOf, type SettledCall } from '../core/budget/settled-call.ts';

/** What was spent on one day, by account, and what is reserved of it. */
export class SpentDay {
  readonly #spent = new Map<string, Nanos>();
  readonly #reserved = new Map<string, Nanos>();
  /** Calls that ended while it was counted, which the count may hold already. */
  #meanwhile: SettledCall[] = [];
  #counting: Promise<void> | null = null;
  #isCounted = false;

  /** Whether what was spent before is part of it. */
  get isCounted(): boolean {
    return this.#isCounted;
  }

  /** Whether a call is under way that counts for it. */
  get isInUse(): boolean {
    return this.#reserved.size > 0 || this.#counting !== null;
  }

  /**
   * Counts what was spent before, once.
   * @param calls every call of the day so far.
   * @throws what `calls` throws; then it can be tried again.
   */
  async count(calls: () => AsyncIterable<SettledCall>): Promise<void> {
    if (this.#isCounted) return;
    this.#counting ??= this.#count(calls).finally(() => {
      this.#counting = null;
    });
    await this.#counting;
  }

  async #count(calls: () => AsyncIterable<SettledCall>): Promise<void> {
    this.#spent.clear();
    this.#meanwhile = [];
    const known = new Set<string>();
    for await (const call of calls()) {
      known.add(keyOf(call.session, call));
      this.#add(call);
    }
    for (const call of this.#meanwhile) {
      if (!known.has(keyOf(call.session, call))) this.#add(call);
    }
    this.#meanwhile = [];
    this.#isCounted = true;
  }

  /** Adds a call that has ended. */
  spend(call: SettledCall): void {
    if (this.#isCounted) this.#add(call);
    // A count that begins later finds it in the store.
    else if (this.#counting) this.#meanwhile.push(call);
  }

  #add(call: SettledCall): void {
    const nanos = nanosOf(call.usd ?? 0);
    if (nanos === 0) return;
    const { session, agent, sender = null } = call;
    for (const account of accountsOf({ session, agent, sender }).filter(isDaily)) {
      this.#spent.set(account, clampNanos(this.spentOf(account) + nanos));
    }
  }

  spentOf(account: string): Nanos {
    return this.#spent.get(account) ?? 0;
  }

  reservedOf(account: string): Nanos {
    return this.#reserved.get(account) ?? 0;
  }

  /** Reserves for a call. @returns what lets go of it, once. */
  reserve(accounts: readonly string[], nanos: Nanos): () => void {
    for (const account of accounts) this.#reserved.set(account, this.reservedOf(account) + nanos);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      for (const account of accounts) {
        const left = this.reservedOf(account) - nanos;
        if (left > 0) this.#reserved.set(account, left);
        else this.#reserved.delete(account);
      }
    };
  }
}
