import { type BudgetLimits, noLimits } from './limits.ts';
import type { PriceTable } from './prices.ts';

/** What duragent.yaml says of money. */
export interface BudgetRules {
  /** The server's budgets, which hold for every agent beside its own. */
  budget: BudgetLimits;
  /** Go before the list prices. */
  prices: PriceTable;
}

/** Of a server without a configuration. */
export const noBudgetRules: BudgetRules = { budget: noLimits, prices: {} };
