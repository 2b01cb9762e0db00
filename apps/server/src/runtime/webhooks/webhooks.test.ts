import { describe, expect, test } from 'vitest';
import type { DeliveryEnd } from '../../core/session/session-input.ts';
import type { WebhookOutcome, WebhookRequest, WebhookSender } from '../../ports/webhook-sender.ts';
import type { PartToSend } from '../chats.ts';
import { noChats, TestRuntime, ticks } from '../testing.ts';
import { Webhooks, type WebhookSettings } from './webhooks.ts';
import { withWebhooks } from './with-webhooks.ts';

const HOUR_MS = 3_600_000;
const OPS = { name: 'ops', url: 'https://ops.example/hook', secret: 'whsec_a' };
const CRM = { name: 'crm', url: 'https://crm.example/hook', secret: 'whsec_b' };
const BOTH: WebhookSettings = { allowPrivate: false, outgoing: [OPS, CRM] };
const REFUSED: WebhookOutcome = { type: 'unsent', code: 'not_connected', reason: 'Not there.' };

const answered = (status: number, retryAfterMs: number | null = null): WebhookOutcome => ({
  type: 'answered',
  status,
  retryAfterMs,
});

/** A sender whose tries the test ends one by one. */
class HeldSender implements WebhookSender {
  readonly tries: (WebhookRequest & { end: (outcome: WebhookOutcome) => void })[] = [];

  send(request: WebhookRequest, { signal }: { signal: AbortSignal }): Promise<WebhookOutcome> {
    const { promise, resolve } = Promise.withResolvers<WebhookOutcome>();
    signal.addEventListener('abort', () => resolve({ type: 'lost', reason: 'aborted' }));
    this.tries.push({ ...request, end: resolve });
    return promise;
  }
}

class Stage {
  readonly runtime = new TestRuntime();
  readonly clock = this.runtime.clock;
  readonly sender = new HeldSender();
  readonly warned: object[] = [];
  readonly begun: string[] = [];
  readonly webhooks: Webhooks;

  constructor(settings = BOTH) {
    const { clock, sender } = this;
    const log = {
      info: () => undefined,
      warn: (fields: object) => void this.warned.push(fields),
      error: () => undefined,
    };
    this.webhooks = new Webhooks({ clock, log, sender, random: () => 0.5 }, settings);
  }

  /** Sends one; `end` is there when it ended. */
  post(change: Partial<PartToSend> = {}, name = 'ops', signal = new AbortController().signal) {
    const posted: { end?: DeliveryEnd } = {};
    const part: PartToSend = {
      session: 'session_1',
      agent: 'helper',
      chat: {
        gateway: 'webhook',
        account: 'webhook',
        chat_id: name,
        since: -1,
        chat_type: 'channel',
        inbox: 0,
        bound: false,
      },
      out: 'out_1',
      part: 1,
      parts: 1,
      attempt: 1,
      content: { type: 'text', text: 'It is **built**.', format: 'markdown' },
      uncertainTries: 0,
      onUncertain: 'never',
      expiresAt: this.clock.now() + 24 * HOUR_MS,
      recordedAt: Date.UTC(2026, 0, 1),
      ...change,
    };
    const begin = async (): Promise<void> => void this.begun.push(part.out);
    const done = this.webhooks.send(part, { begin, signal }).then((end) => (posted.end = end));
    done.catch(() => undefined);
    return { posted, done };
  }

  /** How one try ends that comes out so. */
  async endOf(outcome: WebhookOutcome, change: Partial<PartToSend> = {}) {
    const { done } = this.post(change);
    await ticks();
    this.sender.tries.at(-1)?.end(outcome);
    return await done;
  }
}

