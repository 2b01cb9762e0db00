import type { Config } from './config/load-config.ts';
import type { BudgetRules } from './core/budget/budget-rules.ts';
import type { SessionSettings } from './runtime/rules.ts';

/** What a reload changes of a running server; read at each decision. */
export class LiveSettings {
  /** One object for the life of the server: whoever holds it sees what changes. */
  readonly sessions: SessionSettings;
  #budgets: BudgetRules;

  constructor(config: Config) {
    this.sessions = settingsOf(config);
    this.#budgets = budgetRulesOf(config);
  }

  get budgets(): BudgetRules {
    return this.#budgets;
  }

  apply(config: Config): void {
    Object.assign(this.sessions, settingsOf(config));
    this.#budgets = budgetRulesOf(config);
  }
}

function settingsOf(config: Config): SessionSettings {
  const { session, models, delivery, approvalTimeoutMs } = config;
  return {
    onDisconnect: session.onDisconnect,
    maxBackgroundMs: session.maxBackgroundMs,
    outputBufferSize: session.outputBufferSize,
    modelRetries: models.retries,
    delivery,
    approvalTimeoutMs,
  };
}

function budgetRulesOf({ budget, models }: Config): BudgetRules {
  return { budget, prices: models.prices };
}
