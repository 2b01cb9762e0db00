import type { LanguageModelV4, LanguageModelV4CallOptions } from '@ai-sdk/provider';
import type { ModelChunk, ModelRequest, ToolSpec } from '../../ports/language-model.ts';
import { Answer } from './ai-sdk-answer.ts';
import { toPrompt } from './ai-sdk-prompt.ts';
import { abortedFailure, badAnswer, toFailure, type CallContext } from './failures.ts';
import { toolNamed, wireName } from './tool-names.ts';

/** What opens one model: its provider's name for it, the API's root, and the key. */
export interface SdkModelOptions {
  name: string;
  baseUrl: string;
  apiKey: string;
}

/** A model of the AI SDK, opened with one key at one address. */
export interface SdkModel {
  model: LanguageModelV4;
  /**
   * Which reasoning goes back: that with this provider's metadata, `plain` (that of servers which
   * give none), or none. What another one reasoned is refused by some, and understood by none.
   */
  reasoning: 'anthropic' | 'openrouter' | 'plain' | 'none';
  /** The key of the options that mark what the provider is to cache; null: it needs no marks. */
  cacheMarks: 'anthropic' | 'openrouter' | null;
}

/** How long a body may take to end after its finish, so that its connection can be used again, in ms. */
const END_GRACE_MS = 250;

/**
 * One call through the AI SDK, as the port `LanguageModel.stream` promises it: never throws, ends
 * in one `done` or `failed`, and leaves no connection open, whatever the server sends.
 */
export async function* streamSdkModel(
  sdk: SdkModel,
  request: ModelRequest,
  context: CallContext,
  signal: AbortSignal,
): AsyncGenerator<ModelChunk, void, undefined> {
  const model = `${context.provider}/${request.model.name}`;
  if (signal.aborted) {
    yield { type: 'failed', error: abortedFailure(), model };
    return;
  }
  // The SDK does not always cancel the body when it gives up; aborting a signal of our own does.
  const call = new AbortController();
  const abort = (): void => call.abort(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  const answer = new Answer();
  let headers: Record<string, string> | undefined;
  let ended = false;
  try {
    const options = callOptions(sdk, request, call.signal);
    const { stream, response } = await sdk.model.doStream(options);
    headers = response?.headers;
    const reader = stream.getReader();
    while (answer.finish === null && !signal.aborted) {
      const { done, value } = await reader.read();
      if (done) {
        ended = true;
        break;
      }
      if (value.type === 'error') throw value.error;
      const chunk = answer.take(value);
      if (chunk !== null) yield chunk;
    }
    if (signal.aborted) {
      yield { type: 'failed', error: abortedFailure(), model, ...answer.usage() };
      return;
    }
    if (answer.finish === null || answer.finish.raw === undefined) {
      const error = badAnswer(context, 'an answer without an end', headers);
      yield { type: 'failed', error, model, ...answer.usage() };
      return;
    }
    if (!ended) ended = await drained(reader);
    const { toolCalls, ...said } = answer.content();
    const calls = toolCalls.map((asked) => ({
      ...asked,
      name: toolNamed(request.tools, asked.name),
    }));
    yield { type: 'done', ...said, toolCalls: calls, ...answer.usage(), model };
  } catch (error) {
    const failure = signal.aborted ? abortedFailure() : toFailure(error, context, headers);
    yield { type: 'failed', error: failure, model, ...answer.usage() };
  } finally {
    signal.removeEventListener('abort', abort);
    if (!ended) call.abort();
  }
}

function callOptions(
  sdk: SdkModel,
  request: ModelRequest,
  abortSignal: AbortSignal,
): LanguageModelV4CallOptions {
  const options: LanguageModelV4CallOptions = {
    prompt: toPrompt(request, sdk),
    maxOutputTokens: request.model.maxOutputTokens,
    abortSignal,
  };
  if (request.model.temperature !== null) options.temperature = request.model.temperature;
  if (request.tools.length > 0) options.tools = request.tools.map(toTool);
  return options;
}

function toTool(tool: ToolSpec): NonNullable<LanguageModelV4CallOptions['tools']>[number] {
  return {
    type: 'function',
    name: wireName(tool.name),
    description: tool.description,
    inputSchema: tool.parameters,
  };
}

/** Reads a finished body to its end, for a short time; whether it ended. */
async function drained(reader: ReadableStreamDefaultReader): Promise<boolean> {
  const rest = async (): Promise<boolean> => {
    try {
      while (!(await reader.read()).done);
    } catch {
      // The answer is whole: how its connection ends does not matter any more.
      return false;
    }
    return true;
  };
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => late.resolve(false), END_GRACE_MS);
  const ended = await Promise.race([rest(), late.promise]);
  clearTimeout(timer);
  return ended;
}
