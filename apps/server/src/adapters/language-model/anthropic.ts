import { createAnthropic } from '@ai-sdk/anthropic';
import type { SdkModel, SdkModelOptions } from './ai-sdk.ts';
import { guardedFetch } from './guarded-fetch.ts';

/**
 * A model of Anthropic's messages API, with its prompt caching; `baseUrl` is the API's root, such as
 * `https://api.anthropic.com/v1`.
 */
export function openAnthropic({ name, baseUrl, apiKey }: SdkModelOptions): SdkModel {
  const sdk = createAnthropic({ baseURL: baseUrl, apiKey, fetch: guardedFetch });
  return { model: sdk.languageModel(name), reasoning: 'anthropic', cacheMarks: 'anthropic' };
}
