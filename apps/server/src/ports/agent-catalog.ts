import type { Agent, BrokenAgent } from '../core/agent.ts';

/** The agents that this server knows. A broken one never hides the others. */
export interface AgentCatalog {
  /** The agent as its files are now, or the last good version of a file that broke since; null: there is none that loads. */
  get(name: string): Promise<Agent | null>;
  /** All of them, by name, and those that do not load with every fault found. */
  list(): Promise<{ agents: Agent[]; broken: BrokenAgent[] }>;
}
