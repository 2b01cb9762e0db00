import type { Usage } from '@duragent/protocol';
import type { BudgetRules } from '../core/budget/budget-rules.ts';
import { costOf, largestCost } from '../core/budget/cost.ts';
import {
  accountsOf,
  type BudgetLimits,
  budgetsOf,
  type BudgetUse,
  exceededBudget,
  isDaily,
} from '../core/budget/limits.ts';
import { type Nanos, nanosOf, usdOf } from '../core/budget/money.ts';
import { type Price, type PricedModel, priceOf } from '../core/budget/prices.ts';
import {
  type BudgetRefusal,
  exceededRefusal,
  unknownPriceRefusal,
  unknownSpendingRefusal,
} from '../core/budget/refusal.ts';
import {
  type CallName,
  keyOf,
  type PricedUsage,
  type SettledCall,
} from '../core/budget/settled-call.ts';
import { daysBefore } from '../core/local-day.ts';
import { LocalDays } from '../core/local-days.ts';
import type { Clock } from '../ports/clock.ts';
import type { UsageStore } from '../ports/usage-store.ts';
import { SessionTotals } from './session-totals.ts';
import { SpentDay } from './spent-day.ts';

/** Days that are kept at hand: the clock may be set back. */
const MAX_DAYS = 3;
/** Cut calls of this process that are remembered by name. */
const MAX_CUTS = 10_000;
/** How much earlier than its neighbours a call may have been written down. */
const ORDER_MS = 60 * 60_000;
/** Of a call that costs nothing. */
const FREE: Reservation = {
  ok: true,
  reserved: undefined,
  settle: (usage) => usage ?? undefined,
  release: () => undefined,
};

/** What makes model calls uses of it. */
export type BudgetKeeper = Pick<Budgets, 'open' | 'chargeCut'>;

/** A call that is about to be made. */
export interface CallToReserve {
  session: string;
  call: CallName;
  /** What the session's log says that it cost so far, in US dollars. */
  sessionUsd: number;
  agent: { name: string; budget: BudgetLimits };
  /** `<gateway>:<id>` of the person of a chat that it answers; null: no one's. */
  sender: string | null;
  /** As it is called: no longer `auto`. */
  model: PricedModel;
  /** Estimated. */
  inputTokens: number;
  maxOutputTokens: number;
}

/** A call that was allowed, until it is settled. */
export interface Reservation {
  ok: true;
  /** The most that it may cost, as a record would hold it; undefined: nothing, or nobody knows. */
  reserved: PricedUsage | undefined;
  /**
   * The call ended: it is charged with what it used, with null (cut, so nobody knows) what was
   * reserved. The first time counts.
   * @returns what is to be recorded of it; undefined: nothing.
   */
  settle(usage: Usage | null): PricedUsage | undefined;
  /** The call was not made, or the provider refused it: nothing is charged. */
  release(): void;
}

export type Reserved = Reservation | ({ ok: false } & BudgetRefusal);

/** Reserves calls for one moment's day. */
export interface BudgetDesk {
  /** Never waits: between its answer and the call, nothing can change. */
  reserve(call: CallToReserve): Reserved;
}

/**
 * Keeps what is spent within the budgets: what is settled and what is reserved for calls under way
 * are together never more than any of them, as long as no call uses more than was reserved for it.
 */
export class Budgets {
  readonly #clock: Clock;
  readonly #zone: LocalDays;
  readonly #rules: () => BudgetRules;
  readonly #usage: UsageStore;
  readonly #replay: (since: number) => AsyncIterable<SettledCall>;
  readonly #onFault: (error: unknown) => void;
  readonly #startedAt: number;
  readonly #sessions = new SessionTotals();
  /** Oldest use first. */
  readonly #days = new Map<string, SpentDay>();
  /** Names of calls that were settled as cut. */
  readonly #cuts = new Set<string>();
  #earlierCuts: Promise<ReadonlySet<string>> | null = null;

