import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  finishCall,
  modelRef,
  modelRequest,
  modelsAt,
  testKeys,
  wireProviders,
  wireRef,
} from '../../../../../test/support/model-calls.ts';
import { startModelServer, type ModelServer } from '../../../../../test/support/model-server.ts';

let server: ModelServer;

beforeAll(async () => {
  server = await startModelServer();
});
afterAll(async () => {
  await server.close();
});
beforeEach(() => {
  server.requests.length = 0;
  server.ollamaModels = null;
});

const seen = () => server.requests.at(-1)!;
const keyless = { keys: {} };

describe('keys', () => {
  const hosted = ['anthropic', 'openai', 'openrouter'] as const;

  it.each(hosted)(
    'refuses a call of %s without a key, and names the variables',
    async (provider) => {
      vi.stubEnv('ANTHROPIC_API_KEY', 'from-the-environment');
      vi.stubEnv('OPENAI_API_KEY', 'from-the-environment');
      vi.stubEnv('OPENROUTER_API_KEY', 'from-the-environment');
      const request = modelRequest(wireRef(provider, server.url), { agent: 'my-agent' });
      for (const keys of [{}, { [provider]: '' }]) {
        const { end } = await finishCall(modelsAt(server.url, { keys }), request);
        expect(end).toMatchObject({ error: { code: 'no_api_key', retryable: false } });
        const message = end.type === 'failed' ? end.error.message : '';
        expect(message).toContain(`${provider.toUpperCase()}_API_KEY`);
        expect(message).toContain('DURAGENT_AGENT_MY_AGENT_API_KEY');
      }
      expect(server.requests).toHaveLength(0);
    },
  );

  it.each(hosted)('prefers the key of the agent (%s)', async (provider) => {
    const models = modelsAt(server.url, {
      agentKey: (agent) => (agent === 'rich' ? 'sk-of-the-agent' : undefined),
    });
    const header = provider === 'anthropic' ? 'x-api-key' : 'authorization';
    await finishCall(models, modelRequest(wireRef(provider, server.url), { agent: 'rich' }));
    expect(seen().headers[header]).toContain('sk-of-the-agent');
    await finishCall(models, modelRequest(wireRef(provider, server.url), { agent: 'poor' }));
    expect(seen().headers[header]).toContain(testKeys[provider]);
  });

  it('gives an OpenAI-compatible server the key of the agent, and never a provider’s', async () => {
    const ref = wireRef('openai-compatible', server.url);
    await finishCall(modelsAt(server.url), modelRequest(ref));
    expect(seen().headers.authorization).toBeUndefined();
    await finishCall(modelsAt(server.url, { agentKey: () => 'own' }), modelRequest(ref));
    expect(seen().headers.authorization).toBe('Bearer own');
  });

  it('gives Ollama no key at all', async () => {
    const ref = wireRef('ollama', server.url);
    await finishCall(modelsAt(server.url, { agentKey: () => 'own' }), modelRequest(ref));
    expect(seen().headers.authorization).toBeUndefined();
  });

  it('does not show a key that no header can carry', async () => {
    const models = modelsAt(server.url, { keys: { anthropic: 'sk-secret\nline' } });
    const { end } = await finishCall(models, modelRequest(wireRef('anthropic', server.url)));
    expect(end).toMatchObject({ error: { code: 'model_unauthorized' } });
    expect(JSON.stringify(end)).not.toContain('sk-secret');
  });

  it('takes the root of a provider from nobody’s environment', async () => {
    vi.stubEnv('ANTHROPIC_BASE_URL', 'http://127.0.0.1:9');
    vi.stubEnv('OPENAI_BASE_URL', 'http://127.0.0.1:9');
    for (const provider of hosted) {
      const { end } = await finishCall(
        modelsAt(server.url),
        modelRequest(wireRef(provider, server.url)),
      );
      expect(end.type).toBe('done');
    }
  });
});

describe('addresses', () => {
  it.each(['', 'not a url', 'ftp://host/v1', 'http://me:secret@host/v1'])(
    'refuses %j as base_url without showing it',
    async (baseUrl) => {
      const ref = modelRef('openai-compatible', 'local', { baseUrl });
      const { end } = await finishCall(modelsAt(server.url), modelRequest(ref));
      expect(end).toMatchObject({ error: { code: 'model_misconfigured', retryable: false } });
      expect(JSON.stringify(end)).not.toContain('secret');
    },
  );

  it('goes to the base_url of the agent before any other', async () => {
    const ref = modelRef('openai', 'gpt-5-mini', { baseUrl: `${server.url}/other/v1/` });
    await finishCall(modelsAt('http://127.0.0.1:9'), modelRequest(ref));
    expect(seen().path).toBe('/other/v1/chat/completions');
  });
});

