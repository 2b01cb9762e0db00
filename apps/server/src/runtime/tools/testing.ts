import type { Surroundings } from '../../core/context/system-text.ts';
import type { PolicyVerdict } from '../../core/policy/evaluate-policy.ts';
import type { Tool } from '../../ports/tool.ts';
import type { ToolOutputs } from '../../ports/tool-outputs.ts';
import type { BudgetKeeper } from '../budgets.ts';
import type { CallDeps } from './call-runner.ts';

/** A tool of a test. */
export function testTool(
  tool: Pick<Tool, 'name' | 'run'> & Partial<Tool>,
  plan: Partial<ReturnType<Tool['plan']>> = {},
): Tool {
  return {
    description: `The tool ${tool.name}`,
    parameters: { type: 'object' },
    effect: 'effectful',
    onInterrupt: 'tell_model',
    plan: (args) => ({
      policy: { kind: 'builtin', name: tool.name, action: null, args, harmless: false },
      shown: `${tool.name} ${JSON.stringify(args)}`,
      command: null,
      ...plan,
    }),
    ...tool,
  };
}

const allowed: PolicyVerdict = {
  decision: 'allow',
  reason: 'a test',
  notify: false,
  always: null,
};

/** Tools that every agent may use, under one word of the policy. */
export function testCalls(
  tools: readonly Tool[],
  judge: CallDeps['judge'] = () => Promise.resolve(allowed),
): CallDeps {
  const byName = new Map(tools.map((tool) => [tool.name, tool]));
  return {
    toolbox: { toolsOf: () => Promise.resolve(byName) },
    judge,
    keepFile: (_, name) => Promise.resolve(`art_${name}`),
  };
}

/** For agents with nothing around them. */
export const noSurroundings = (): Promise<Surroundings> =>
  Promise.resolve({ directives: '', memory: '', project: '' });

/** For servers that spend nothing. */
export const noBudgets: BudgetKeeper = {
  open: () =>
    Promise.resolve({
      reserve: () => ({
        ok: true as const,
        reserved: undefined,
        settle: (usage) => usage ?? undefined,
        release: () => undefined,
      }),
    }),
  chargeCut: () => Promise.resolve(undefined),
};

/** For servers whose tools print nothing that is kept. */
export const noOutputs: ToolOutputs = {
  file: () => Promise.reject(new Error('nothing is kept')),
  tail: () => Promise.resolve(''),
};
