import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import type { FileFault } from '../core/agent.ts';
import { readModel } from '../core/agent-spec.ts';
import { type BudgetRules, noBudgetRules } from '../core/budget/budget-rules.ts';
import { readAgentFolder } from './agent-folder.ts';
import { readTextFile } from './text-file.ts';
import { undescribedTools } from './tool-folders.ts';

export interface AgentValidation {
  /** Why it does not load; empty: it does. */
  faults: FileFault[];
  warnings: FileFault[];
  /** Advice for people, several lines each. */
  hints: string[];
}

/** Checks an agent's folder as `duragent agent validate` shows it, with what duragent.yaml says. */
export async function validateAgent(
  dir: string,
  rules: BudgetRules = noBudgetRules,
): Promise<AgentValidation> {
  const { agent, faults, warnings: found } = await readAgentFolder(dir, () => rules);
  const declared = agent?.tools.flatMap((tool) => (tool.type === 'cli' ? [tool.command] : []));
  const warnings = declared ? [...found, ...(await undescribedTools(dir, declared))] : found;
  const source = agent === null ? null : await readTextFile(join(dir, 'agent.yaml'));
  if (source === null || !source.ok) return { faults, warnings, hints: [] };
  const written = parse(source.text) as Record<string, unknown>;
  if ('spec' in written) return { faults, warnings, hints: [] };
  const hint = `agent.yaml is in the short form. The same in the long form:\n\n${longForm(written)}`;
  return { faults, warnings, hints: [hint] };
}

function longForm(written: Record<string, unknown>): string {
  const { name, description, version, labels, model, tools, ...spec } = written;
  const builtin = (tools as { builtin?: string[] } | null | undefined)?.builtin;
  const listed = builtin?.map((tool) => ({ type: 'builtin', name: tool }));
  // What is undefined is not written.
  return stringify({
    apiVersion: 'duragent/v1alpha1',
    kind: 'Agent',
    metadata: { name, description, version, labels },
    spec: { model: readModel(model), ...spec, tools: listed },
  });
}
