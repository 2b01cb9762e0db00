import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import {
  finishCall,
  modelRef,
  modelRequest,
  modelsAt,
} from '../../../../../test/support/model-calls.ts';
import type { ModelMessage } from '../../ports/language-model.ts';
import { languageModelContract } from '../../ports/language-model.contract.ts';

const models = modelsAt('http://127.0.0.1:9', { readYaml: (text) => parse(text) as unknown });
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'duragent-script-'));
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

/** A call of a script that has `answered` assistant messages behind it. */
async function play(yaml: string, answered = 0) {
  const file = path.join(directory, 'play.yaml');
  await writeFile(file, yaml);
  const messages: ModelMessage[] = [{ role: 'user', text: 'go' }];
  for (let turn = 0; turn < answered; turn++) {
    messages.push({ role: 'assistant', content: [], toolCalls: [] }, { role: 'user', text: 'on' });
  }
  return await finishCall(models, modelRequest(modelRef('script', file), { messages }));
}

languageModelContract('script', async () => {
  const own = await mkdtemp(path.join(tmpdir(), 'duragent-script-'));
  const files = {
    answer: 'turns: [{ text: one two three }]',
    endless: 'turns: [{ text: one two three four five, delay: 200 }]',
    silent: 'turns: [{ text: one, delay: 60000 }]',
    failing:
      'turns: [{ text: half, error: { code: model_unavailable, message: gone, retryable: true } }]',
  };
  for (const [kind, yaml] of Object.entries(files)) await writeFile(path.join(own, kind), yaml);
  return {
    model: models,
    request: (kind) => modelRequest(modelRef('script', path.join(own, kind))),
    [Symbol.asyncDispose]: async () => await rm(own, { recursive: true }),
  };
});

describe('script', () => {
  it('plays the turn after as many as were answered', async () => {
    const yaml = 'turns:\n- text: first\n- text: second\n- text: third\n';
    expect((await play(yaml, 0)).text).toBe('first');
    expect((await play(yaml, 2)).text).toBe('third');
  });

  it('says so when it has no more turns', async () => {
    const { end } = await play('turns: [{ text: only }]', 1);
    expect(end).toMatchObject({
      type: 'failed',
      error: { code: 'script_ended', retryable: false },
      model: 'script/play.yaml',
    });
    expect(end.type === 'failed' && end.error.message).toContain('1 turns');
  });

  it('reasons, speaks and calls tools, in pieces of the size it is told', async () => {
    const { chunks, end } = await play(
      'turns: [{ reasoning: hmm, text: "a😀bc", chunk: 2, tool_calls: [{ name: bash, arguments: { command: date } }, { name: odd, arguments: "{half" }, { name: none }] }]',
    );
    const deltas = chunks.flatMap((chunk) =>
      chunk.type === 'text' || chunk.type === 'reasoning' ? [chunk.text] : [],
    );
    expect(deltas).toEqual(['hm', 'm', 'a😀', 'bc']);
    expect(end).toMatchObject({
      type: 'done',
      content: [
        { type: 'reasoning', text: 'hmm' },
        { type: 'text', text: 'a😀bc' },
      ],
      toolCalls: [
        { provider_call_id: 'script_1_1', name: 'bash', arguments: { command: 'date' } },
        { provider_call_id: 'script_1_2', name: 'odd', arguments: '{half' },
        { provider_call_id: 'script_1_3', name: 'none', arguments: {} },
      ],
      finishReason: 'tool_calls',
    });
  });

  it('fails as it is told, after what it had to say', async () => {
    const { text, end } = await play(
      'turns: [{ text: half, error: { code: model_overloaded, message: later, retryable: true } }]',
    );
    expect(text).toBe('half');
    expect(end).toMatchObject({
      error: { code: 'model_overloaded', message: 'later', retryable: true },
    });
  });

  it.each([
    ['turns: [{ text: 1 }]', 'turns[0].text'],
    ['turns: [{ text: a }, { tool_calls: [{ arguments: {} }] }]', 'turns[1].tool_calls[0].name'],
    ['turns: [{ txt: a }]', 'txt'],
    ['turn: []', 'turns'],
    ['', 'play.yaml'],
    ['turns: [', 'play.yaml'],
  ])('names the place of a fault: %s', async (yaml, place) => {
    const { end } = await play(yaml);
    expect(end).toMatchObject({ error: { code: 'script_invalid', retryable: false } });
    if (place !== 'play.yaml') expect(end.type === 'failed' && end.error.message).toContain(place);
  });

  it('reports a file that is not there', async () => {
    const ref = modelRef('script', path.join(directory, 'nowhere.yaml'));
    const { end } = await finishCall(models, modelRequest(ref));
    expect(end).toMatchObject({ error: { code: 'script_invalid' } });
    expect(end.type === 'failed' && end.error.message).toContain('nowhere.yaml');
  });
});
