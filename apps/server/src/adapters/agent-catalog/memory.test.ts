import type { Agent } from '../../core/agent.ts';
import { plainAgent } from '../../core/testing.ts';
import { agentCatalogContract } from '../../ports/agent-catalog.contract.ts';
import { memoryAgentCatalog } from './memory.ts';

agentCatalogContract('memory', () => {
  const catalog = memoryAgentCatalog();
  return Promise.resolve({
    catalog,
    put: (name, systemPrompt) => Promise.resolve(catalog.set(agent(name, systemPrompt))),
    break: (name) => {
      const fault = { file: 'agent.yaml', line: 1, column: 1, message: 'broken' };
      return Promise.resolve(catalog.break(name, [fault]));
    },
    remove: (name) => Promise.resolve(catalog.remove(name)),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
});

function agent(name: string, systemPrompt: string): Agent {
  return plainAgent({ name, systemPrompt, hash: systemPrompt, home: `/agents/${name}` });
}
