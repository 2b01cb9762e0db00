import type { Agent, ModelRef } from './agent.ts';
import { defaultAccess } from './agent-access.ts';
import { noLimits } from './budget/limits.ts';

const model: ModelRef = {
  provider: 'echo',
  name: '',
  baseUrl: null,
  temperature: null,
  maxInputTokens: null,
  maxOutputTokens: 1000,
};

const session: Agent['session'] = {
  onDisconnect: null,
  maxBackgroundMs: null,
  maxToolIterations: 10,
  turnTimeoutMs: null,
  maxHistoryTokens: 20_000,
  maxToolResultTokens: 1000,
  toolResultTruncation: 'head',
  toolResultKeepFirst: 2,
  toolResultKeepLast: 5,
  summarize: true,
};

/** An agent of a test: it says nothing of itself and has no tools, but for what is changed. */
export function plainAgent(
  change: Partial<Omit<Agent, 'models' | 'session'>> & {
    model?: Partial<ModelRef>;
    session?: Partial<Agent['session']>;
  } = {},
): Agent {
  const { model: otherModel, session: otherSession, ...others } = change;
  return {
    name: 'assistant',
    description: '',
    version: '1.0.0',
    labels: {},
    hash: 'hash-1',
    home: '/agents/assistant',
    models: [{ ...model, ...otherModel }],
    soul: '',
    systemPrompt: '',
    instructions: '',
    directives: '',
    greeting: null,
    session: { ...session, ...otherSession },
    budget: noLimits,
    access: defaultAccess,
    tools: [],
    skills: [],
    ...others,
  };
}
