import { type AgentView, DuragentError } from '@duragent/protocol';
import type { Agent } from '../../core/agent.ts';
import { documentOf } from '../../runtime/agent-document.ts';
import type { HttpDeps } from '../context.ts';
import { agentName } from '../input.ts';
import { type AddRoute, sendJson } from '../route.ts';

/** The agents of the server, those that do not load with their faults, and their definitions. */
export function agentRoutes(add: AddRoute, deps: HttpDeps): void {
  const view = async (agent: Agent): Promise<AgentView> => ({
    name: agent.name,
    description: agent.description,
    version: agent.version,
    labels: agent.labels,
    hash: agent.hash,
    model: await deps.models.describe(agent.models[0]),
    default: agent.name === deps.defaultAgent(),
  });
  /** @throws DuragentError agent_not_found, agent_invalid. */
  const find = async (name: string): Promise<Agent> => {
    const agent = await deps.agents.get(name);
    if (agent) return agent;
    const { agents, broken } = await deps.agents.list();
    const faults = broken.find((one) => one.name === name)?.faults;
    if (faults) {
      throw new DuragentError(
        'agent_invalid',
        `The agent ${name} does not load; mend its files (duragent agent validate shows the faults).`,
        { details: { faults } },
      );
    }
    const known = agents.map((one) => one.name);
    throw new DuragentError(
      'agent_not_found',
      `There is no agent named ${name}. ${known.length > 0 ? `There are: ${known.join(', ')}.` : 'There is none.'}`,
      { details: { known } },
    );
  };
  add('GET', '/api/v1/agents', 'read', async (ctx) => {
    const { agents, broken } = await deps.agents.list();
    sendJson(ctx, 200, { agents: await Promise.all(agents.map(view)), broken });
  });
  add('GET', '/api/v1/agents/:name', 'read', async (ctx) => {
    sendJson(ctx, 200, await view(await find(agentName(ctx))));
  });
  add('GET', '/api/v1/agents/:name/spec', 'read', async (ctx) => {
    const agent = await find(agentName(ctx));
    sendJson(ctx, 200, { ...documentOf(agent), hash: agent.hash });
  });
}
