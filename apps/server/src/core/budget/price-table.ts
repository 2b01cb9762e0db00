import type { Price } from './prices.ts';

/** US dollars per million tokens; OpenAI and Google bill nothing beside the input for writing their caches. */
function price(input: number, output: number, cacheRead = input, cacheWrite = input): Price {
  return { input, output, cacheRead, cacheWrite };
}

/** Anthropic's caches: a tenth to read, a quarter more to write (for five minutes). */
function cached(input: number, output: number): Price {
  return price(input, output, round(input * 0.1), round(input * 1.25));
}

function round(usd: number): number {
  return Math.round(usd * 1e6) / 1e6;
}

const opus = cached(15, 75);
const newOpus = cached(5, 25);
const sonnet = cached(3, 15);
const gpt5 = price(1.25, 10, 0.125);
const gpt5Mini = price(0.25, 2, 0.025);
const gpt5Nano = price(0.05, 0.4, 0.005);
const gpt52 = price(1.75, 14, 0.175);
const gpt41 = price(2, 8, 0.5);
const gpt41Mini = price(0.4, 1.6, 0.1);
const gpt41Nano = price(0.1, 0.4, 0.025);
const gpt4o = price(2.5, 10, 1.25);
const gpt4oMini = price(0.15, 0.6, 0.075);
const o3 = price(2, 8, 0.5);
const o4Mini = price(1.1, 4.4, 0.275);

/**
 * List prices by `<provider>/<name>`, as the providers published them up to January 2026, without
 * discounts for batches and surcharges for very long prompts. A model is here by its full name only:
 * a newer one of the same family has its own price. Of OpenRouter there are those whose price does
 * not depend on who serves them.
 */
export const listPrices: Readonly<Record<string, Price>> = {
  'anthropic/claude-opus-4-5': newOpus,
  'anthropic/claude-opus-4-1': opus,
  'anthropic/claude-opus-4-0': opus,
  'anthropic/claude-opus-4': opus,
  'anthropic/claude-sonnet-4-5': sonnet,
  'anthropic/claude-sonnet-4-0': sonnet,
  'anthropic/claude-sonnet-4': sonnet,
  'anthropic/claude-haiku-4-5': cached(1, 5),
  'anthropic/claude-3-7-sonnet': sonnet,
  'anthropic/claude-3-5-sonnet': sonnet,
  'anthropic/claude-3-5-haiku': cached(0.8, 4),
  'anthropic/claude-3-opus': opus,
  'anthropic/claude-3-haiku': price(0.25, 1.25, 0.03, 0.3),

  'openai/gpt-5.2': gpt52,
  'openai/gpt-5.2-chat': gpt52,
  'openai/gpt-5.2-pro': price(21, 168),
  'openai/gpt-5.1': gpt5,
  'openai/gpt-5.1-chat': gpt5,
  'openai/gpt-5.1-codex': gpt5,
  'openai/gpt-5.1-codex-mini': gpt5Mini,
  'openai/gpt-5': gpt5,
  'openai/gpt-5-chat': gpt5,
  'openai/gpt-5-codex': gpt5,
  'openai/gpt-5-mini': gpt5Mini,
  'openai/gpt-5-nano': gpt5Nano,
  'openai/gpt-5-pro': price(15, 120),
  'openai/gpt-4.1': gpt41,
  'openai/gpt-4.1-mini': gpt41Mini,
  'openai/gpt-4.1-nano': gpt41Nano,
  'openai/gpt-4o-2024-05-13': price(5, 15),
  'openai/gpt-4o': gpt4o,
  'openai/chatgpt-4o': price(5, 15),
  'openai/gpt-4o-mini': gpt4oMini,
  'openai/gpt-4-turbo': price(10, 30),
  'openai/gpt-3.5-turbo': price(0.5, 1.5),
  'openai/o4-mini': o4Mini,
  'openai/o3': o3,
  'openai/o3-mini': price(1.1, 4.4, 0.55),
  'openai/o3-pro': price(20, 80),
  'openai/o1': price(15, 60, 7.5),

  'openrouter/anthropic/claude-opus-4.5': newOpus,
  'openrouter/anthropic/claude-opus-4.1': opus,
  'openrouter/anthropic/claude-opus-4': opus,
  'openrouter/anthropic/claude-sonnet-4.5': sonnet,
  'openrouter/anthropic/claude-sonnet-4': sonnet,
  'openrouter/anthropic/claude-haiku-4.5': cached(1, 5),
  'openrouter/anthropic/claude-3.7-sonnet': sonnet,
  'openrouter/anthropic/claude-3.5-haiku': cached(0.8, 4),
  'openrouter/openai/gpt-5.2': gpt52,
  'openrouter/openai/gpt-5.1': gpt5,
  'openrouter/openai/gpt-5': gpt5,
  'openrouter/openai/gpt-5-mini': gpt5Mini,
  'openrouter/openai/gpt-5-nano': gpt5Nano,
  'openrouter/openai/gpt-4.1': gpt41,
  'openrouter/openai/gpt-4.1-mini': gpt41Mini,
  'openrouter/openai/gpt-4.1-nano': gpt41Nano,
  'openrouter/openai/gpt-4o': gpt4o,
  'openrouter/openai/gpt-4o-mini': gpt4oMini,
  'openrouter/openai/o4-mini': o4Mini,
  'openrouter/openai/o3': o3,
  // Up to prompts of 200,000 tokens, which an agent's history stays below.
  'openrouter/google/gemini-2.5-pro': price(1.25, 10),
  'openrouter/google/gemini-2.5-flash': price(0.3, 2.5),
  'openrouter/google/gemini-2.5-flash-lite': price(0.1, 0.4),
};
