import { DuragentError } from '@duragent/protocol';
import type { AgentCatalog } from '../ports/agent-catalog.ts';

/**
 * The agent of a new session: the one that is wanted, or, where none is named, the only one.
 * @throws DuragentError agent_not_found, agent_invalid.
 */
export async function resolveAgent(wanted: string | null, catalog: AgentCatalog): Promise<string> {
  if (wanted !== null && (await catalog.get(wanted))) return wanted;
  const { agents, broken } = await catalog.list();
  const [only, ...others] = agents;
  if (wanted === null && only && others.length === 0) return only.name;
  const known = agents.map((agent) => agent.name);
  const list =
    known.length > 0
      ? `There are: ${known.join(', ')}.`
      : 'There is no agent at all; duragent init makes one.';
  const fault = broken.find((agent) => agent.name === wanted)?.faults[0];
  if (fault) {
    throw new DuragentError(
      'agent_invalid',
      `The agent ${wanted} does not load: ${fault.file}:${fault.line}:${fault.column}: ${fault.message}. Mend it (duragent agent validate shows all faults).`,
    );
  }
  throw new DuragentError(
    'agent_not_found',
    wanted === null
      ? `Say which agent: there is no default_agent. ${list}`
      : `There is no agent named ${wanted}. ${list}`,
    { details: { known } },
  );
}
