import { describe, expect, it } from 'vitest';
import {
  finishCall,
  modelRef,
  modelRequest,
  modelsAt,
} from '../../../../../test/support/model-calls.ts';
import type { ModelMessage } from '../../ports/language-model.ts';
import { languageModelContract } from '../../ports/language-model.contract.ts';

// Nothing listens here: `echo` needs no network.
const models = modelsAt('http://127.0.0.1:9');
const ask = (text: string, name = '') =>
  modelRequest(modelRef('echo', name), { messages: [{ role: 'user', text }] });

languageModelContract('echo', async () => ({
  model: models,
  request: (kind) => {
    if (kind === 'answer') return ask('one two three '.repeat(4));
    if (kind === 'endless') return ask('one two three '.repeat(10_000), 'delay-5');
    return kind === 'silent' ? ask('one', 'delay-60000') : null;
  },
  [Symbol.asyncDispose]: async () => undefined,
}));

describe('echo', () => {
  it('answers with what it was told and says what it is', async () => {
    const { end, text } = await finishCall(models, ask('Grüß Gott,\n  Welt 👋'));
    expect(text).toBe('echo (no model is configured): Grüß Gott,\n  Welt 👋');
    expect(end).toMatchObject({ type: 'done', model: 'echo/echo', finishReason: 'stop' });
  });

  it('streams a few words at a time, and lets others work between', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const { chunks } = await finishCall(models, ask('word '.repeat(20_000)));
    clearInterval(timer);
    expect(chunks.length).toBeGreaterThan(4000);
    expect(turns).toBeGreaterThan(0);
  });

  it('calls a tool when asked plainly', async () => {
    const { chunks } = await finishCall(models, ask('!bash {"command":"date"}'));
    expect(chunks).toMatchObject([
      {
        type: 'done',
        content: [],
        toolCalls: [{ provider_call_id: 'echo_1', name: 'bash', arguments: { command: 'date' } }],
        finishReason: 'tool_calls',
      },
    ]);
  });

  it('passes on arguments that are no JSON as they are', async () => {
    const { end } = await finishCall(models, ask('!bash {command: date}'));
    expect(end).toMatchObject({ toolCalls: [{ arguments: '{command: date}' }] });
  });

  it('only answers what is no plain call', async () => {
    for (const text of ['!wow', '! bash {}', 'say !bash {"a":1}', '!bash "x"']) {
      expect((await finishCall(models, ask(text))).text).toContain(text);
    }
  });

  it('answers with the results of its tools', async () => {
    const call = { call: 'call_x', provider_call_id: 'echo_1', name: 'bash', arguments: {} };
    const messages: ModelMessage[] = [
      { role: 'user', text: '!bash {}' },
      { role: 'assistant', content: [], toolCalls: [call] },
      { role: 'tool', results: [{ providerCallId: 'echo_1', name: 'bash', content: 'Monday' }] },
    ];
    const { text } = await finishCall(models, { ...ask(''), messages });
    expect(text).toBe('echo (no model is configured): Monday');
  });

  it('counts what it says as bytes / 4, and what it was told as the server does', async () => {
    const { end } = await finishCall(models, { ...ask('x'.repeat(400)), inputTokens: 110 });
    // 400 bytes, and the 31 of its introduction.
    expect(end).toMatchObject({ usage: { input_tokens: 110, output_tokens: 108 } });
  });

  it('pauses before each word when its name asks for it', async () => {
    const started = performance.now();
    const { chunks } = await finishCall(models, ask('a b c', 'delay-20'));
    expect(chunks).toHaveLength(8 + 1);
    expect(performance.now() - started).toBeGreaterThanOrEqual(8 * 20 - 20);
  });
});
