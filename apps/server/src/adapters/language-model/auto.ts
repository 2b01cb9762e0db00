import type { ModelRef, ProviderName } from '../../core/agent.ts';

/** The providers that `auto` takes when they have a key, in order, each with its model of now. */
const hostedDefaults = [
  { provider: 'anthropic', name: 'claude-sonnet-4-5' },
  { provider: 'openai', name: 'gpt-5-mini' },
  { provider: 'openrouter', name: 'anthropic/claude-sonnet-4.5' },
] as const satisfies { provider: ProviderName; name: string }[];

/** How long a local Ollama may take to list its models, in ms. */
const LIST_TIMEOUT_MS = 500;
/** How long a list, or its absence, is believed, in ms. */
const LIST_LIFE_MS = 30_000;
const MAX_LIST_BYTES = 1024 * 1024;

/**
 * Chooses what `auto` means now: the first provider with a key of its own, else the first model of
 * an Ollama at `ollamaUrl`, else `echo`. Never throws.
 */
export function createAutoChoice(options: {
  hasKey: (provider: 'anthropic' | 'openai' | 'openrouter') => boolean;
  ollamaUrl: string;
}): (ref: ModelRef) => Promise<ModelRef> {
  let list: { at: number; model: Promise<string | null> } | null = null;

  return async (ref) => {
    const hosted = hostedDefaults.find(({ provider }) => options.hasKey(provider));
    if (hosted !== undefined) return { ...ref, ...hosted, baseUrl: null };
    if (list === null || performance.now() - list.at > LIST_LIFE_MS) {
      list = { at: performance.now(), model: firstOllamaModel(options.ollamaUrl) };
    }
    const local = await list.model;
    return local === null
      ? { ...ref, provider: 'echo', name: 'echo', baseUrl: null }
      : { ...ref, provider: 'ollama', name: local, baseUrl: null };
  };
}

async function firstOllamaModel(url: string): Promise<string | null> {
  try {
    const signal = AbortSignal.timeout(LIST_TIMEOUT_MS);
    const response = await fetch(`${url}/api/tags`, { signal, redirect: 'error' });
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      return null;
    }
    let text = '';
    const decoder = new TextDecoder();
    for await (const bytes of response.body as ReadableStream<Uint8Array>) {
      text += decoder.decode(bytes, { stream: true });
      if (text.length > MAX_LIST_BYTES) return null;
    }
    return firstChatModel(JSON.parse(text));
  } catch {
    // Nothing there, or nothing that speaks like Ollama: the ordinary case, and `echo` says so.
    return null;
  }
}

/** The first model of Ollama's list that can chat; those for embeddings only say so in their name. */
function firstChatModel(list: unknown): string | null {
  const models = (list as { models?: unknown } | null)?.models;
  if (!Array.isArray(models)) return null;
  for (const model of models) {
    const name = (model as { name?: unknown } | null)?.name;
    if (typeof name === 'string' && name !== '' && !name.includes('embed')) return name;
  }
  return null;
}