describe('a notification', () => {
  test('goes out signed for by its delivery, after it was recorded that it does', async () => {
    const stage = new Stage();
    const { posted } = stage.post();
    await ticks();
    expect(stage.begun).toEqual(['out_1']);
    const [tried] = stage.sender.tries;
    expect(tried).toMatchObject({ url: OPS.url, secret: OPS.secret, allowPrivate: false });
    expect(tried?.id).toBe('out_1');
    expect(JSON.parse(tried?.body ?? '')).toMatchObject({
      id: 'out_1',
      source: '/sessions/session_1',
      time: '2026-01-01T00:00:00.000Z',
      data: { session: 'session_1', agent: 'helper', text: 'It is **built**.' },
    });
    expect(posted.end).toBeUndefined();
    tried?.end(answered(204));
    await ticks();
    expect(posted.end).toEqual({ outcome: 'delivered' });
  });

  test.each([
    ['was not sent', REFUSED, 'failed', 'not_connected', 5_000],
    ['may have arrived', { type: 'lost', reason: 'Cut.' } as const, 'uncertain', 'lost', 5_000],
    ['was answered 400', answered(400), 'failed', 'platform_error', 5_000],
    ['was answered 500', answered(500), 'failed', 'platform_error', 5_000],
    ['was answered 302', answered(302), 'failed', 'platform_error', 5_000],
    ['was answered 429', answered(429), 'failed', 'platform_error', 5_000],
    ['was answered 429 for 7 s', answered(429, 7_000), 'failed', 'rate_limited', 7_000],
    ['was answered 503 for a day', answered(503, 24 * HOUR_MS), 'failed', 'rate_limited', HOUR_MS],
    ['was answered 500 for 7 s', answered(500, 7_000), 'failed', 'platform_error', 5_000],
  ])('that %s is tried again', async (_, outcome, end, code, retryAfterMs) => {
    expect(await new Stage().endOf(outcome)).toMatchObject({
      outcome: end,
      error: { code },
      retryAfterMs,
    });
  });

  test('waits longer each time, and never beyond its own end', async () => {
    const stage = new Stage();
    expect(await stage.endOf(REFUSED, { attempt: 4 })).toMatchObject({ retryAfterMs: 40_000 });
    const expiresAt = stage.clock.now() + 60_000;
    for (const outcome of [REFUSED, answered(503, HOUR_MS)]) {
      expect(await new Stage().endOf(outcome, { attempt: 9, expiresAt })).toMatchObject({
        retryAfterMs: 60_000,
      });
    }
  });

  test('that is too old is dead and not sent', async () => {
    const stage = new Stage();
    const { done } = stage.post({ expiresAt: stage.clock.now() });
    expect(await done).toMatchObject({ outcome: 'dead', error: { code: 'expired' } });
    expect([stage.begun, stage.sender.tries]).toEqual([[], []]);
  });

  test('of a file is dead, and an edit of nothing is done', async () => {
    const stage = new Stage();
    const file = stage.post({ content: { type: 'file', artifact: 'art_1' } });
    expect(await file.done).toMatchObject({ outcome: 'dead', error: { code: 'invalid_request' } });
    expect(await stage.post({ isEdit: true, preview: 'm1' }).done).toEqual({
      outcome: 'delivered',
    });
    expect(stage.sender.tries).toEqual([]);
  });

  test('that is cancelled while it is sent has no end', async () => {
    const stage = new Stage();
    const stop = new AbortController();
    const { done } = stage.post({}, 'ops', stop.signal);
    await ticks();
    stop.abort(new Error('the server stops'));
    await expect(done).rejects.toThrow('the server stops');
  });
});

