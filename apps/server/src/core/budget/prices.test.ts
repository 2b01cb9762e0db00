import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { costOf, largestCost } from './cost.ts';
import { clampNanos, dollarsText, nanosOf, usdOf } from './money.ts';
import { listPrices } from './price-table.ts';
import { hasPrice, priceOf, type PricedModel, priceTableSchema } from './prices.ts';

function model(provider: PricedModel['provider'], name: string, baseUrl: string | null = null) {
  return { provider, name, baseUrl };
}

const other = { input: 7, output: 8, cacheRead: 7, cacheWrite: 7 };

describe('the price of a model', () => {
  it.each([
    ['claude-sonnet-4-5', 3, 15],
    ['claude-sonnet-4-5-20250929', 3, 15],
    ['claude-sonnet-4-20250514', 3, 15],
    ['claude-opus-4-20250514', 15, 75],
    ['claude-opus-4-5', 5, 25],
    ['claude-3-5-haiku-latest', 0.8, 4],
  ])('of Anthropic: %s costs %d and %d', (name, input, output) => {
    expect(priceOf(model('anthropic', name), {})).toMatchObject({ input, output });
  });

  it.each([
    ['gpt-5', 1.25],
    ['gpt-5-mini', 0.25],
    ['gpt-5-mini-2025-08-07', 0.25],
    ['gpt-5.1', 1.25],
    ['gpt-5.2', 1.75],
    ['gpt-4o', 2.5],
    ['gpt-4o-2024-05-13', 5],
    ['gpt-4o-2024-11-20', 2.5],
    ['gpt-4o-mini', 0.15],
  ])('of OpenAI: %s costs %d', (name, input) => {
    expect(priceOf(model('openai', name), {})?.input).toBe(input);
  });

  it('is not guessed from an older or another model of the family', () => {
    for (const name of ['gpt-5.9', 'gpt-50', 'gpt-5-max', 'gpt-4o-realtime', 'GPT-5', '']) {
      expect(priceOf(model('openai', name), {})).toBeNull();
    }
    expect(priceOf(model('anthropic', 'claude-sonnet-4-9'), {})).toBeNull();
    expect(priceOf(model('openrouter', 'anthropic/claude-sonnet-4.5:online'), {})).toBeNull();
  });

  it.each([
    model('ollama', 'llama3'),
    model('ollama', 'llama3', 'http://10.0.0.5:11434/v1'),
    model('echo', ''),
    model('script', '/x.yaml'),
    model('openai-compatible', 'm', 'http://127.0.0.1:8000/v1'),
    model('openai-compatible', 'm', 'http://localhost/v1'),
    model('openai-compatible', 'm', 'http://[::1]:1/v1'),
    model('openrouter', 'qwen/qwen3:free'),
  ])('is nothing for $provider $name at $baseUrl', (one) => {
    expect(priceOf(one, {})).toMatchObject({ input: 0, output: 0 });
  });

  it.each([
    'https://api.example.com/v1',
    'http://127.0.0.1.example.com/v1',
    'http://localhost.example.com',
    'http://10.0.0.1/v1',
  ])('is not known for what speaks like OpenAI at %s', (url) => {
    expect(priceOf(model('openai-compatible', 'm', url), {})).toBeNull();
  });

  it('is what the configuration says, by the longest of its keys and of the list', () => {
    const table = { 'openai/gpt-5': other, 'openrouter/x/': other, 'ollama/big': other };
    const input = (provider: PricedModel['provider'], name: string) =>
      priceOf(model(provider, name), table)?.input;
    expect(input('openai', 'gpt-5')).toBe(7);
    expect(input('openai', 'gpt-5-max')).toBe(7);
    expect(input('openai', 'gpt-5@x')).toBe(7);
    expect(input('openai', 'gpt-5.9')).toBeUndefined();
    expect(input('openai', 'gpt-50')).toBeUndefined();
    expect(input('openai', 'gpt-5-mini')).toBe(0.25);
    expect(input('openrouter', 'x/anything')).toBe(7);
    expect(input('openrouter', 'x/y:free')).toBe(7);
    expect(input('ollama', 'big:70b')).toBe(7);
    expect(input('ollama', 'small')).toBe(0);
    const both = { 'openrouter/x/': other, 'openrouter/x/y': { ...other, input: 9 } };
    expect(priceOf(model('openrouter', 'x/y-z'), both)?.input).toBe(9);
  });

  it('is known of all that `auto` may choose', () => {
    expect(hasPrice(model('auto', ''), {})).toBe(true);
    for (const one of [
      model('anthropic', 'claude-sonnet-4-5'),
      model('openai', 'gpt-5-mini'),
      model('openrouter', 'anthropic/claude-sonnet-4.5'),
    ]) {
      expect(hasPrice(one, {})).toBe(true);
    }
  });

  it('is never less for output than for input, nor for a cache that is read than nothing', () => {
    for (const [name, price] of Object.entries(listPrices)) {
      expect([name, price.output > price.input && price.cacheRead > 0]).toEqual([name, true]);
      expect([name, price.cacheRead <= price.input, price.cacheWrite >= price.input]).toEqual([
        name,
        true,
        true,
      ]);
    }
  });
});