  constructor(deps: {
    clock: Clock;
    /** IANA; null: the system's. */
    timezone: string | null;
    /** What holds now. */
    rules: () => BudgetRules;
    usage: UsageStore;
    /**
     * The calls that the logs of sessions charge since an instant (ms since 1970; earlier and
     * repeated ones do no harm), as far as an earlier process recorded them.
     */
    replay: (since: number) => AsyncIterable<SettledCall>;
    /** Told why a day could not be counted; that is tried again with the next call. */
    onFault: (error: unknown) => void;
  }) {
    this.#clock = deps.clock;
    this.#zone = new LocalDays(deps.timezone);
    this.#rules = deps.rules;
    this.#usage = deps.usage;
    this.#replay = deps.replay;
    this.#onFault = deps.onFault;
    this.#startedAt = deps.clock.now();
  }

  /**
   * Makes ready for a call of an agent: the first time on a day that a budget limits, what was
   * spent on it is counted. Never rejects; a day that cannot be counted refuses calls.
   */
  async open(agent: { budget: BudgetLimits }): Promise<BudgetDesk> {
    const day = this.#today();
    const spent = this.#dayNamed(day);
    if (limitsDays(this.#rules().budget) || limitsDays(agent.budget)) {
      try {
        await spent.count(() => this.#callsOf(day));
      } catch (error) {
        this.#onFault(error);
      }
    }
    return { reserve: (call) => this.#reserve(call, day, spent) };
  }

  /**
   * Charges a call that the end of an earlier process cut: the most that it may have cost. One that
   * was charged when it was stopped is not charged again.
   * @returns what the session's log is to record of it; undefined: nothing.
   */
  async chargeCut(call: Omit<CallToReserve, 'sessionUsd'>): Promise<PricedUsage | undefined> {
    const key = keyOf(call.session, call.call);
    const price = priceOf(call.model, this.#rules().prices);
    const usage = price ? cutUsage(call, largestCost(call, price)) : undefined;
    if (!usage) return undefined;
    if (this.#cuts.has(key) || (await this.#readEarlierCuts()).has(key)) return usage;
    const day = this.#today();
    this.#record(day, this.#dayNamed(day), call, usage, true);
    return usage;
  }

  #reserve(call: CallToReserve, day: string, spent: SpentDay): Reserved {
    const { budget: server, prices } = this.#rules();
    const caller = { session: call.session, agent: call.agent.name, sender: call.sender };
    const budgets = budgetsOf(caller, { agent: call.agent.budget, server });
    const price = priceOf(call.model, prices);
    const [first] = budgets;
    if (price === null) {
      if (first) return { ok: false, ...unknownPriceRefusal(first, modelName(call.model)) };
      return this.#reservation({ call, day, spent, priced: null, letGo: () => undefined });
    }
    const cost = largestCost(call, price);
    // Most calls of a server without a provider; nothing has to be counted for them.
    if (cost === 0) return FREE;
    const total = this.#sessions.known(call.session, nanosOf(call.sessionUsd));
    const uses = budgets.map((budget): BudgetUse => {
      if (budget.kind === 'session') return { ...budget, ...total };
      const { account } = budget;
      return { ...budget, spent: spent.spentOf(account), reserved: spent.reservedOf(account) };
    });
    const uncounted = spent.isCounted ? undefined : uses.find(({ kind }) => kind !== 'session');
    if (uncounted && cost > 0) return { ok: false, ...unknownSpendingRefusal(uncounted) };
    const exceeded = exceededBudget(uses, cost);
    if (exceeded) {
      const next = { day: daysBefore(day, -1), zone: this.#zone.zone };
      return { ok: false, ...exceededRefusal(exceeded, cost, next) };
    }
    const letGoOfDay = spent.reserve(accountsOf(caller).filter(isDaily), cost);
    const letGoOfSession = this.#sessions.reserve(call.session, cost);
    const letGo = (): void => {
      letGoOfDay();
      letGoOfSession();
    };
    return this.#reservation({ call, day, spent, priced: { price, cost }, letGo });
  }

  #reservation(held: {
    call: CallToReserve;
    day: string;
    spent: SpentDay;
    /** null: the price is not known. */
    priced: { price: Price; cost: Nanos } | null;
    letGo: () => void;
  }): Reservation {
    const { call, day, spent, priced, letGo } = held;
    const reserved = priced ? cutUsage(call, priced.cost) : undefined;
    let charged: { usage: PricedUsage | undefined } | null = null;
    return {
      ok: true,
      reserved,
      settle: (used) => {
        if (charged) return charged.usage;
        letGo();
        const usd = used && priced ? { usd: usdOf(costOf(used, priced.price)) } : {};
        const usage = used ? { ...used, ...usd } : reserved;
        charged = { usage };
        if (usage) {
          this.#sessions.spend(call.session, nanosOf(usage.usd ?? 0));
          this.#record(day, spent, call, usage, used === null);
        }
        return usage;
      },
      release: () => {
        charged ??= { usage: undefined };
        letGo();
      },
    };
  }

  #record(
    day: string,
    spent: SpentDay,
    { session, call, agent, sender, model }: Omit<CallToReserve, 'sessionUsd'>,
    { usd = null, ...usage }: Omit<PricedUsage, 'usd'> & { usd?: number | null },
    isCut: boolean,
  ): void {
    if (isCut) this.#rememberCut(keyOf(session, call));
    const settled: SettledCall = {
      at: new Date(this.#clock.now()).toISOString(),
      session,
      ...call,
      agent: agent.name,
      ...(sender === null ? {} : { sender }),
      model: modelName(model),
      usage,
      usd,
      ...(isCut ? { cut: true } : {}),
    };
    spent.spend(settled);
    this.#usage.add(day, settled);
  }

  /** Every call of a day: those that are written down, then those that only the logs know. */
  async *#callsOf(day: string): AsyncGenerator<SettledCall> {
    const known = new Set<string>();
    // One that was reserved before midnight counts for the day before, and is recorded on this one.
    for await (const call of this.#usage.read(daysBefore(day, 1))) {
      known.add(keyOf(call.session, call));
    }
    let last = Number.NEGATIVE_INFINITY;
    for await (const call of this.#usage.read(day)) {
      known.add(keyOf(call.session, call));
      const at = Date.parse(call.at);
      // What this process added says nothing of what the end of an earlier one took.
      if (at <= this.#startedAt) last = at;
      yield call;
    }
    const since = Math.max(this.#zone.startOf(day), last - ORDER_MS);
    // What this process made is written down.
    if (since > this.#startedAt) return;
    for await (const call of this.#replay(since)) {
      const key = keyOf(call.session, call);
      if (known.has(key) || this.#zone.dayOf(Date.parse(call.at)) !== day) continue;
      known.add(key);
      this.#usage.add(day, call);
      yield call;
    }
  }

  /** Calls that earlier processes settled as cut, lately. */
  #readEarlierCuts(): Promise<ReadonlySet<string>> {
    const day = this.#today();
    const read = async (): Promise<ReadonlySet<string>> => {
      const keys = new Set<string>();
      for (const one of [daysBefore(day, 1), day]) {
        for await (const call of this.#usage.read(one)) {
          if (call.cut) keys.add(keyOf(call.session, call));
        }
      }
      return keys;
    };
    this.#earlierCuts ??= read().catch((error: unknown) => {
      this.#earlierCuts = null;
      this.#onFault(error);
      return new Set<string>();
    });
    return this.#earlierCuts;
  }

  #rememberCut(key: string): void {
    this.#cuts.add(key);
    for (const oldest of this.#cuts) {
      if (this.#cuts.size <= MAX_CUTS) break;
      this.#cuts.delete(oldest);
    }
  }

  #dayNamed(day: string): SpentDay {
    const spent = this.#days.get(day) ?? new SpentDay();
    this.#days.delete(day);
    this.#days.set(day, spent);
    for (const [name, one] of this.#days) {
      if (this.#days.size <= MAX_DAYS) break;
      if (name !== day && !one.isInUse) this.#days.delete(name);
    }
    return spent;
  }

  #today(): string {
    return this.#zone.dayOf(this.#clock.now());
  }
}

function limitsDays({ dayUsd, senderDayUsd }: BudgetLimits): boolean {
  return dayUsd !== null || senderDayUsd !== null;
}

function modelName({ provider, name }: PricedModel): string {
  return `${provider}/${name || provider}`;
}

/** What is recorded of a call that was cut; undefined: it costs nothing. */
function cutUsage(
  { inputTokens, maxOutputTokens }: { inputTokens: number; maxOutputTokens: number },
  cost: Nanos,
): PricedUsage | undefined {
  if (cost === 0) return undefined;
  return { input_tokens: inputTokens, output_tokens: maxOutputTokens, usd: usdOf(cost) };
}
