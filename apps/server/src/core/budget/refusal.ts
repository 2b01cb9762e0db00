import type { Budget, BudgetLimits, BudgetUse } from './limits.ts';
import { dollarsText, type Nanos } from './money.ts';

/** Why a call is not made. */
export interface BudgetRefusal {
  code: 'budget_exceeded' | 'price_unknown' | 'spending_unknown';
  /** Which budget, until when, and what to do; for the people of the session. */
  message: string;
  /** Whether the same call may be made soon. */
  retryable: boolean;
}

/** When a day's budgets begin anew: at the start of this day, there. */
export interface NextDay {
  day: string;
  zone: string;
}

/** What people are told of a call that a budget has no room for. */
export function exceededRefusal(
  { budget, inFlight }: { budget: BudgetUse; inFlight: boolean },
  cost: Nanos,
  { day, zone }: NextDay,
): BudgetRefusal {
  const name = nameOf(budget);
  const code = 'budget_exceeded';
  if (cost > budget.limit) {
    const message = `A call of the model may cost ${dollarsText(cost)}, which is more than ${name} allows at all. Have it raised, or max_output_tokens of the model lowered.`;
    return { code, message, retryable: false };
  }
  if (inFlight) {
    const message = `Calls that are under way have reserved the rest of ${name}. Send a message when they have ended.`;
    return { code, message, retryable: true };
  }
  const message =
    budget.kind === 'session'
      ? `The next call of the model could exceed ${name}, which holds as long as this session. Start a new one (/new), or have the budget raised.`
      : `The next call of the model could exceed ${name}. It holds until ${day} 00:00 (${zone}): send a message then, or have the budget raised.`;
  return { code, message, retryable: false };
}

/** A budget cannot be kept with a model whose price nobody knows. */
export function unknownPriceRefusal(budget: Budget, model: string): BudgetRefusal {
  return {
    code: 'price_unknown',
    message: `The ${unknownPrice(model)}, so that ${nameOf(budget)} cannot be kept. ${addPrice(model)}`,
    retryable: false,
  };
}

/** What has gone of a budget cannot be read. */
export function unknownSpendingRefusal(budget: Budget): BudgetRefusal {
  return {
    code: 'spending_unknown',
    message: `What was spent today cannot be read, so that ${nameOf(budget)} cannot be kept. The log of the server says why.`,
    retryable: true,
  };
}

/** What `validate` says of a model whose price an agent's budget needs, or where it has none the server's. */
export function unpricedModelFault(model: string, budget: BudgetLimits): string {
  const key = firstKey(budget);
  const needs = key === null ? 'a budget of duragent.yaml' : `budget.${key}`;
  return `the ${unknownPrice(model)}, and ${needs} needs it. ${addPrice(model)}`;
}

function unknownPrice(model: string): string {
  return `price of ${model} is not known`;
}

function addPrice(model: string): string {
  return `Add it to models.prices in duragent.yaml: "${model}": { input: 1, output: 2 }, in US dollars per million tokens`;
}

function firstKey({ dayUsd, sessionUsd, senderDayUsd }: BudgetLimits): string | null {
  if (sessionUsd !== null) return keys.session;
  if (dayUsd !== null) return keys.day;
  return senderDayUsd === null ? null : keys.sender_day;
}

const keys = { session: 'session_usd', day: 'day_usd', sender_day: 'sender_day_usd' } as const;
const spans = {
  session: 'for a session',
  day: 'for a day',
  sender_day: 'for one person and day',
} as const;

/** `the agent helper's budget for a day ($5.00, budget.day_usd)`. */
function nameOf({ kind, agent, limit }: Budget): string {
  const whose = agent === null ? `the server's` : `the agent ${agent}'s`;
  return `${whose} budget ${spans[kind]} (${dollarsText(limit)}, budget.${keys[kind]})`;
}
