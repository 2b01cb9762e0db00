import type { ModelFailure } from '../../ports/language-model.ts';
import { AnswerTooLargeError } from './guarded-fetch.ts';

/** What the message of a failure may tell about the call. */
export interface CallContext {
  provider: string;
  /** The model's name at the provider. */
  name: string;
  /** Host and port of the server. */
  host: string;
  /** The variable that holds the key; null where there is none. */
  keyVariable: string | null;
  /** The key, to keep it out of messages. */
  apiKey: string | undefined;
}

/** The longest text of a provider in a message, in characters. */
const MAX_PROVIDER_TEXT = 500;

/** Retry-After beyond this is not believed, in ms. */
const MAX_RETRY_AFTER_MS = 24 * 60 * 60 * 1000;

export function abortedFailure(): ModelFailure {
  return { code: 'aborted', message: 'The call was stopped before its end.', retryable: false };
}

/** An answer that makes no sense; `headers` tell a web page from a broken stream. */
export function badAnswer(
  context: CallContext,
  what: string,
  headers?: Record<string, string>,
): ModelFailure {
  const type = headers?.['content-type'] ?? '';
  const page = type.includes('text/html') ? ' It looks like a web page: check base_url.' : '';
  return {
    code: 'model_bad_answer',
    message: `${context.provider} at ${context.host} sent ${what}.${page} Try again; if it stays, check the server.`,
    retryable: true,
  };
}

/**
 * Says what went wrong with a call, and whether the same call may succeed later. `headers` are those
 * of an answer that had begun. Never throws.
 */
export function toFailure(
  error: unknown,
  context: CallContext,
  headers?: Record<string, string>,
): ModelFailure {
  if (causes(error).some((cause) => cause instanceof AnswerTooLargeError)) {
    return badAnswer(context, 'an answer without bounds');
  }
  const status = statusOf(error);
  // A body that breaks off has the status 200 of its headers.
  if (status !== null && (status < 200 || status > 299)) return ofStatus(status, error, context);
  const network = networkCode(error);
  if (network !== null) return unreachable(network, context);
  // An error inside of a stream says what it is in words only.
  const word = errorWord(error);
  if (word !== null) {
    const meant = meaningOf(word);
    if (meant !== null) return ofStatus(meant, error, context);
    const text = providerText(error, context);
    const message = `${context.provider} broke off its answer: ${text} Try again.`;
    return { code: 'model_unavailable', message, retryable: true };
  }
  return badAnswer(context, 'an answer that cannot be read', headers);
}

function ofStatus(status: number, error: unknown, context: CallContext): ModelFailure {
  const { provider, name, host, keyVariable } = context;
  const text = providerText(error, context);
  const refused = (hint: string): ModelFailure => ({
    code: 'model_refused_request',
    message: `${provider} refused the request (HTTP ${status}): ${text} ${hint}`,
    retryable: false,
  });
  if (status === 429) {
    const empty = /insufficient_quota|billing/.test(errorWord(error) ?? '');
    return {
      code: 'model_rate_limited',
      message: empty
        ? `${provider} has no quota left for this key: ${text} Add credit, or use another model.`
        : `${provider} limits the rate of requests: ${text} Wait, or raise the account's limit.`,
      retryable: !empty,
      ...retryAfter(error),
    };
  }
  if (status === 401 || status === 403) {
    const where = keyVariable === null ? "the agent's key" : keyVariable;
    const message = `${provider} refused the API key (HTTP ${status}): ${text} Check ${where}.`;
    return { code: 'model_unauthorized', message, retryable: false };
  }
  if (status === 404) {
    const hint = provider === 'ollama' ? ` Run "ollama pull ${name}"?` : '';
    const message = `${provider} at ${host} has no model "${name}": ${text}${hint} Check the model's name and base_url.`;
    return { code: 'model_not_found', message, retryable: false };
  }
  if (status < 400) {
    // Redirects are not followed: the key would go to whoever they name.
    const message = `${provider} at ${host} sends elsewhere (HTTP ${status}). Set base_url to the final address.`;
    return { code: 'model_not_found', message, retryable: false };
  }
  if (status >= 500 || status === 408 || status === 409 || status === 425) {
    const overloaded = status === 529 || status === 503;
    return {
      code: overloaded ? 'model_overloaded' : 'model_unavailable',
      message: overloaded
        ? `${provider} is overloaded (HTTP ${status}): ${text} Wait, or use another model.`
        : `${provider} failed (HTTP ${status}): ${text} Try again later.`,
      retryable: true,
      ...retryAfter(error),
    };
  }
  if (status === 402) return refused('Add credit to the account, or use another model.');
  return refused('Change the request or the model.');
}

