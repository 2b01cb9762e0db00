import { expect, test } from 'vitest';
import { MAX_DEAD } from '../core/session/state.ts';
import { TestHub } from './gateways/testing.ts';
import { OutboxView } from './outbox-view.ts';
import { ticks } from './testing.ts';

/** A session with more dead deliveries than its state holds. */
async function withDead(count: number) {
  const hub = await new TestHub().start();
  hub.gateway.answer = (request) => ({
    type: 'answered',
    answer: {
      type: 'command_error',
      request_id: 'request_id' in request ? request.request_id : '',
      code: 'blocked',
      message: 'They left.',
      uncertain: false,
    },
  });
  for (let i = 0; i < count; i += 1) {
    await hub.tell(`message ${i}`);
    await hub.answer(`answer ${i}`);
    await hub.runtime.clock.advance(0);
  }
  return { hub, view: () => new OutboxView(hub.runtime.sessions) };
}

const texts = (entries: readonly { preview: string }[]): string[] =>
  entries.map(({ preview }) => preview).sort();

test('every dead delivery is listed, however many there are, also after a restart', async () => {
  const many = MAX_DEAD + 5;
  const { hub, view } = await withDead(many);
  const all = Array.from({ length: many }, (_, i) => `answer ${i}`).sort();
  expect(texts((await view().list({ limit: 100 })).deliveries)).toEqual(all);
  expect(hub.runtime.sessions.summaries()).toMatchObject([{ owed: 0, dead: many }]);
  await hub.restart();
  expect(texts((await view().list({ limit: 100 })).deliveries)).toEqual(all);
});

test('one that is in the log only can be given up, once, and not tried again', async () => {
  const { hub, view } = await withDead(MAX_DEAD + 2);
  const { deliveries } = await view().list({ limit: 100 });
  const oldest = deliveries.find(({ preview }) => preview === 'answer 0');
  const out = oldest?.out ?? '';
  expect(oldest).toMatchObject({ state: 'dead', code: 'blocked', part: 1, parts: 1 });
  await expect(view().retry(out)).rejects.toMatchObject({ code: 'conflict' });
  await view().drop(out);
  await ticks();
  expect(texts((await view().list({ limit: 100 })).deliveries)).not.toContain('answer 0');
  expect(hub.runtime.sessions.summaries()).toMatchObject([{ dead: MAX_DEAD + 1 }]);
  await expect(view().drop(out)).rejects.toMatchObject({ code: 'not_found' });
});
