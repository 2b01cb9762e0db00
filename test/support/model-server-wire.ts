/** The two wire formats that the model server speaks. */
export type Wire = 'openai' | 'anthropic';

/** An answer of a model, whole: the server turns it into either wire format. */
export interface Answer {
  /** Deltas of text, or how many to make up. Default: 3. */
  tokens?: readonly string[] | number;
  /** Deltas of reasoning, before the text. */
  reasoning?: readonly string[];
  /** Signature of the reasoning (Anthropic thinking, OpenRouter reasoning details). */
  signature?: string;
  /** Data of a redacted thinking block, before everything else (Anthropic only). */
  redacted?: string;
  /** `arguments` goes out as JSON; a string goes out as it is, so it may be half of one. */
  toolCalls?: readonly { id: string; name: string; arguments: unknown }[];
  /** As the provider counts: for Anthropic `input` is without the cached tokens. */
  usage?: {
    input: number;
    output: number;
    cacheRead?: number;
    cacheWrite?: number;
    reasoning?: number;
  };
  /** Default: `tool_calls` with tool calls, else `stop`. */
  finish?: 'stop' | 'length' | 'tool_calls' | 'content_filter';
  /** Ends the body properly, but without finish reason and end marker. */
  unfinished?: boolean;
}

/** The body as server-sent events: what is before the tokens, one buffer a token, what is after them. */
export interface Encoded {
  head: Buffer;
  tokens: readonly Buffer[];
  tail: Buffer;
}

/**
 * Encodes an answer for one wire and model. OpenAI's wire has usage only if the request asked for it.
 * Worth keeping: a server under load encodes once.
 */
export function encode(answer: Answer, wire: Wire, model: string, askedUsage: boolean): Encoded {
  return wire === 'openai'
    ? encodeOpenAI(answer, model, askedUsage)
    : encodeAnthropic(answer, model);
}

/** The texts of the tokens of an answer. */
function tokensOf(answer: Answer): readonly string[] {
  const tokens = answer.tokens ?? (answer.toolCalls === undefined ? 3 : 0);
  if (typeof tokens !== 'number') return tokens;
  return Array.from({ length: tokens }, (_, index) => `tok${index} `);
}

/** The error body of a wire, as its provider writes it. */
export function errorBody(wire: Wire, message: string, type: string): string {
  return JSON.stringify(
    wire === 'openai'
      ? { error: { message, type, param: null, code: type } }
      : { type: 'error', error: { type, message }, request_id: 'req_test' },
  );
}

function encodeOpenAI(answer: Answer, model: string, askedUsage: boolean): Encoded {
  const chunk = (choices: unknown[], more: object = {}): string =>
    `data: ${JSON.stringify({ id: 'chatcmpl-test', object: 'chat.completion.chunk', created: 1700000000, model, choices, ...more })}\n\n`;
  const delta = (value: object, finish: string | null = null): string =>
    chunk([{ index: 0, delta: value, finish_reason: finish }]);

  let head = delta({ role: 'assistant', content: '' });
  const details = model.includes('/');
  for (const text of answer.reasoning ?? []) {
    head += delta(
      details
        ? { reasoning: text, reasoning_details: [{ type: 'reasoning.text', text, index: 0 }] }
        : { reasoning_content: text },
    );
  }
  if (answer.signature !== undefined && details) {
    const detail = { type: 'reasoning.text', signature: answer.signature, index: 0 };
    head += delta({ reasoning_details: [detail] });
  }

  let tail = '';
  for (const [index, call] of (answer.toolCalls ?? []).entries()) {
    const named = { name: call.name, arguments: '' };
    tail += delta({ tool_calls: [{ index, id: call.id, type: 'function', function: named }] });
    for (const part of pieces(argumentText(call.arguments))) {
      tail += delta({ tool_calls: [{ index, function: { arguments: part } }] });
    }
  }
  if (answer.unfinished !== true) {
    tail += delta({}, answer.finish ?? (answer.toolCalls === undefined ? 'stop' : 'tool_calls'));
    const usage = answer.usage ?? defaultUsage(answer);
    const counts = {
      prompt_tokens: usage.input,
      completion_tokens: usage.output,
      total_tokens: usage.input + usage.output,
      prompt_tokens_details: {
        cached_tokens: usage.cacheRead ?? 0,
        ...(usage.cacheWrite === undefined ? {} : { cache_write_tokens: usage.cacheWrite }),
      },
      completion_tokens_details: { reasoning_tokens: usage.reasoning ?? 0 },
    };
    if (askedUsage) tail += chunk([], { usage: counts });
    tail += 'data: [DONE]\n\n';
  }
  return {
    head: Buffer.from(head),
    tokens: tokensOf(answer).map((content) => Buffer.from(delta({ content }))),
    tail: Buffer.from(tail),
  };
}