describe('a webhook', () => {
  test('is sent four at a time, and the others after them', async () => {
    const stage = new Stage();
    for (let n = 0; n < 6; n += 1) stage.post({ out: `out_${n}` });
    stage.post({ out: 'other' }, 'crm');
    await ticks();
    expect(stage.sender.tries.map(({ id }) => id)).toEqual([
      'out_0',
      'out_1',
      'out_2',
      'out_3',
      'other',
    ]);
    stage.sender.tries[1]?.end(answered(500));
    await ticks();
    expect(stage.sender.tries.at(-1)?.id).toBe('out_4');
    expect(stage.begun).not.toContain('out_5');
  });

  test('that was waited for in vain gives its places back', async () => {
    const stage = new Stage();
    const stop = new AbortController();
    for (let n = 0; n < 8; n += 1) stage.post({}, 'ops', stop.signal);
    await ticks();
    stop.abort(new Error('gone'));
    await ticks();
    const before = stage.sender.tries.length;
    for (let n = 0; n < 4; n += 1) stage.post();
    await ticks();
    expect(stage.sender.tries.length - before).toBe(4);
  });

  test('that asks for a pause gets one, from everybody, and others do not', async () => {
    const stage = new Stage();
    await stage.endOf(answered(503, 10_000));
    stage.post({ out: 'out_2' });
    stage.post({ out: 'out_3' }, 'crm');
    await stage.clock.advance(9_999);
    expect(stage.sender.tries.map(({ id }) => id)).toEqual(['out_1', 'out_3']);
    await stage.clock.advance(1);
    expect(stage.sender.tries.map(({ id }) => id)).toEqual(['out_1', 'out_3', 'out_2']);
  });

  test('keeps its pause for those that waited for a place', async () => {
    const stage = new Stage();
    for (let n = 0; n < 5; n += 1) stage.post({ out: `out_${n}` });
    await ticks();
    stage.sender.tries[0]?.end(answered(429, 10_000));
    await stage.clock.advance(9_000);
    expect(stage.sender.tries).toHaveLength(4);
    await stage.clock.advance(1_000);
    expect(stage.sender.tries).toHaveLength(5);
  });

  test('that is gone is told nothing more, and the log says so once', async () => {
    const stage = new Stage();
    const first = stage.post({ out: 'out_1' });
    const second = stage.post({ out: 'out_2' });
    await ticks();
    for (const tried of stage.sender.tries) tried.end(answered(410));
    for (const { done } of [first, second, stage.post({ out: 'out_3' })]) {
      expect(await done).toMatchObject({ outcome: 'dead', error: { code: 'gone' } });
    }
    expect(stage.sender.tries).toHaveLength(2);
    expect(stage.warned).toEqual([{ webhook: 'ops' }]);
    expect(JSON.stringify(stage.warned)).not.toContain('example');
    stage.post({}, 'crm');
    await ticks();
    expect(stage.sender.tries).toHaveLength(3);
  });

  test('that is gone says so to those that wait for the end of a pause', async () => {
    const stage = new Stage();
    stage.post({ out: 'out_1' });
    stage.post({ out: 'out_2' });
    await ticks();
    stage.sender.tries[0]?.end(answered(503, 10_000));
    await ticks();
    const waiting = stage.post({ out: 'out_3' });
    await ticks();
    expect(waiting.posted.end).toBeUndefined();
    stage.sender.tries[1]?.end(answered(410));
    expect(await waiting.done).toMatchObject({ outcome: 'dead', error: { code: 'gone' } });
    expect(stage.sender.tries).toHaveLength(2);
  });

  test('that is gone is tried again once its configuration changed, and not before', async () => {
    const stage = new Stage();
    await stage.endOf(answered(410));
    stage.webhooks.apply({ ...BOTH, outgoing: [CRM, OPS] });
    expect(await stage.post().done).toMatchObject({ outcome: 'dead' });
    const moved = { ...OPS, url: 'https://ops.example/other' };
    stage.webhooks.apply({ ...BOTH, outgoing: [moved, CRM] });
    expect(stage.webhooks.names).toEqual(['ops', 'crm']);
    stage.post();
    await ticks();
    expect(stage.sender.tries.at(-1)?.url).toBe(moved.url);
  });

  test('that is not there is waited for', async () => {
    const stage = new Stage({ allowPrivate: false, outgoing: [] });
    const { posted } = stage.post();
    await stage.clock.advance(2 * HOUR_MS);
    expect([posted.end, stage.begun]).toEqual([undefined, []]);
    stage.webhooks.apply({ ...BOTH, allowPrivate: true });
    await ticks();
    expect(stage.sender.tries).toMatchObject([{ url: OPS.url, allowPrivate: true }]);
  });

  test('that was never there again lets its notifications die with their time', async () => {
    const stage = new Stage();
    stage.webhooks.apply({ allowPrivate: false, outgoing: [CRM] });
    const { posted } = stage.post();
    await stage.clock.advance(24 * HOUR_MS - 1);
    expect(posted.end).toBeUndefined();
    await stage.clock.advance(1);
    expect(posted.end).toMatchObject({
      outcome: 'dead',
      error: { code: 'expired', message: expect.stringContaining('no such webhook') },
    });
  });

  test('that is slow does not keep those that wait beyond their time', async () => {
    const stage = new Stage();
    for (let n = 0; n < 4; n += 1) stage.post();
    const late = stage.post({ out: 'late', expiresAt: stage.clock.now() + 1_000 });
    await stage.clock.advance(2_000);
    stage.sender.tries[0]?.end(answered(204));
    expect(await late.done).toMatchObject({ outcome: 'dead', error: { code: 'expired' } });
    expect(stage.begun).not.toContain('late');
  });

  test('that changes while some wait for a place is asked at its new URL', async () => {
    const stage = new Stage();
    for (let n = 0; n < 5; n += 1) stage.post({ out: `out_${n}` });
    await ticks();
    const moved = { ...OPS, url: 'https://ops.example/other' };
    stage.webhooks.apply({ ...BOTH, outgoing: [moved, CRM] });
    stage.sender.tries[0]?.end(answered(204));
    await ticks();
    expect(stage.sender.tries.map(({ url }) => url).slice(3)).toEqual([OPS.url, moved.url]);
  });
});

