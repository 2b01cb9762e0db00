import { describe, expect, it } from 'vitest';
import {
  accountsOf,
  budgetsOf,
  type BudgetUse,
  exceededBudget,
  isDaily,
  noLimits,
} from './limits.ts';
import { nanosOf } from './money.ts';
import { exceededRefusal, unknownPriceRefusal, unknownSpendingRefusal } from './refusal.ts';

const caller = { session: 's', agent: 'helper', sender: 'telegram:1' };
const all = { sessionUsd: 1, dayUsd: 2, senderDayUsd: 3 };

describe('the budgets of a call', () => {
  it('are those of the agent and those of the server, the most lasting first', () => {
    const found = budgetsOf(caller, { agent: all, server: all });
    expect(found.map(({ kind, agent }) => [kind, agent])).toEqual([
      ['session', 'helper'],
      ['session', null],
      ['sender_day', 'helper'],
      ['sender_day', null],
      ['day', 'helper'],
      ['day', null],
    ]);
    expect(budgetsOf(caller, { agent: noLimits, server: noLimits })).toEqual([]);
  });

  it('are not those of senders where nobody of a chat asked', () => {
    const found = budgetsOf({ ...caller, sender: null }, { agent: all, server: all });
    expect(found.filter(({ kind }) => kind === 'sender_day')).toEqual([]);
  });

  it('limit totals that the call is added to', () => {
    const accounts = accountsOf(caller);
    expect(new Set(accounts).size).toBe(5);
    for (const { account, kind } of budgetsOf(caller, { agent: all, server: all })) {
      expect(accounts).toContain(account);
      expect(isDaily(account)).toBe(kind !== 'session');
    }
  });

  it('are no one else’s, however people and agents are named', () => {
    const odd = accountsOf({ session: 'day', agent: 'a', sender: '/b' });
    const other = accountsOf({ session: 'day/a', agent: 'b', sender: 'b' });
    expect(odd.filter((account) => other.includes(account))).toEqual(['day']);
  });
});

const use = (kind: BudgetUse['kind'], usd: [limit: number, spent: number, reserved: number]) => {
  const [limit, spent, reserved] = usd.map(nanosOf);
  return { kind, agent: null, account: '', limit, spent, reserved } as BudgetUse;
};

describe('a call', () => {
  it('may use a budget up, to the last bit', () => {
    expect(exceededBudget([use('day', [1, 0.7, 0.2])], nanosOf(0.1))).toBeNull();
    expect(exceededBudget([use('day', [1, 0.7, 0.2])], nanosOf(0.1) + 1)).not.toBeNull();
    expect(exceededBudget([use('day', [0, 0, 0])], 1)).not.toBeNull();
  });

  it('that costs nothing is always made', () => {
    expect(exceededBudget([use('day', [0, 5, 0])], 0)).toBeNull();
  });

  it('is refused for good by what is spent, rather than by what is under way', () => {
    const busy = use('session', [1, 0.1, 0.9]);
    const full = use('day', [1, 0.95, 0]);
    expect(exceededBudget([busy, full], nanosOf(0.1))).toEqual({ budget: full, inFlight: false });
    expect(exceededBudget([busy], nanosOf(0.1))).toEqual({ budget: busy, inFlight: true });
  });
});

describe('people are told', () => {
  const next = { day: '2026-11-21', zone: 'Europe/Berlin' };
  const told = (budget: BudgetUse, usd: number) => {
    const cost = nanosOf(usd);
    const exceeded = exceededBudget([budget], cost);
    return exceeded && exceededRefusal(exceeded, cost, next);
  };

  it('which budget of a day, and until when', () => {
    expect(told({ ...use('day', [5, 4.99, 0]), agent: 'helper' }, 0.02)).toEqual({
      code: 'budget_exceeded',
      message:
        "The next call of the model could exceed the agent helper's budget for a day ($5.00, budget.day_usd). It holds until 2026-11-21 00:00 (Europe/Berlin): send a message then, or have the budget raised.",
      retryable: false,
    });
    expect(told(use('sender_day', [0.5, 0.5, 0]), 0.02)?.message).toMatch(
      /the server's budget for one person and day \(\$0\.50, budget\.sender_day_usd\)\. It holds until 2026-11-21/,
    );
  });

  it('that a session has no end but its own', () => {
    const message = told(use('session', [1, 1, 0]), 0.02)?.message;
    expect(message).toMatch(/budget for a session \(\$1\.00, budget\.session_usd\)/);
    expect(message).toMatch(/as long as this session\. Start a new one \(\/new\)/);
  });

  it('that no waiting helps where one call is more than all of it', () => {
    const refusal = told(use('day', [0.01, 0, 0]), 0.0234);
    expect(refusal?.message).toMatch(/may cost \$0\.02, which is more than .* allows at all/);
    expect(refusal?.retryable).toBe(false);
  });

  it('to come again soon where only calls under way are in the way', () => {
    const refusal = told(use('day', [1, 0.5, 0.45]), 0.1);
    expect(refusal?.message).toMatch(/under way have reserved the rest/);
    expect(refusal?.retryable).toBe(true);
  });

  it('what is missing where a budget cannot be kept', () => {
    const budget = use('day', [1, 0, 0]);
    expect(unknownPriceRefusal(budget, 'openrouter/x/y')).toMatchObject({
      code: 'price_unknown',
      message: expect.stringContaining(
        'models.prices in duragent.yaml: "openrouter/x/y": { input: 1, output: 2 }',
      ),
      retryable: false,
    });
    expect(unknownSpendingRefusal(budget)).toMatchObject({
      code: 'spending_unknown',
      retryable: true,
    });
  });
});
