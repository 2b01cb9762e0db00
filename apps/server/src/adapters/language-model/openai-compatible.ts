import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import type { SdkModel, SdkModelOptions } from './ai-sdk.ts';
import { guardedFetch } from './guarded-fetch.ts';

/**
 * A model of a server that speaks OpenAI's chat completions: OpenAI itself, Ollama, and every
 * compatible one. `baseUrl` is the API's root, such as `https://api.openai.com/v1`; an empty key is
 * not sent.
 */
export function openOpenAICompatible(
  options: SdkModelOptions & { provider: 'openai' | 'ollama' | 'openai-compatible' },
): SdkModel {
  const openai = options.provider === 'openai';
  const sdk = createOpenAICompatible({
    // The key of the metadata it gives out; `openaiCompatible` would be spread into tool calls.
    name: openai ? 'openai' : 'compatible',
    baseURL: options.baseUrl,
    apiKey: options.apiKey,
    includeUsage: true,
    fetch: guardedFetch,
    ...(openai ? { transformRequestBody: renameMaxTokens } : {}),
  });
  return {
    model: sdk.languageModel(options.name),
    reasoning: openai ? 'none' : 'plain',
    // These servers cache unasked.
    cacheMarks: null,
  };
}

/** OpenAI's reasoning models refuse `max_tokens`; all of its models know the newer name. */
function renameMaxTokens(body: Record<string, unknown>): Record<string, unknown> {
  const { max_tokens: maxTokens, ...rest } = body;
  return { ...rest, max_completion_tokens: maxTokens };
}
