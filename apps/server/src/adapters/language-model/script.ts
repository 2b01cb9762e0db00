import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { AssistantPart } from '@duragent/protocol';
import { z } from 'zod';
import type { ModelChunk, ModelFailure, ModelRequest } from '../../ports/language-model.ts';
import { estimateUsage, type Piece, streamPieces, words } from './echo.ts';

/** Reads YAML into a plain value; throws an error whose message names the place. */
export type ReadYaml = (text: string, file: string) => unknown;

const scriptSchema = z.strictObject({
  turns: z.array(
    z.strictObject({
      text: z.string().default(''),
      reasoning: z.string().default(''),
      tool_calls: z
        .array(z.strictObject({ name: z.string().min(1), arguments: z.unknown().default({}) }))
        .default([]),
      /** Characters per delta; without it, word by word. */
      chunk: z.int().min(1).optional(),
      /** Pause before each delta, in ms. */
      delay: z.int().min(0).max(60_000).default(0),
      /** The turn says what it has to say, then fails with this. */
      error: z
        .strictObject({
          code: z.string().min(1),
          message: z.string(),
          retryable: z.boolean().default(false),
        })
        .optional(),
    }),
  ),
});
type ScriptTurn = z.infer<typeof scriptSchema>['turns'][number];

/**
 * A model that plays the turns of a YAML file, for tests of agents: the file is the model's name, an
 * absolute path. The call with n assistant messages behind it gets turn n; nothing is remembered.
 * A file that cannot be used is `failed` with `script_invalid`, a call beyond its last turn with
 * `script_ended`.
 */
export async function* streamScript(
  request: ModelRequest,
  { signal, readYaml }: { signal: AbortSignal; readYaml: ReadYaml },
): AsyncGenerator<ModelChunk, void, undefined> {
  const file = request.model.name;
  const model = `script/${path.basename(file)}`;
  const at = request.messages.filter((message) => message.role === 'assistant').length;
  const turn = await readTurn(file, at, readYaml);
  if ('failure' in turn) {
    yield { type: 'failed', error: turn.failure, model };
    return;
  }
  const { text, reasoning, chunk, delay: delayMs, error } = turn;
  const cut = (type: Piece['type'], whole: string): Piece[] =>
    (chunk === undefined ? words(whole) : characters(whole, chunk)).map((piece) => ({
      type,
      text: piece,
    }));
  const pieces = [...cut('reasoning', reasoning), ...cut('text', text)];
  const content: AssistantPart[] = [];
  if (reasoning !== '') content.push({ type: 'reasoning', text: reasoning });
  if (text !== '') content.push({ type: 'text', text });
  yield* streamPieces(pieces, { signal, model, delayMs }, () =>
    error === undefined
      ? {
          type: 'done',
          content,
          toolCalls: turn.tool_calls.map((call, index) => ({
            provider_call_id: `script_${at + 1}_${index + 1}`,
            name: call.name,
            arguments: call.arguments,
          })),
          finishReason: turn.tool_calls.length > 0 ? 'tool_calls' : 'stop',
          usage: estimateUsage(request, reasoning + text),
          model,
        }
      : { type: 'failed', error, model },
  );
}

async function readTurn(
  file: string,
  at: number,
  readYaml: ReadYaml,
): Promise<ScriptTurn | { failure: ModelFailure }> {
  const failure = (code: string, message: string): { failure: ModelFailure } => ({
    failure: { code, message, retryable: false },
  });
  let value: unknown;
  try {
    value = readYaml(await readFile(file, 'utf8'), file);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return failure('script_invalid', `The script cannot be read: ${reason}`);
  }
  const script = scriptSchema.safeParse(value);
  if (!script.success) {
    const issue = script.error.issues[0];
    const place = issue === undefined ? '' : placeOf(issue.path);
    return failure('script_invalid', `${file}: ${place}${issue?.message ?? 'not a script'}`);
  }
  const { turns } = script.data;
  const turn = turns[at];
  if (turn !== undefined) return turn;
  const message = `${file} has ${turns.length} turns, and this call asks for turn ${at + 1}: add it under "turns".`;
  return failure('script_ended', message);
}

/** `turns[2].tool_calls[0].name: ` */
function placeOf(keys: readonly PropertyKey[]): string {
  const place = keys.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`));
  return keys.length === 0 ? '' : `${place.join('').slice(1)}: `;
}

/** Pieces of n characters; a character beyond the basic plane is never cut. */
function characters(text: string, size: number): string[] {
  const all = Array.from(text);
  const pieces: string[] = [];
  for (let at = 0; at < all.length; at += size) pieces.push(all.slice(at, at + size).join(''));
  return pieces;
}