describe('models.prices', () => {
  it('takes what is left out for the dearest that is usual', () => {
    expect(priceTableSchema.parse({ 'openai/x': { input: 4, output: 8 } })).toEqual({
      'openai/x': { input: 4, output: 8, cacheRead: 4, cacheWrite: 5 },
    });
  });

  it.each([
    { 'gpt-5': { input: 1, output: 1 } },
    { 'opnai/gpt-5': { input: 1, output: 1 } },
    { 'openai/x': { input: 1 } },
    { 'openai/x': { input: -1, output: 1 } },
    { 'openai/x': { input: Infinity, output: 1 } },
    { 'openai/x': { input: 1, output: 1, cached: 1 } },
  ])('refuses %j', (table) => {
    expect(priceTableSchema.safeParse(table).success).toBe(false);
  });
});

describe('what a call cost', () => {
  const sonnet = { input: 3, output: 15, cacheRead: 0.3, cacheWrite: 3.75 };

  it('counts each token where it was counted', () => {
    const usage = {
      input_tokens: 1_000_000,
      cache_read_tokens: 400_000,
      cache_write_tokens: 100_000,
      output_tokens: 10_000,
    };
    expect(usdOf(costOf(usage, sonnet))).toBe(1.5 + 0.12 + 0.375 + 0.15);
  });

  it('is not less than nothing for a server that counts its cache beside the input', () => {
    const usage = { input_tokens: 10, cache_read_tokens: 1_000_000, output_tokens: 0 };
    expect(usdOf(costOf(usage, sonnet))).toBe(0.3);
  });

  it('is the most that can be counted where a server makes numbers up', () => {
    const usage = { input_tokens: Number.MAX_SAFE_INTEGER, output_tokens: Number.MAX_SAFE_INTEGER };
    expect(costOf(usage, sonnet)).toBe(Number.MAX_SAFE_INTEGER);
    expect(clampNanos(Number.NaN)).toBe(Number.MAX_SAFE_INTEGER);
  });

  test('is never more than the largest cost of a call that kept to what was reserved', () => {
    const tokens = fc.nat(300_000);
    const dollars = fc.double({ min: 0, max: 200, noNaN: true });
    const price = fc.record({
      input: dollars,
      output: dollars,
      cacheRead: dollars,
      cacheWrite: dollars,
    });
    fc.assert(
      fc.property(price, tokens, tokens, tokens, tokens, (one, plain, read, written, output) => {
        const input = plain + read + written;
        const usage = {
          input_tokens: input,
          cache_read_tokens: read,
          cache_write_tokens: written,
          output_tokens: output,
        };
        const most = largestCost({ inputTokens: input, maxOutputTokens: output }, one);
        expect(costOf(usage, one)).toBeLessThanOrEqual(most);
      }),
    );
  });
});

describe('amounts', () => {
  it.each([
    [0, '$0.00'],
    [5, '$5.00'],
    [0.01, '$0.01'],
    [1234.567, '$1234.57'],
    [0.0012, '$0.0012'],
    [0.00061, '$0.00061'],
    [0.000000001, '$0.000000001'],
  ])('%d is read as %s', (usd, text) => {
    expect(dollarsText(nanosOf(usd))).toBe(text);
  });

  test('of calls add up exactly', () => {
    let sum = 0;
    for (let i = 0; i < 1_000; i += 1) sum += nanosOf(0.0001);
    expect(usdOf(sum)).toBe(0.1);
  });
});
