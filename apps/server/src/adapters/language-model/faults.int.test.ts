import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  finishCall,
  modelRequest,
  modelsAt,
  testKeys,
  wireProviders,
  wireRef,
} from '../../../../../test/support/model-calls.ts';
import {
  startModelServer,
  type Behaviour,
  type ModelServer,
  type Nonsense,
} from '../../../../../test/support/model-server.ts';
import type { LanguageModel, ModelFailure } from '../../ports/language-model.ts';

const HOUR_MS = 3_600_000;

let server: ModelServer;
let models: LanguageModel;

beforeAll(async () => {
  server = await startModelServer();
  models = modelsAt(server.url);
});
afterAll(async () => {
  await server.close();
});
beforeEach(() => {
  server.requests.length = 0;
});

describe.each(wireProviders)('%s', (provider, _name) => {
  /** The failure that a behaviour of the server ends in, and the text that came before it. */
  async function failure(behaviour: Behaviour): Promise<ModelFailure & { text: string }> {
    server.enqueue(behaviour);
    const request = modelRequest(wireRef(provider, server.url));
    const { chunks, end, text } = await finishCall(models, request);
    if (end.type !== 'failed') throw new Error(`ended in ${JSON.stringify(end)}`);
    expect(chunks.filter((chunk) => chunk.type === 'failed' || chunk.type === 'done')).toHaveLength(
      1,
    );
    expect(end.model).toBe(`${provider}/${request.model.name}`);
    for (const key of Object.values(testKeys)) expect(end.error.message).not.toContain(key);
    return { ...end.error, text };
  }

  it.each<[number, string, boolean]>([
    [400, 'model_refused_request', false],
    [401, 'model_unauthorized', false],
    [402, 'model_refused_request', false],
    [403, 'model_unauthorized', false],
    [404, 'model_not_found', false],
    [408, 'model_unavailable', true],
    [413, 'model_refused_request', false],
    [422, 'model_refused_request', false],
    [429, 'model_rate_limited', true],
    [500, 'model_unavailable', true],
    [502, 'model_unavailable', true],
    [503, 'model_overloaded', true],
    [529, 'model_overloaded', true],
  ])('takes HTTP %i as %s', async (status, code, retryable) => {
    const message = `the reason for ${status}`;
    const error = await failure({ type: 'status', status, message });
    expect(error).toMatchObject({ code, retryable });
    expect(error.message).toContain(message);
  });

  it.each<[string, Record<string, string>, number, number]>([
    ['seconds', { 'retry-after': '7' }, 7000, 7000],
    ['milliseconds', { 'retry-after-ms': '1500', 'retry-after': '2' }, 1500, 1500],
    [
      'a date',
      { 'retry-after': new Date(Date.now() + HOUR_MS).toUTCString() },
      HOUR_MS / 2,
      HOUR_MS,
    ],
    ['a date that is over', { 'retry-after': new Date(0).toUTCString() }, 0, 0],
  ])('reads Retry-After as %s', async (_form, headers, least, most) => {
    const { retryAfterMs } = await failure({ type: 'status', status: 429, headers });
    expect(retryAfterMs).toBeGreaterThanOrEqual(least);
    expect(retryAfterMs).toBeLessThanOrEqual(most);
  });

  it('does not believe a Retry-After that is no time', async () => {
    const headers = { 'retry-after': 'soon' };
    expect(await failure({ type: 'status', status: 429, headers })).not.toHaveProperty(
      'retryAfterMs',
    );
  });

  it('shows what the provider said without control characters, keys and excess', async () => {
    const key = provider in testKeys ? testKeys[provider as keyof typeof testKeys] : 'nothing';
    const message = `bad\u001b[31m ${key} \u202eline\n${'x'.repeat(2000)}`;
    const { message: shown } = await failure({ type: 'status', status: 400, message });
    expect(shown).toContain('bad [31m');
    expect(shown.length).toBeLessThan(700);
    expect(shown).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });

  it('reads a refusal that is not in the usual form, or empty, or a web page', async () => {
    const detail = { type: 'status', status: 400, body: '{"detail":"no such field"}' } as const;
    expect((await failure(detail)).message).toContain('no such field');
    expect((await failure({ type: 'status', status: 500, body: '' })).code).toBe(
      'model_unavailable',
    );
    const page = { type: 'status', status: 502, body: '<html><h1>Bad gateway' } as const;
    expect((await failure(page)).message).not.toContain('<');
  });

  it('does not follow a redirect, which would carry the key along', async () => {
    const headers = { location: `${server.url}/elsewhere/v1/messages` };
    const error = await failure({ type: 'status', status: 307, headers });
    expect(error).toMatchObject({ code: 'model_not_found', retryable: false });
    expect(server.requests).toHaveLength(1);
  });

  it.each<[Nonsense, string]>([
    ['html', 'model_bad_answer'],
    ['empty', 'model_bad_answer'],
    ['bad-json', 'model_bad_answer'],
    ['wrong-shape', 'model_bad_answer'],
    ['binary', 'model_bad_answer'],
    ['no-finish', 'model_bad_answer'],
    ['endless-line', 'model_bad_answer'],
    ['endless-lines', 'model_bad_answer'],
    ['error-event', 'model_overloaded'],
    ['hang-up', 'model_unavailable'],
  ])('takes %s for %s, to be tried again', async (kind, code) => {
    const error = await failure({ type: 'nonsense', kind });
    expect(error).toMatchObject({ code, retryable: true });
    if (kind === 'html') expect(error.message).toContain('base_url');
    // A line is held in memory until its end: 8 MiB of it are enough, and some are under way.
    if (kind === 'endless-line') expect(server.requests[0]!.sent * 64).toBeLessThan(32 * 1024);
    await vi.waitFor(
      () => {
        const [request] = server.requests;
        // Whatever it sent, nobody reads on.
        expect(request!.finished || request!.closedEarly || kind === 'hang-up').toBe(true);
      },
      { timeout: 1000, interval: 5 },
    );
  });

  it('takes a stream that is cut for a failure to be tried again, also after text', async () => {
    for (const cutAfter of [0, 2]) {
      const error = await failure({ type: 'answer', tokens: 4, cutAfter });
      expect(error).toMatchObject({ code: 'model_unavailable', retryable: true });
      expect(error.text).toBe(cutAfter === 0 ? '' : 'tok0 tok1 ');
    }
  });

  it('reports a server that is not there', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const request = modelRequest(wireRef(provider, url));
    const { end } = await finishCall(modelsAt(url), request);
    expect(end).toMatchObject({
      type: 'failed',
      error: { code: 'model_unavailable', retryable: true },
    });
    if (end.type === 'failed') expect(end.error.message).toContain('ECONNREFUSED');
  });

  it('ends soon when the signal aborts while nothing comes, not even headers', async () => {
    server.enqueue({ type: 'stall', headers: false });
    const controller = new AbortController();
    const call = finishCall(models, modelRequest(wireRef(provider, server.url)), controller.signal);
    await vi.waitFor(() => expect(server.requests).toHaveLength(1), { interval: 2 });
    const started = performance.now();
    controller.abort();
    expect((await call).end).toMatchObject({ type: 'failed', error: { code: 'aborted' } });
    expect(performance.now() - started).toBeLessThan(1000);
    await vi.waitFor(() => expect(server.requests[0]!.closedEarly).toBe(true), { interval: 5 });
  });
});

describe('an exhausted quota', () => {
  it('is not tried again', async () => {
    server.enqueue({ type: 'status', status: 429, errorType: 'insufficient_quota' });
    const { end } = await finishCall(models, modelRequest(wireRef('openai', server.url)));
    expect(end).toMatchObject({ error: { code: 'model_rate_limited', retryable: false } });
  });
});

/** A port that nothing listens on. */
async function freePort(): Promise<number> {
  const probe = createServer();
  const ready = Promise.withResolvers<void>();
  probe.listen(0, '127.0.0.1', () => ready.resolve());
  await ready.promise;
  const { port } = probe.address() as AddressInfo;
  const closed = Promise.withResolvers<void>();
  probe.close(() => closed.resolve());
  await closed.promise;
  return port;
}
