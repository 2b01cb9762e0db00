import { setImmediate as nextTick, setTimeout as delay } from 'node:timers/promises';
import type { FilePart, Usage } from '@duragent/protocol';
import type { ModelChunk, ModelRequest, ModelToolCall } from '../../ports/language-model.ts';
import { abortedFailure } from './failures.ts';

/** The longest pause between words that `delay-<ms>` may ask for, in ms. */
const MAX_DELAY_MS = 60_000;
/** Words that come together where nobody asked for a pause between them. */
const WORDS_AT_ONCE = 4;
/** Pieces between which the event loop does not run: it costs as much as several of them. */
const PIECES_AT_ONCE = 16;

/**
 * A model that needs no key and no network: it answers with the last thing it was told, a few words
 * at a time, and says what it is. `!bash {"command":"date"}` makes it call the tool `bash`; after
 * tool results it answers with them. The model name `delay-<ms>` pauses that long before each
 * word, for trying what happens while an answer streams; any other name means nothing.
 */
export function streamEcho(
  request: ModelRequest,
  { signal }: { signal: AbortSignal },
): AsyncGenerator<ModelChunk, void, undefined> {
  const model = `echo/${request.model.name === '' ? 'echo' : request.model.name}`;
  const call = askedCall(request);
  const text = call === null ? `echo (no model is configured): ${lastTold(request)}` : '';
  const delayMs = delayOf(request.model.name);
  const pieces = words(text, delayMs > 0 ? 1 : WORDS_AT_ONCE).map((piece) => ({
    type: 'text' as const,
    text: piece,
  }));
  return streamPieces(pieces, { signal, model, delayMs }, () => ({
    type: 'done',
    content: text === '' ? [] : [{ type: 'text', text }, ...lastFiles(request)],
    toolCalls: call === null ? [] : [call],
    finishReason: call === null ? 'stop' : 'tool_calls',
    usage: estimateUsage(request, text + (call === null ? '' : JSON.stringify(call.arguments))),
    model,
  }));
}

/**
 * Yields pieces as deltas, and then `end`; lets the event loop run before the first and after every
 * few. When the signal aborts it ends with the `failed` that the port asks for.
 */
export async function* streamPieces(
  pieces: readonly Piece[],
  { signal, model, delayMs }: { signal: AbortSignal; model: string; delayMs: number },
  end: () => ModelChunk,
): AsyncGenerator<ModelChunk, void, undefined> {
  let count = 0;
  for (const piece of pieces) {
    // An abort ends the pause; what it means is decided below.
    if (delayMs > 0) await delay(delayMs, undefined, { signal }).catch(() => undefined);
    else if (count % PIECES_AT_ONCE === 0) await nextTick();
    if (signal.aborted) break;
    count += 1;
    yield piece;
  }
  yield signal.aborted ? { type: 'failed', error: abortedFailure(), model } : end();
}

/** A piece of what a model says or thinks. */
export type Piece = Extract<ModelChunk, { type: 'text' | 'reasoning' }>;

/** The text cut after each run of spaces, or after so many of them. */
export function words(text: string, count = 1): string[] {
  const all = text.match(/\S*\s+|\S+/g) ?? [];
  if (count === 1) return all;
  const groups: string[] = [];
  for (let at = 0; at < all.length; at += count) groups.push(all.slice(at, at + count).join(''));
  return groups;
}

/** Tokens as bytes / 4, where nobody counts them. */
export function estimateUsage({ inputTokens }: ModelRequest, output: string): Usage {
  return {
    input_tokens: inputTokens,
    output_tokens: Math.ceil(Buffer.byteLength(output) / 4),
  };
}

/** What was said last: the results of tools, or the user's text. */
function lastTold(request: ModelRequest): string {
  const last = request.messages.at(-1);
  if (last?.role === 'tool') return last.results.map((result) => result.content).join('\n');
  return request.messages.findLast((message) => message.role === 'user')?.text ?? '';
}

/** The files of the message that it answers come back with the answer. */
function lastFiles(request: ModelRequest): FilePart[] {
  const last = request.messages.at(-1);
  return last?.role === 'user' ? (last.files ?? []) : [];
}

function askedCall(request: ModelRequest): ModelToolCall | null {
  const last = request.messages.at(-1);
  if (last?.role !== 'user') return null;
  const match = /^\s*!([\w.:-]{1,128})\s+(\{.*\})\s*$/s.exec(last.text);
  if (match === null) return null;
  const [, name = '', text = ''] = match;
  return {
    // Unlike any other in this conversation, and the same when the call is tried again.
    provider_call_id: `echo_${request.messages.length}`,
    name,
    arguments: parse(text),
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // The port's promise for arguments that are no JSON: the raw text.
    return text;
  }
}

function delayOf(name: string): number {
  const match = /^delay-(\d{1,6})$/.exec(name);
  return match === null ? 0 : Math.min(Number(match[1]), MAX_DELAY_MS);
}
