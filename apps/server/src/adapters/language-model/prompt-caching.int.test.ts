import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  finishCall,
  modelRequest,
  modelsAt,
  wireRef,
} from '../../../../../test/support/model-calls.ts';
import { startModelServer, type ModelServer } from '../../../../../test/support/model-server.ts';
import type { LanguageModel, ModelMessage } from '../../ports/language-model.ts';

let server: ModelServer;
let models: LanguageModel;

beforeAll(async () => {
  server = await startModelServer();
  models = modelsAt(server.url);
});
afterAll(async () => {
  await server.close();
});

/** The request as the server saw it last. */
const seen = () => server.requests.at(-1)!;

const afterTools: ModelMessage[] = [
  { role: 'user', text: 'What time is it?' },
  {
    role: 'assistant',
    content: [{ type: 'text', text: 'I look.' }],
    toolCalls: [
      { call: 'call_x', provider_call_id: 'call_a', name: 'bash', arguments: { command: 'date' } },
    ],
  },
  { role: 'tool', results: [{ providerCallId: 'call_a', name: 'bash', content: 'Mon' }] },
];

describe('prompt caching of Anthropic', () => {
  it.each(['anthropic', 'openrouter'] as const)(
    'marks the system prompt and the last message (%s)',
    async (provider) => {
      const ref = wireRef(provider, server.url);
      await finishCall(models, modelRequest(ref, { messages: afterTools }));
      const marks = seen().text.match(/"cache_control":\{"type":"ephemeral"\}/g);
      const body = seen().body as { system?: unknown; messages: { content: unknown }[] };
      if (provider === 'anthropic') {
        expect(marks).toHaveLength(2);
        expect(body.system).toEqual([
          { type: 'text', text: 'You are a test.', cache_control: { type: 'ephemeral' } },
        ]);
        expect((body.messages.at(-1)!.content as unknown[]).at(-1)).toMatchObject({
          type: 'tool_result',
          tool_use_id: 'call_a',
          cache_control: { type: 'ephemeral' },
        });
      } else {
        expect(body.messages[0]!.content).toMatchObject([{ cache_control: { type: 'ephemeral' } }]);
        expect(body.messages.at(-1)).toMatchObject({ cache_control: { type: 'ephemeral' } });
      }
    },
  );

  it('marks nothing for other models behind OpenRouter', async () => {
    const ref = wireRef('openrouter', server.url, { name: 'meta/llama' });
    await finishCall(models, modelRequest(ref));
    expect(seen().text).not.toContain('cache_control');
  });

  it('counts what was written to the cache', async () => {
    const usage = { input: 10, output: 2, cacheRead: 30, cacheWrite: 50 };
    server.enqueue({ type: 'answer', usage });
    const { end } = await finishCall(models, modelRequest(wireRef('anthropic', server.url)));
    expect(end).toMatchObject({
      usage: { input_tokens: 90, output_tokens: 2, cache_read_tokens: 30, cache_write_tokens: 50 },
    });
  });

  it('keeps redacted thinking, which has no text, and sends it back', async () => {
    server.enqueue({ type: 'answer', redacted: 'b64data', tokens: ['ok'] });
    const ref = wireRef('anthropic', server.url);
    const { end } = await finishCall(models, modelRequest(ref));
    if (end.type !== 'done') throw new Error('not done');
    expect(end.content).toEqual([
      {
        type: 'reasoning',
        text: '',
        provider_metadata: { anthropic: { redactedData: 'b64data' } },
      },
      { type: 'text', text: 'ok' },
    ]);
    const messages: ModelMessage[] = [
      { role: 'user', text: 'x' },
      { role: 'assistant', content: end.content, toolCalls: [] },
      { role: 'user', text: 'y' },
    ];
    await finishCall(models, modelRequest(ref, { messages }));
    expect(seen().text).toContain('{"type":"redacted_thinking","data":"b64data"}');
  });
});
