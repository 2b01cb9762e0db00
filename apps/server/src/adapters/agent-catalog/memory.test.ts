import { defaultAccess } from '../../core/agent-access.ts';
import { noLimits } from '../../core/budget/limits.ts';
import type { Agent } from '../../core/agent.ts';
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
  return {
    name,
    description: '',
    version: '1.0.0',
    labels: {},
    hash: systemPrompt,
    home: `/agents/${name}`,
    models: [
      {
        provider: 'echo',
        name: '',
        baseUrl: null,
        temperature: null,
        maxInputTokens: null,
        maxOutputTokens: 4096,
      },
    ],
    soul: '',
    systemPrompt,
    instructions: '',
    directives: '',
    greeting: null,
    session: {
      onDisconnect: null,
      maxBackgroundMs: null,
      maxToolIterations: 100,
      turnTimeoutMs: null,
      maxHistoryTokens: 20_000,
      maxToolResultTokens: 8000,
      toolResultTruncation: 'head',
      toolResultKeepFirst: 2,
      toolResultKeepLast: 5,
      summarize: true,
    },
    budget: noLimits,
    access: defaultAccess,
    tools: [],
    skills: [],
  };
}
