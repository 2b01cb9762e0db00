import { usageSchema } from '@duragent/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LanguageModel, ModelChunk, ModelRequest } from './language-model.ts';

/** A model under test, and requests that make it behave. */
export interface LanguageModelSubject extends AsyncDisposable {
  model: LanguageModel;
  /**
   * The request for a call that is: `answer`, at least three deltas of text and then done; `endless`,
   * at least one delta and no end within a minute; `silent`, no chunk at all within a minute; or
   * `failing`, refused or broken. null: the adapter cannot be brought to that.
   */
  request: (kind: 'answer' | 'endless' | 'silent' | 'failing') => ModelRequest | null;
}

/** How soon a call has to end after its signal aborted, in ms. */
const SOON_MS = 1000;

/** What every adapter of the port `LanguageModel` promises. */
export function languageModelContract(
  name: string,
  open: () => Promise<LanguageModelSubject>,
): void {
  describe(`LanguageModel contract: ${name}`, () => {
    let subject: LanguageModelSubject;
    const forever = new AbortController().signal;

    beforeAll(async () => {
      subject = await open();
    });
    afterAll(async () => {
      await subject[Symbol.asyncDispose]();
    });

    it('streams deltas, then one done that holds what they said', async () => {
      const request = subject.request('answer')!;
      const chunks = await collect(subject.model.stream(request, { signal: forever }));
      const texts = chunks.filter((chunk) => chunk.type === 'text').map((chunk) => chunk.text);
      expect(texts.length).toBeGreaterThanOrEqual(3);
      expect(chunks.filter(isEnd)).toHaveLength(1);
      const end = chunks.at(-1)!;
      if (end.type !== 'done') throw new Error(`ended in ${JSON.stringify(end)}`);
      const said = end.content.filter((part) => part.type === 'text').map((part) => part.text);
      expect(said.join('')).toBe(texts.join(''));
      expect(end.finishReason).toBe('stop');
      expect(end.toolCalls).toEqual([]);
      const { provider } = await subject.model.resolve(request.model);
      expect(end.model.startsWith(`${provider}/`)).toBe(true);
      if (end.usage !== undefined) expect(usageSchema.safeParse(end.usage).success).toBe(true);
    });

    it('answers calls side by side, each with its own answer', async () => {
      const calls = Array.from({ length: 4 }, () =>
        collect(subject.model.stream(subject.request('answer')!, { signal: forever })),
      );
      for (const chunks of await Promise.all(calls)) {
        expect(chunks.at(-1)!.type).toBe('done');
        expect(chunks.filter(isEnd)).toHaveLength(1);
      }
    });

    it('ends in one failed, and does not throw, when the call fails', async ({ skip }) => {
      const request = subject.request('failing');
      if (request === null) return skip();
      const chunks = await collect(subject.model.stream(request, { signal: forever }));
      expect(chunks.filter(isEnd)).toHaveLength(1);
      const end = chunks.at(-1)!;
      if (end.type !== 'failed') throw new Error(`ended in ${end.type}`);
      expect(end.error.code).toMatch(/^[a-z_]+$/);
      expect(end.error.message).not.toBe('');
      return undefined;
    });

    it.each(['endless', 'silent'] as const)(
      'ends soon in failed "aborted" when the signal aborts an %s call',
      async (kind) => {
        const request = subject.request(kind);
        if (request === null) return;
        const controller = new AbortController();
        const call = subject.model.stream(request, { signal: controller.signal });
        const chunks: ModelChunk[] = [];
        let abortedAt = Number.NaN;
        const abort = (): void => {
          abortedAt = performance.now();
          controller.abort();
        };
        if (kind === 'silent') setTimeout(abort, 50);
        for await (const chunk of call) {
          if (chunks.push(chunk) === 1 && kind === 'endless') abort();
        }
        expect(performance.now() - abortedAt).toBeLessThan(SOON_MS);
        expect(chunks.filter(isEnd)).toHaveLength(1);
        expect(chunks.at(-1)).toMatchObject({
          type: 'failed',
          error: { code: 'aborted', retryable: false },
        });
      },
    );

    it('says nothing but "aborted" when the signal had aborted before', async () => {
      const signal = AbortSignal.abort();
      const chunks = await collect(subject.model.stream(subject.request('answer')!, { signal }));
      expect(chunks).toMatchObject([{ type: 'failed', error: { code: 'aborted' } }]);
    });

    it('stops working when its reader leaves', async () => {
      const request = subject.request('endless') ?? subject.request('answer')!;
      const started = performance.now();
      for await (const chunk of subject.model.stream(request, { signal: forever })) {
        expect(isEnd(chunk)).toBe(false);
        break;
      }
      expect(performance.now() - started).toBeLessThan(10 * SOON_MS);
    });

    it('resolves a model that is no choice to itself', async () => {
      const { model } = subject.request('answer')!;
      if (model.provider !== 'auto') expect(await subject.model.resolve(model)).toEqual(model);
      else expect((await subject.model.resolve(model)).provider).not.toBe('auto');
    });
  });
}

/** All chunks of a call. */
async function collect(call: AsyncIterable<ModelChunk>): Promise<ModelChunk[]> {
  const chunks: ModelChunk[] = [];
  for await (const chunk of call) chunks.push(chunk);
  return chunks;
}

function isEnd(chunk: ModelChunk): boolean {
  return chunk.type === 'done' || chunk.type === 'failed';
}