describe('auto', () => {
  const auto = modelRef('auto', '', { temperature: 0.5, maxOutputTokens: 77 });

  it.each([
    [{ anthropic: 'a', openai: 'b', openrouter: 'c' }, 'anthropic'],
    [{ openai: 'b', openrouter: 'c' }, 'openai'],
    [{ anthropic: '', openrouter: 'c' }, 'openrouter'],
  ])('is the first provider with a key: %j', async (keys, provider) => {
    server.ollamaModels = ['local:1b'];
    const ref = await modelsAt(server.url, { keys }).resolve(auto);
    expect(ref).toMatchObject({ provider, temperature: 0.5, maxOutputTokens: 77 });
    expect(ref.name).not.toBe('');
  });

  it('is not moved by the key of an agent', async () => {
    const models = modelsAt(server.url, { ...keyless, agentKey: () => 'own' });
    expect(await models.resolve(auto)).toMatchObject({ provider: 'echo' });
  });

  it('is the first model of a local Ollama that can chat', async () => {
    server.ollamaModels = ['nomic-embed-text:latest', 'qwen3:4b', 'llama3.2'];
    const models = modelsAt(server.url, keyless);
    expect(await models.resolve(auto)).toMatchObject({ provider: 'ollama', name: 'qwen3:4b' });
    const { end } = await finishCall(models, modelRequest(auto));
    expect(end).toMatchObject({ type: 'done', model: 'ollama/qwen3:4b' });
    expect(seen().body).toMatchObject({ model: 'qwen3:4b', max_tokens: 77, temperature: 0.5 });
  });

  it('remembers the list of Ollama for a while', async () => {
    server.ollamaModels = ['one'];
    const models = modelsAt(server.url, keyless);
    await models.resolve(auto);
    server.ollamaModels = ['two'];
    expect(await models.resolve(auto)).toMatchObject({ name: 'one' });
  });

  it.each([
    ['an Ollama without a model', () => (server.ollamaModels = [])],
    ['something that is no Ollama', () => (server.ollamaModels = null)],
  ])('is echo beside %s', async (_what, prepare) => {
    prepare();
    const models = modelsAt(server.url, keyless);
    const { end, text } = await finishCall(models, modelRequest(auto));
    expect(end).toMatchObject({ type: 'done', model: 'echo/echo' });
    expect(text).toContain('no model is configured');
  });

  it('is echo where nothing listens', async () => {
    const models = modelsAt('http://127.0.0.1:9', keyless);
    expect(await models.resolve(auto)).toMatchObject({ provider: 'echo', name: 'echo' });
  });

  it('is chosen by resolve alone: every other model is itself', async () => {
    const models = modelsAt(server.url, keyless);
    for (const [provider, name] of wireProviders) {
      const ref = modelRef(provider, name);
      expect(await models.resolve(ref)).toEqual(ref);
    }
  });
});

describe('what is loaded', () => {
  /** The packages of providers that a process has loaded after a call with a provider. */
  async function loaded(provider: string, name: string): Promise<string[]> {
    const calls = new URL('../../../../../test/support/model-calls.ts', import.meta.url).href;
    const script = `
      import { registerHooks } from 'node:module';
      const found = new Set();
      registerHooks({ resolve(what, context, next) {
        if (/^(@ai-sdk|@openrouter)/.test(what)) found.add(what);
        return next(what, context);
      } });
      const { finishCall, modelRef, modelRequest, modelsAt } = await import(${JSON.stringify(calls)});
      const models = modelsAt(${JSON.stringify(server.url)});
      const { end } = await finishCall(models, modelRequest(modelRef('${provider}', '${name}')));
      if (end.type !== 'done') throw new Error(JSON.stringify(end));
      console.log(JSON.stringify([...found]));
    `;
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--conditions=@duragent/source',
      '--input-type=module',
      '--eval',
      script,
    ]);
    return JSON.parse(stdout) as string[];
  }

  it('is nothing of any provider for echo', async () => {
    expect(await loaded('echo', '')).toEqual([]);
  });

  it('is one provider’s package for that provider', async () => {
    const anthropic = await loaded('anthropic', 'claude-sonnet-4-5');
    expect(anthropic).toContain('@ai-sdk/anthropic');
    expect(anthropic).not.toContain('@ai-sdk/openai-compatible');
    expect(await loaded('openrouter', 'x')).toEqual(['@openrouter/ai-sdk-provider']);
  });
});
