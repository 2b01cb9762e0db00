import { type Nanos, nanosOf } from './money.ts';

/** What may be spent, in US dollars; null: no limit. */
export interface BudgetLimits {
  /** By one session, as long as it lasts. */
  sessionUsd: number | null;
  /** On one day by all that it is the budget of: an agent, or the server. */
  dayUsd: number | null;
  /** On one day for one person of a chat. */
  senderDayUsd: number | null;
}

export const noLimits: BudgetLimits = { sessionUsd: null, dayUsd: null, senderDayUsd: null };

/** A budget as it is written, with the names of the code. */
export function limitsOf(written: {
  session_usd: number | null;
  day_usd: number | null;
  sender_day_usd: number | null;
}): BudgetLimits {
  return {
    sessionUsd: written.session_usd,
    dayUsd: written.day_usd,
    senderDayUsd: written.sender_day_usd,
  };
}

export function hasLimit({ sessionUsd, dayUsd, senderDayUsd }: BudgetLimits): boolean {
  return sessionUsd !== null || dayUsd !== null || senderDayUsd !== null;
}

export type BudgetKind = 'session' | 'sender_day' | 'day';

/** One budget that a call counts for. */
export interface Budget {
  kind: BudgetKind;
  /** Whose file says it: the agent's, by its name, or (null) the server's. */
  agent: string | null;
  limit: Nanos;
  /** Names the total that it limits. */
  account: string;
}

/** A budget with what has gone of it. */
export interface BudgetUse extends Budget {
  spent: Nanos;
  /** For calls that have not ended. */
  reserved: Nanos;
}

/** Who makes a call. */
export interface Caller {
  session: string;
  agent: string;
  sender: string | null;
}

/** The totals that a call is added to, whether or not a budget limits them now. */
export function accountsOf({ session, agent, sender }: Caller): string[] {
  const days = sender === null ? [] : [senderAccount(null, sender), senderAccount(agent, sender)];
  return [sessionAccount(session), dayAccount(null), dayAccount(agent), ...days];
}

/** Whether a total starts anew each day. */
export function isDaily(account: string): boolean {
  return account.startsWith('day');
}

/** The budgets that a call must keep, the most lasting first: those of the agent and those of the server. */
export function budgetsOf(
  caller: Caller,
  limits: { agent: BudgetLimits; server: BudgetLimits },
): Budget[] {
  const { session, sender } = caller;
  const found: Budget[] = [];
  const add = (kind: BudgetKind, agent: string | null, usd: number | null, account: string) => {
    if (usd !== null) found.push({ kind, agent, limit: nanosOf(usd), account });
  };
  const owners = [
    { agent: caller.agent, of: limits.agent },
    { agent: null, of: limits.server },
  ];
  for (const { agent, of } of owners) add('session', agent, of.sessionUsd, sessionAccount(session));
  for (const { agent, of } of owners) {
    if (sender === null) continue;
    add('sender_day', agent, of.senderDayUsd, senderAccount(agent, sender));
  }
  for (const { agent, of } of owners) add('day', agent, of.dayUsd, dayAccount(agent));
  return found;
}

/**
 * The budget that a call of this cost could exceed; null: none. `inFlight`: it would fit once the
 * calls that are under way have ended and cost nothing. What is free exceeds nothing.
 */
export function exceededBudget(
  budgets: readonly BudgetUse[],
  cost: Nanos,
): { budget: BudgetUse; inFlight: boolean } | null {
  if (cost === 0) return null;
  const exceeded = budgets.filter(({ limit, spent, reserved }) => spent + reserved + cost > limit);
  const spent = exceeded.find((one) => one.spent + cost > one.limit);
  const budget = spent ?? exceeded[0];
  return budget ? { budget, inFlight: spent === undefined } : null;
}

function sessionAccount(session: string): string {
  return `session/${session}`;
}

function dayAccount(agent: string | null): string {
  return agent === null ? 'day' : `day/${agent}`;
}

function senderAccount(agent: string | null, sender: string): string {
  return `${dayAccount(agent)}//${sender}`;
}
