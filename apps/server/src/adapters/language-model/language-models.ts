import type { ModelRef } from '../../core/agent.ts';
import type {
  LanguageModel,
  ModelChunk,
  ModelFailure,
  ModelRequest,
} from '../../ports/language-model.ts';
import type { SdkModel } from './ai-sdk.ts';
import { createAutoChoice } from './auto.ts';
import { streamEcho } from './echo.ts';
import type { CallContext } from './failures.ts';
import { streamScript, type ReadYaml } from './script.ts';

export interface LanguageModelOptions {
  /** Keys of the providers; an empty one is none. */
  keys: { anthropic?: string; openai?: string; openrouter?: string };
  /** An agent's own key, which goes before its provider's. */
  agentKey: (agent: string) => string | undefined;
  /** Reads the files of `script`; throws an error whose message names the place. */
  readYaml: ReadYaml;
  /** Where a local Ollama is. Default: `http://127.0.0.1:11434`. */
  ollamaUrl?: string;
  /** Other roots than the providers' own, for all agents that name none. */
  baseUrls?: { anthropic?: string; openai?: string; openrouter?: string };
}

const hosted = {
  anthropic: { baseUrl: 'https://api.anthropic.com/v1', keyVariable: 'ANTHROPIC_API_KEY' },
  openai: { baseUrl: 'https://api.openai.com/v1', keyVariable: 'OPENAI_API_KEY' },
  openrouter: { baseUrl: 'https://openrouter.ai/api/v1', keyVariable: 'OPENROUTER_API_KEY' },
};

/** How many opened models are kept; each agent may have its own key. */
const MAX_OPEN = 256;

type SdkProviderName = 'anthropic' | 'openai' | 'openrouter' | 'ollama' | 'openai-compatible';
type Target = { baseUrl: string; context: CallContext };

/**
 * All language models behind the one port: each call goes to the provider that its `ModelRef`
 * names. A provider's package is loaded at its first use; `echo` and `script` load none.
 */
export function createLanguageModels(options: LanguageModelOptions): LanguageModel {
  const ollamaUrl = (options.ollamaUrl ?? 'http://127.0.0.1:11434').replace(/\/+$/, '');
  const chooseAuto = createAutoChoice({
    hasKey: (provider) => (options.keys[provider] ?? '') !== '',
    ollamaUrl,
  });
  const opened = new Map<string, Promise<SdkModel>>();
  let sdk: Promise<typeof import('./ai-sdk.ts')> | null = null;

  const resolve = async (ref: ModelRef): Promise<ModelRef> =>
    ref.provider === 'auto' ? await chooseAuto(ref) : ref;

  /** Opened once for each provider, model, address and key; one that does not open is tried again. */
  function open(provider: SdkProviderName, { baseUrl, context }: Target): Promise<SdkModel> {
    const { name, apiKey } = context;
    const id = JSON.stringify([provider, name, baseUrl, apiKey]);
    const known = opened.get(id);
    if (known !== undefined) return known;
    const opening = openModel(provider, { name, baseUrl, apiKey });
    opened.set(id, opening);
    opening.catch(() => opened.delete(id));
    const oldest = opened.keys().next();
    if (opened.size > MAX_OPEN && oldest.done !== true) opened.delete(oldest.value);
    return opening;
  }

  function target(request: ModelRequest, provider: SdkProviderName): Target | ModelFailure {
    const { name, baseUrl: own } = request.model;
    const agentKey = nonEmpty(options.agentKey(request.agent));
    let baseUrl = own ?? '';
    let apiKey: string | undefined;
    let keyVariable: string | null = null;
    if (provider === 'ollama') baseUrl ||= `${ollamaUrl}/v1`;
    else if (provider === 'openai-compatible') {
      apiKey = agentKey;
      if (apiKey !== undefined) keyVariable = agentVariable(request.agent);
    } else {
      baseUrl ||= options.baseUrls?.[provider] ?? hosted[provider].baseUrl;
      apiKey = agentKey ?? nonEmpty(options.keys[provider]);
      keyVariable =
        agentKey === undefined ? hosted[provider].keyVariable : agentVariable(request.agent);
      if (apiKey === undefined) return noKey(provider, request.agent);
    }
    const host = hostOf(baseUrl);
    if (host === null) return badAddress(provider, baseUrl);
    if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey)) {
      const message = `The key in ${keyVariable ?? 'the environment'} holds a character that no key has: set it again.`;
      return { code: 'model_unauthorized', message, retryable: false };
    }
    return { baseUrl, context: { provider, name, host, keyVariable, apiKey } };
  }

  async function streamSdk(
    request: ModelRequest,
    provider: SdkProviderName,
    signal: AbortSignal,
  ): Promise<AsyncIterable<ModelChunk>> {
    const found = target(request, provider);
    if ('code' in found) return failed(request.model, found);
    // Imported with the first provider, so that a server without one carries nothing of the SDK.
    sdk ??= import('./ai-sdk.ts');
    const { streamSdkModel } = await sdk;
    return streamSdkModel(await open(provider, found), request, found.context, signal);
  }

  async function start(
    request: ModelRequest,
    signal: AbortSignal,
  ): Promise<AsyncIterable<ModelChunk>> {
    const { provider } = request.model;
    switch (provider) {
      case 'script':
        return streamScript(request, { signal, readYaml: options.readYaml });
      case 'echo':
      case 'auto': // A choice is never `auto` again.
        return streamEcho(request, { signal });
      default:
        return await streamSdk(request, provider, signal);
    }
  }

  async function* stream(
    request: ModelRequest,
    { signal }: { signal: AbortSignal },
  ): AsyncGenerator<ModelChunk, void, undefined> {
    let model = request.model;
    try {
      model = await resolve(model);
      yield* await start({ ...request, model }, signal);
    } catch (error) {
      // A package that does not load, or a fault of ours: the port never throws.
      const reason = error instanceof Error ? error.message : String(error);
      const message = `The call broke inside of the server: ${reason}.`;
      yield* failed(model, { code: 'internal', message, retryable: false });
    }
  }

  return { stream, resolve };
}

