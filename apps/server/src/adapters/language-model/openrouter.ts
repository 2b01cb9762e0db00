import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import type { SdkModel, SdkModelOptions } from './ai-sdk.ts';
import { guardedFetch } from './guarded-fetch.ts';

/** A model behind OpenRouter; `baseUrl` is the API's root, such as `https://openrouter.ai/api/v1`. */
export function openOpenRouter({ name, baseUrl, apiKey }: SdkModelOptions): SdkModel {
  const sdk = createOpenRouter({
    baseURL: baseUrl,
    apiKey,
    // Sends `stream_options.include_usage`.
    compatibility: 'strict',
    appName: 'Duragent',
    fetch: guardedFetch,
  });
  return {
    model: sdk.chat(name),
    reasoning: 'openrouter',
    // The other models behind it cache unasked.
    cacheMarks: name.startsWith('anthropic/') ? 'openrouter' : null,
  };
}
