import type { Agent, FileFault } from '../../core/agent.ts';
import type { AgentCatalog } from '../../ports/agent-catalog.ts';

export interface MemoryAgentCatalog extends AgentCatalog {
  /** Adds an agent, or its new version. */
  set(agent: Agent): void;
  /** An agent's files break: its last good version stays. */
  break(name: string, faults: FileFault[]): void;
  remove(name: string): void;
}

/** A catalog for tests, which holds what it is given. */
export function memoryAgentCatalog(agents: readonly Agent[] = []): MemoryAgentCatalog {
  const good = new Map(agents.map((agent) => [agent.name, agent]));
  const broken = new Map<string, FileFault[]>();
  const byName = <T extends { name: string }>(a: T, b: T): number => (a.name < b.name ? -1 : 1);
  return {
    get: (name) => Promise.resolve(good.get(name) ?? null),
    list: () =>
      Promise.resolve({
        agents: [...good.values()].sort(byName),
        broken: [...broken].map(([name, faults]) => ({ name, faults })).sort(byName),
      }),
    set(agent) {
      good.set(agent.name, agent);
      broken.delete(agent.name);
    },
    break: (name, faults) => void broken.set(name, faults),
    remove(name) {
      good.delete(name);
      broken.delete(name);
    },
  };
}