async function* failed(
  { provider, name }: ModelRef,
  error: ModelFailure,
): AsyncGenerator<ModelChunk, void, undefined> {
  yield { type: 'failed', error, model: `${provider}/${name}` };
}

async function openModel(
  provider: SdkProviderName,
  options: { name: string; baseUrl: string; apiKey: string | undefined },
): Promise<SdkModel> {
  // Never undefined for the SDKs that would then look into the environment.
  const { apiKey = '' } = options;
  switch (provider) {
    case 'anthropic': {
      const { openAnthropic } = await import('./anthropic.ts');
      return openAnthropic({ ...options, apiKey });
    }
    case 'openrouter': {
      const { openOpenRouter } = await import('./openrouter.ts');
      return openOpenRouter({ ...options, apiKey });
    }
    default: {
      const { openOpenAICompatible } = await import('./openai-compatible.ts');
      return openOpenAICompatible({ ...options, provider, apiKey });
    }
  }
}

function noKey(provider: keyof typeof hosted, agent: string): ModelFailure {
  const message = `There is no key for ${provider}: set ${hosted[provider].keyVariable}, or ${agentVariable(agent)} for this agent alone.`;
  return { code: 'no_api_key', message, retryable: false };
}

function badAddress(provider: string, baseUrl: string): ModelFailure {
  const message =
    baseUrl === ''
      ? `${provider} needs base_url, the root of its API, such as http://127.0.0.1:8000/v1.`
      : `base_url of ${provider} is not an http(s) address without a user name and password: correct it.`;
  return { code: 'model_misconfigured', message, retryable: false };
}

/** Host and port of an http(s) address; null for anything else, and for one that holds a secret. */
function hostOf(baseUrl: string): string | null {
  const url = URL.parse(baseUrl);
  if (url === null || !/^https?:$/.test(url.protocol)) return null;
  return url.username === '' && url.password === '' ? url.host : null;
}

function agentVariable(agent: string): string {
  return `DURAGENT_AGENT_${agent.toUpperCase().replaceAll('-', '_')}_API_KEY`;
}

function nonEmpty(key: string | undefined): string | undefined {
  return key === undefined || key === '' ? undefined : key;
}