function unreachable(code: string, context: CallContext): ModelFailure {
  const { provider, host } = context;
  const cut = code === 'terminated' || code === 'UND_ERR_SOCKET' || code === 'ECONNRESET';
  const hint =
    provider === 'ollama' ? 'Is Ollama running there?' : 'Check the network and base_url.';
  return {
    code: 'model_unavailable',
    message: cut
      ? `The connection to ${provider} at ${host} was cut (${code}). Try again.`
      : `${provider} at ${host} cannot be reached (${code}). ${hint}`,
    retryable: true,
  };
}

/** The words that providers use for an error inside of a stream, as the status they mean. */
function meaningOf(word: string): number | null {
  if (/overloaded/.test(word)) return 529;
  if (/rate_limit|too_many|insufficient_quota/.test(word)) return 429;
  if (/authentication|invalid_api_key|permission/.test(word)) return 401;
  if (/not_found/.test(word)) return 404;
  if (/invalid_request|context_length|content_policy|too_large/.test(word)) return 400;
  return null;
}

/** The status of an HTTP answer, or one that a provider put into an error of its stream. */
function statusOf(error: unknown): number | null {
  for (const value of [field(error, 'statusCode'), field(error, 'code')]) {
    if (typeof value === 'number' && value >= 100 && value <= 599) return value;
  }
  return null;
}

/** The provider's own words for the error, its `type` and `code`; null for an error of the client code. */
function errorWord(error: unknown): string | null {
  const data = field(error, 'data');
  const body = field(data, 'error') ?? (error instanceof Error ? undefined : error);
  const words = [field(body, 'type'), field(body, 'code')].filter(
    (word) => typeof word === 'string' && word !== 'error',
  );
  if (words.length > 0) return words.join(' ').toLowerCase();
  // A provider's error object, not an error of the client code.
  return typeof field(body, 'message') === 'string' ? '' : null;
}

/** What the provider says, safe to show: no control characters, no key, at most 500 characters. */
function providerText(error: unknown, context: CallContext): string {
  const known = field(error, 'data') !== undefined || !(error instanceof Error);
  const body = field(error, 'responseBody');
  let text = field(error, 'message');
  if (!known && typeof body === 'string' && body !== '' && !body.trimStart().startsWith('<')) {
    text = body;
  }
  if (typeof text !== 'string' || text.trim() === '') return 'it does not say why.';
  const { apiKey } = context;
  // Bounded first: a body may be a megabyte. The key goes before the cut could halve it.
  let clean = text.slice(0, 64 * 1024);
  if (apiKey !== undefined && apiKey !== '') clean = clean.replaceAll(apiKey, '[the key]');
  clean = clean
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .slice(0, MAX_PROVIDER_TEXT)
    .toWellFormed();
  return /[.!?]$/.test(clean) ? clean : `${clean}.`;
}

/** What the server asked us to wait: `retry-after-ms`, or `retry-after` as seconds or date. */
function retryAfter(error: unknown): { retryAfterMs?: number } {
  const headers = field(error, 'responseHeaders');
  const ms = header(headers, 'retry-after-ms');
  const after = header(headers, 'retry-after');
  for (const wait of [
    ms === null ? Number.NaN : Number(ms),
    after === null ? Number.NaN : Number(after) * 1000,
    after === null ? Number.NaN : Date.parse(after) - Date.now(),
  ]) {
    if (Number.isFinite(wait)) {
      return { retryAfterMs: Math.min(Math.max(0, Math.round(wait)), MAX_RETRY_AFTER_MS) };
    }
  }
  return {};
}

function header(headers: unknown, name: string): string | null {
  const value = field(headers, name);
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : null;
}

/** The code of a failed or cut connection anywhere below the error. */
function networkCode(error: unknown): string | null {
  for (const cause of causes(error)) {
    const code = field(cause, 'code');
    if (typeof code === 'string' && /^(E[A-Z_]+|UND_ERR_[A-Z_]+)$/.test(code)) return code;
    if (cause instanceof TypeError && cause.message === 'terminated') return 'terminated';
  }
  // "fetch failed" without a code, such as a port that is never allowed.
  return field(error, 'isRetryable') === true && statusOf(error) === null ? 'no connection' : null;
}

/** The error and what caused it, at most a few levels. */
function causes(error: unknown): unknown[] {
  const chain: unknown[] = [];
  for (let at = error; at !== undefined && at !== null && chain.length < 8;) {
    chain.push(at);
    at = field(at, 'cause');
  }
  return chain;
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? (value as Record<string, unknown>)[name]
    : undefined;
}
