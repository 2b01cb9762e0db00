import type {
  LanguageModelV4FinishReason,
  LanguageModelV4StreamPart,
  LanguageModelV4Usage,
  SharedV4ProviderMetadata,
} from '@ai-sdk/provider';
import type { AssistantPart, ReasoningPart, TextPart, Usage } from '@duragent/protocol';
import type { ModelChunk, ModelToolCall } from '../../ports/language-model.ts';

type Block = (TextPart | ReasoningPart) & { provider_metadata?: SharedV4ProviderMetadata };
interface Call {
  id: string;
  name: string;
  /** The arguments as they streamed. */
  streamed: string;
  /** The arguments as the SDK gives them in the end. */
  input: string;
  metadata?: SharedV4ProviderMetadata | undefined;
}

/** The answer as it comes in: parts of the SDK in, chunks of the port out, the whole at the end. */
export class Answer {
  finish: LanguageModelV4FinishReason | null = null;
  readonly #blocks: Block[] = [];
  /** The block that a text or reasoning id means now; ids come again. */
  readonly #texts = new Map<string, Block>();
  readonly #reasonings = new Map<string, Block>();
  readonly #calls = new Map<string, Call>();
  #usage: Usage | undefined;

  take(part: LanguageModelV4StreamPart): ModelChunk | null {
    switch (part.type) {
      case 'text-delta':
        return this.#add(this.#texts, 'text', part);
      case 'reasoning-delta':
        return this.#add(this.#reasonings, 'reasoning', part);
      case 'text-start':
        this.#open(this.#texts, 'text', part);
        return null;
      case 'reasoning-start':
        this.#open(this.#reasonings, 'reasoning', part);
        return null;
      case 'text-end':
        keep(this.#texts.get(part.id), part.providerMetadata);
        return null;
      case 'reasoning-end':
        keep(this.#reasonings.get(part.id), part.providerMetadata);
        return null;
      case 'tool-input-start':
        this.#call(part.id, part.toolName);
        return null;
      case 'tool-input-delta':
        this.#call(part.id, '').streamed += part.delta;
        return null;
      case 'tool-call': {
        const call = this.#call(part.toolCallId, part.toolName);
        call.name = part.toolName;
        call.input = part.input;
        call.metadata = part.providerMetadata;
        return null;
      }
      case 'finish':
        this.finish = part.finishReason;
        this.#usage = toUsage(part.usage);
        return null;
      default:
        return null;
    }
  }

  usage(): { usage?: Usage } {
    return this.#usage === undefined ? {} : { usage: this.#usage };
  }

  /** The whole answer; a block stays when it says something, to people or to its provider. */
  content(): { content: AssistantPart[]; toolCalls: ModelToolCall[]; finishReason: string } {
    const content = this.#blocks.filter(
      (block) => block.text !== '' || block.provider_metadata !== undefined,
    );
    // Deltas may cut a surrogate pair; what is still half at the end would not survive as UTF-8.
    for (const block of content) block.text = block.text.toWellFormed();
    return {
      content,
      toolCalls: [...this.#calls.values()].map(toToolCall),
      finishReason: finishReasons[this.finish?.unified ?? 'other'] ?? 'other',
    };
  }

  #open(
    blocks: Map<string, Block>,
    type: Block['type'],
    part: { id: string; providerMetadata?: SharedV4ProviderMetadata },
  ): Block {
    const block: Block = { type, text: '' };
    keep(block, part.providerMetadata);
    blocks.set(part.id, block);
    this.#blocks.push(block);
    return block;
  }

  #add(
    blocks: Map<string, Block>,
    type: Block['type'],
    part: { id: string; delta: string; providerMetadata?: SharedV4ProviderMetadata },
  ): ModelChunk | null {
    const block = blocks.get(part.id) ?? this.#open(blocks, type, part);
    if (part.providerMetadata !== undefined) keep(block, part.providerMetadata);
    if (part.delta === '') return null;
    block.text += part.delta;
    return { type, text: part.delta };
  }

  #call(id: string, name: string): Call {
    let call = this.#calls.get(id);
    if (call === undefined) {
      call = { id, name, streamed: '', input: '' };
      this.#calls.set(id, call);
    }
    return call;
  }
}

/** The newest metadata of a block holds: a signature comes with its last delta. */
function keep(block: Block | undefined, metadata: SharedV4ProviderMetadata | undefined): void {
  if (block !== undefined && metadata !== undefined) block.provider_metadata = metadata;
}

function toToolCall(call: Call): ModelToolCall {
  // What streamed is the truth: OpenRouter's package gives `{}` for arguments that do not parse.
  const text = call.streamed === '' ? call.input : call.streamed;
  const result: ModelToolCall = {
    provider_call_id: call.id,
    name: call.name,
    arguments: parseArguments(text),
  };
  if (call.metadata !== undefined) result.provider_metadata = call.metadata;
  return result;
}

/** Tools without parameters are often called with no text at all. */
function parseArguments(text: string): unknown {
  if (text.trim() === '') return {};
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // The port's promise for half a JSON: the raw text.
    return text.toWellFormed();
  }
}

const finishReasons: Partial<Record<LanguageModelV4FinishReason['unified'], string>> = {
  stop: 'stop',
  length: 'length',
  'tool-calls': 'tool_calls',
  'content-filter': 'content_filter',
};

function toUsage({ inputTokens, outputTokens }: LanguageModelV4Usage): Usage | undefined {
  if (inputTokens.total === undefined && outputTokens.total === undefined) return undefined;
  const usage: Usage = {
    input_tokens: count(inputTokens.total),
    output_tokens: count(outputTokens.total),
  };
  if (inputTokens.cacheRead !== undefined) usage.cache_read_tokens = count(inputTokens.cacheRead);
  if (inputTokens.cacheWrite !== undefined) {
    usage.cache_write_tokens = count(inputTokens.cacheWrite);
  }
  if (outputTokens.reasoning !== undefined) {
    usage.reasoning_tokens = count(outputTokens.reasoning);
  }
  return usage;
}

/** A count as a record may hold it, whatever the server made up. */
function count(tokens: number | undefined): number {
  if (tokens === undefined || Number.isNaN(tokens)) return 0;
  return Math.min(Math.max(0, Math.round(tokens)), Number.MAX_SAFE_INTEGER);
}
