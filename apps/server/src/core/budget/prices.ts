import { z } from 'zod';
import type { ModelRef } from '../agent.ts';
import { listPrices } from './price-table.ts';

/** What a model's tokens cost, in US dollars per million. */
export interface Price {
  input: number;
  output: number;
  /** Input that the provider's cache had. */
  cacheRead: number;
  /** Input that was put into it. */
  cacheWrite: number;
}

/** Prices by `<provider>/<name>`, or by how several models' names begin. */
export type PriceTable = Readonly<Record<string, Price>>;

/** What a price depends on. */
export type PricedModel = Pick<ModelRef, 'provider' | 'name' | 'baseUrl'>;

const dollars = z.number().min(0).max(1_000_000);
const priceSchema = z
  .strictObject({
    input: dollars,
    output: dollars,
    cache_read: dollars.optional(),
    cache_write: dollars.optional(),
  })
  .transform(({ input, output, cache_read, cache_write }): Price => {
    // What was not written is taken for the dearest that is usual.
    return {
      input,
      output,
      cacheRead: cache_read ?? input,
      cacheWrite: cache_write ?? input * 1.25,
    };
  });

const KEY = 'write <provider>/<name>, such as anthropic/claude-sonnet-4-5';
const providers = 'anthropic|openai|openrouter|ollama|openai-compatible';
/** `models.prices` of duragent.yaml. */
export const priceTableSchema = z.record(
  z.string().regex(new RegExp(`^(?:${providers})/\\S{0,200}$`), KEY),
  priceSchema,
);

const FREE: Price = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 };

/**
 * What a model costs: by the table, else by the list prices, of several by the longest key; models
 * on this machine cost nothing, unless the table says so. null: it is not known.
 */
export function priceOf(model: PricedModel, table: PriceTable): Price | null {
  const name = `${model.provider}/${model.name}`;
  const own = longestKey(name, table, begins);
  const listed = longestKey(name, listPrices, isNamed);
  if (own !== null && (listed === null || own.length >= listed.length)) return table[own] ?? null;
  if (listed !== null) return listPrices[listed] ?? null;
  return isFree(model) ? FREE : null;
}

/** Whether its calls can be priced when they are made; `auto` only ever chooses models that can. */
export function hasPrice(model: PricedModel, table: PriceTable): boolean {
  return model.provider === 'auto' || priceOf(model, table) !== null;
}

function longestKey(
  name: string,
  table: PriceTable,
  fits: (name: string, key: string) => boolean,
): string | null {
  let longest: string | null = null;
  for (const key of Object.keys(table)) {
    if ((longest === null || key.length > longest.length) && fits(name, key)) longest = key;
  }
  return longest;
}

/** `a/b` is how `a/b`, `a/b-c`, `a/b:c` and `a/b@c` begin, but not `a/b.5` and `a/bc`. */
function begins(name: string, key: string): boolean {
  return (
    name.startsWith(key) && (key.endsWith('/') || /^(?:[-:@/]|$)/.test(name.slice(key.length)))
  );
}

/** A listed model, or a dated state of it. */
function isNamed(name: string, key: string): boolean {
  return (
    name.startsWith(key) && /^(?:[-@]\d{8}|-\d{4}-\d\d-\d\d|-latest)?$/.test(name.slice(key.length))
  );
}

function isFree({ provider, name, baseUrl }: PricedModel): boolean {
  if (provider === 'ollama' || provider === 'echo' || provider === 'script') return true;
  // OpenRouter's own word for a model that nobody pays for.
  if (provider === 'openrouter' && name.endsWith(':free')) return true;
  return baseUrl !== null && isLoopback(baseUrl);
}

function isLoopback(url: string): boolean {
  const host = URL.parse(url)?.hostname ?? '';
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
