import { createLanguageModels } from '../../apps/server/src/adapters/language-model/language-models.ts';
import type { ModelRef, ProviderName } from '../../apps/server/src/core/agent.ts';
import type {
  LanguageModel,
  ModelChunk,
  ModelRequest,
} from '../../apps/server/src/ports/language-model.ts';

/** The providers that go over the wire, and a model of each. */
export const wireProviders = [
  ['anthropic', 'claude-sonnet-4-5'],
  ['openai', 'gpt-5-mini'],
  ['openrouter', 'anthropic/claude-sonnet-4.5'],
  ['ollama', 'llama3.2:1b'],
  ['openai-compatible', 'local'],
] as const satisfies [ProviderName, string][];
export type WireProvider = (typeof wireProviders)[number][0];

/** The keys that the models below are given; none may appear in a message. */
export const testKeys = {
  anthropic: 'sk-ant-test-secret-0001',
  openai: 'sk-oai-test-secret-0002',
  openrouter: 'sk-or-test-secret-0003',
};

/** All language models with every provider at one address (a model server's `url`). */
export function modelsAt(
  url: string,
  options: Partial<Parameters<typeof createLanguageModels>[0]> = {},
): LanguageModel {
  return createLanguageModels({
    keys: testKeys,
    agentKey: () => undefined,
    readYaml: () => {
      throw new Error('no YAML here');
    },
    ollamaUrl: url,
    baseUrls: { anthropic: `${url}/v1`, openai: `${url}/v1`, openrouter: `${url}/v1` },
    ...options,
  });
}

export function modelRef(
  provider: ProviderName,
  name = '',
  more: Partial<ModelRef> = {},
): ModelRef {
  return {
    provider,
    name,
    baseUrl: null,
    temperature: null,
    maxInputTokens: null,
    maxOutputTokens: 1024,
    ...more,
  };
}

/** A request with one short user message, unless `more` says otherwise. */
export function modelRequest(model: ModelRef, more: Partial<ModelRequest> = {}): ModelRequest {
  return {
    model,
    agent: 'tester',
    system: 'You are a test.',
    messages: [{ role: 'user', text: 'Hello' }],
    tools: [],
    inputTokens: 10,
    ...more,
  };
}

/** The model of a wire provider at a server's url, as an agent would name it. */
export function wireRef(
  provider: WireProvider,
  url: string,
  more: Partial<ModelRef> = {},
): ModelRef {
  const name = new Map<string, string>(wireProviders).get(provider);
  const baseUrl = provider === 'openai-compatible' ? `${url}/v1` : null;
  return modelRef(provider, name, { baseUrl, ...more });
}

/** Every chunk of a call, and its end. */
export async function finishCall(
  model: LanguageModel,
  request: ModelRequest,
  signal: AbortSignal = new AbortController().signal,
): Promise<{ chunks: ModelChunk[]; end: ModelChunk; text: string }> {
  const chunks: ModelChunk[] = [];
  for await (const chunk of model.stream(request, { signal })) chunks.push(chunk);
  const end = chunks.at(-1);
  if (end === undefined) throw new Error('the call yielded nothing');
  const text = chunks.map((chunk) => (chunk.type === 'text' ? chunk.text : '')).join('');
  return { chunks, end, text };
}
