import type { Agent } from '../core/agent.ts';
import type { LoadedPolicy } from '../core/policy/policy-file.ts';

/** As much of an agent as its policy needs. */
export type PolicyOwner = Pick<Agent, 'name' | 'home'>;

/**
 * Keeps what people decided about what agents may do: `<data_dir>/policy.yaml` for all of them,
 * `policy.yaml` in each agent's folder, and what they chose to allow an agent always, in
 * `<data_dir>/agents/<name>/policy.local.yaml`. The last lies in the data directory, wherever the
 * agent's folder is: no agent can write there. It is one for each agent, so that what one may do
 * opens nothing for another.
 */
export interface PolicyStore {
  /**
   * What rules an agent now. An edited file is read anew; one that cannot be read is a fault, with
   * which nothing is allowed, and nothing older counts in its place. Never rejects.
   */
  load(agent: PolicyOwner): Promise<LoadedPolicy>;
  /**
   * Adds a rule to what an agent may always do, durably and as a whole; what people wrote there
   * stays. Nothing changes where the rule is there already. Changes run one after another.
   * @throws DuragentError `invalid_request` for what is no rule that allows, `config_invalid` where
   * the file does not load or cannot take it, `conflict`, `queue_full`, `storage_full`, `storage_failed`.
   */
  allowAlways(agent: PolicyOwner, rule: string): Promise<void>;
}
