import type { FileFault, ModelRef } from '../core/agent.ts';
import type { BudgetRules } from '../core/budget/budget-rules.ts';
import { type BudgetLimits, hasLimit } from '../core/budget/limits.ts';
import { hasPrice } from '../core/budget/prices.ts';
import { unpricedModelFault } from '../core/budget/refusal.ts';
import type { Path } from './yaml-issues.ts';

/** A budget cannot be kept with a model whose price is not known: a fault at each of those. */
export function priceFaults(
  models: readonly ModelRef[],
  budget: BudgetLimits,
  { budget: servers, prices }: BudgetRules,
  at: (path: Path, message: string) => FileFault,
): FileFault[] {
  if (!hasLimit(budget) && !hasLimit(servers)) return [];
  return models.flatMap((model, index) => {
    if (hasPrice(model, prices)) return [];
    const path = index === 0 ? ['model'] : ['model', 'fallback', index - 1];
    return [at(path, unpricedModelFault(`${model.provider}/${model.name}`, budget))];
  });
}