describe('what a session owes to a webhook', () => {
  const ops = { gateway: 'webhook', account: 'webhook', chat_id: 'ops' };

  /** A session that owes one notification, which may never be repeated in a chat. */
  async function owing() {
    const sender = new HeldSender();
    const runtime: TestRuntime = new TestRuntime({
      settings: { delivery: { onUncertain: 'never', mirror: true, ttlMs: 24 * HOUR_MS } },
      chats: ({ clock }) => {
        const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
        return withWebhooks(noChats, new Webhooks({ clock, log, sender, random: () => 0.5 }, BOTH));
      },
    });
    const actor = await runtime.create();
    await actor.notify({ text: 'x'.repeat(4_000), idempotency: 'one', chats: [ops] });
    await ticks();
    return { runtime, sender, actor };
  }

  test('is one part, however long', async () => {
    const { sender, actor } = await owing();
    expect(actor.outbox.owed).toMatchObject([{ parts: 1, status: 'started' }]);
    expect(JSON.parse(sender.tries[0]?.body ?? '').data.text).toHaveLength(4_000);
    sender.tries[0]?.end(answered(200));
    await ticks();
    expect(actor.outbox).toMatchObject({ owed: [], dead: [] });
  });

  test('is sent again after a crash with the same id and body, and never marked', async () => {
    const { runtime, sender, actor } = await owing();
    await runtime.restart();
    await runtime.sessions.start();
    await runtime.sessions.open(actor.session);
    await ticks();
    const [first, second] = sender.tries;
    expect(sender.tries).toHaveLength(2);
    expect(second).toMatchObject({ id: first?.id, body: first?.body });
    second?.end({ type: 'lost', reason: 'Cut.' });
    await runtime.clock.advance(60_000);
    expect(sender.tries[2]).toMatchObject({ id: first?.id, body: first?.body });
  });

  test('is tried for a day, ever more seldom, and then dead', async () => {
    const { runtime, sender, actor } = await owing();
    const begun = runtime.clock.now();
    const at: number[] = [];
    while (actor.outbox.owed.length > 0) {
      if (sender.tries.length > at.length) at.push(runtime.clock.now() - begun);
      sender.tries.at(-1)?.end(answered(500));
      await runtime.clock.advance(5_000);
    }
    expect(at.slice(0, 4).map((ms) => Math.round(ms / 1_000))).toEqual([0, 5, 15, 35]);
    expect(at.length).toBeGreaterThan(30);
    expect(at.length).toBeLessThan(40);
    expect(actor.outbox.dead).toMatchObject([{ code: 'expired' }]);
    expect(runtime.clock.now() - begun).toBeGreaterThanOrEqual(24 * HOUR_MS);
    expect(new Set(sender.tries.map(({ id, body }) => id + body)).size).toBe(1);
  });
});