function encodeAnthropic(answer: Answer, model: string): Encoded {
  const event = (type: string, value: object): string =>
    `event: ${type}\ndata: ${JSON.stringify({ type, ...value })}\n\n`;
  let index = 0;
  const block = (start: object, deltas: object[]): string => {
    const at = index++;
    return (
      event('content_block_start', { index: at, content_block: start }) +
      deltas.map((delta) => event('content_block_delta', { index: at, delta })).join('') +
      event('content_block_stop', { index: at })
    );
  };
  const usage = answer.usage ?? defaultUsage(answer);
  const message = {
    id: 'msg_test',
    type: 'message',
    role: 'assistant',
    model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: {
      input_tokens: usage.input,
      output_tokens: 1,
      cache_read_input_tokens: usage.cacheRead ?? 0,
      cache_creation_input_tokens: usage.cacheWrite ?? 0,
    },
  };

  let head = event('message_start', { message }) + event('ping', {});
  if (answer.redacted !== undefined) {
    head += block({ type: 'redacted_thinking', data: answer.redacted }, []);
  }
  if (answer.reasoning !== undefined) {
    const deltas: object[] = answer.reasoning.map((thinking) => ({
      type: 'thinking_delta',
      thinking,
    }));
    if (answer.signature !== undefined) {
      deltas.push({ type: 'signature_delta', signature: answer.signature });
    }
    head += block({ type: 'thinking', thinking: '', signature: '' }, deltas);
  }

  const texts = tokensOf(answer);
  const textAt = index;
  let tail = '';
  if (texts.length > 0) {
    const start = { index: textAt, content_block: { type: 'text', text: '' } };
    head += event('content_block_start', start);
    tail += answer.unfinished === true ? '' : event('content_block_stop', { index: textAt });
    index++;
  }
  for (const call of answer.toolCalls ?? []) {
    const deltas = ['', ...pieces(argumentText(call.arguments))].map((part) => ({
      type: 'input_json_delta',
      partial_json: part,
    }));
    tail += block({ type: 'tool_use', id: call.id, name: call.name, input: {} }, deltas);
  }
  if (answer.unfinished !== true) {
    const finish = answer.finish ?? (answer.toolCalls === undefined ? 'stop' : 'tool_calls');
    tail +=
      event('message_delta', {
        delta: { stop_reason: anthropicReasons[finish], stop_sequence: null },
        usage: { output_tokens: usage.output },
      }) + event('message_stop', {});
  }
  return {
    head: Buffer.from(head),
    tokens: texts.map((text) =>
      Buffer.from(
        event('content_block_delta', { index: textAt, delta: { type: 'text_delta', text } }),
      ),
    ),
    tail: Buffer.from(tail),
  };
}

const anthropicReasons = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  content_filter: 'refusal',
};

function argumentText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Arguments come in pieces, as from a real provider. */
function pieces(text: string): string[] {
  return text.match(/[\s\S]{1,7}/g) ?? [];
}

function defaultUsage(answer: Answer): { input: number; output: number; [more: string]: number } {
  return { input: 10, output: tokensOf(answer).length };
}
