import type {
  LanguageModelV4Message,
  LanguageModelV4Prompt,
  SharedV4ProviderOptions,
} from '@ai-sdk/provider';
import type { ReasoningPart, TextPart, ToolCall } from '@duragent/protocol';
import type { ModelMessage, ModelRequest } from '../../ports/language-model.ts';
import type { SdkModel } from './ai-sdk.ts';
import { wireName } from './tool-names.ts';

type AssistantContent = Extract<LanguageModelV4Message, { role: 'assistant' }>['content'];

/**
 * The request as the AI SDK's prompt. The same messages give the same prompt, so that an unchanged
 * beginning is sent byte-identical; metadata of a provider goes back as it came. The first message
 * and the last are marked for the cache: a call reads what the one before it wrote.
 */
export function toPrompt(
  request: ModelRequest,
  { reasoning, cacheMarks }: Pick<SdkModel, 'reasoning' | 'cacheMarks'>,
): LanguageModelV4Prompt {
  const prompt: LanguageModelV4Prompt = [];
  if (request.system !== '') prompt.push({ role: 'system', content: request.system });
  for (const message of request.messages) prompt.push(toMessage(message, reasoning));
  if (cacheMarks !== null) {
    for (const message of [prompt[0], prompt.at(-1)]) {
      if (message === undefined) continue;
      message.providerOptions = { [cacheMarks]: { cacheControl: { type: 'ephemeral' } } };
    }
  }
  return prompt;
}

function toMessage(
  message: ModelMessage,
  reasoning: SdkModel['reasoning'],
): LanguageModelV4Message {
  switch (message.role) {
    case 'user':
      return { role: 'user', content: [{ type: 'text', text: message.text }] };
    case 'assistant': {
      const content: AssistantContent = message.content
        .filter((part) => part.type !== 'file')
        .filter((part) => isTheirs(part, reasoning))
        .map((part) => ({ type: part.type, text: part.text, ...options(part) }));
      content.push(...message.toolCalls.map(toCallPart));
      return { role: 'assistant', content };
    }
    case 'tool':
      return {
        role: 'tool',
        content: message.results.map((result) => ({
          type: 'tool-result',
          toolCallId: result.providerCallId,
          toolName: wireName(result.name),
          output: { type: 'text', value: result.content },
        })),
      };
  }
}

function isTheirs(part: TextPart | ReasoningPart, reasoning: SdkModel['reasoning']): boolean {
  if (part.type === 'text') return true;
  if (part.provider_metadata === undefined) return reasoning === 'plain';
  return Object.hasOwn(part.provider_metadata, reasoning);
}

function toCallPart(call: ToolCall): AssistantContent[number] {
  return {
    type: 'tool-call',
    toolCallId: call.provider_call_id,
    toolName: wireName(call.name),
    // Every provider wants an object here, also where the model did not write one.
    input: isObject(call.arguments) ? call.arguments : { invalid_arguments: call.arguments },
    ...options(call),
  };
}

function options(part: { provider_metadata?: Record<string, unknown> | undefined }): {
  providerOptions?: SharedV4ProviderOptions;
} {
  if (part.provider_metadata === undefined) return {};
  // It came from the same SDK as JSON objects and was only stored between.
  return { providerOptions: part.provider_metadata as SharedV4ProviderOptions };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
