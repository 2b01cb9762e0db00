import { expect, test } from 'vitest';
import { defaultAccess } from '../../core/agent-access.ts';
import { ticks } from '../testing.ts';
import { reportProgressTool } from '../tools/report-progress.ts';
import { type FakeGateway, TestHub } from './testing.ts';

type Request = Parameters<FakeGateway['answer']>[0];

/** A hub with an agent that is asked by ann, and what its gateway was told to do. */
async function started() {
  const hub = await new TestHub({
    tools: [reportProgressTool],
    agent: { access: { ...defaultAccess, dm: { policy: 'open', allowlist: [] } } },
  }).start();
  const requests: Request[] = [];
  hub.gateway.answer = (request) => {
    requests.push(request);
    return undefined;
  };
  await hub.tell('do it', { from: 'ann' });
  return { hub, requests };
}

async function settled(hub: TestHub): Promise<void> {
  for (let i = 0; i < 6; i += 1) await ticks();
  await hub.runtime.clock.advance(0);
}

/** The model says how far it is, and the turn goes on. */
async function report(hub: TestHub, args: { text: string; percent?: number }): Promise<void> {
  hub.runtime.model.calls.at(-1)?.done('', [{ name: 'report_progress', arguments: args }]);
  await settled(hub);
}

const texts = (hub: TestHub): string[] => hub.gateway.texts('ann');

test('a chat is shown how far a turn is in one message, edited at most once a second', async () => {
  const { hub, requests } = await started();
  await report(hub, { text: 'Reading', percent: 12.4 });
  expect(texts(hub)).toEqual(['⏳ 12 %: Reading']);
  await report(hub, { text: 'Still reading' });
  await report(hub, { text: 'Writing\u202e', percent: 100 });
  expect(texts(hub)).toEqual(['⏳ 12 %: Reading']);
  await hub.runtime.clock.advance(1_000);
  await settled(hub);
  expect(texts(hub)).toEqual(['⏳ 100 %: Writing⟨U+202E⟩']);
  await report(hub, { text: 'Checking' });
  await hub.runtime.clock.advance(999);
  expect(texts(hub)).toEqual(['⏳ 100 %: Writing⟨U+202E⟩']);
  await hub.runtime.clock.advance(1);
  await settled(hub);
  expect(texts(hub)).toEqual(['⏳ Checking']);
  hub.runtime.model.calls.at(-1)?.done('Done.');
  await settled(hub);
  expect(texts(hub)).toEqual(['⏳ Checking', 'Done.']);
  expect(requests.map(({ type }) => type)).toEqual([
    'send_message',
    'edit_message',
    'edit_message',
    'send_message',
  ]);
});

test('nothing more is shown of it once the answer is there', async () => {
  const { hub } = await started();
  await report(hub, { text: 'One' });
  await report(hub, { text: 'Two' });
  hub.runtime.model.calls.at(-1)?.done('Done.');
  await settled(hub);
  await hub.runtime.clock.advance(10_000);
  await settled(hub);
  expect(texts(hub)).toEqual(['⏳ One', 'Done.']);
});

test('a message that may be there is not posted again, one that certainly is not may be', async () => {
  const { hub } = await started();
  let outcome: 'lost' | 'unsent' = 'unsent';
  hub.gateway.answer = (request) =>
    request.type === 'send_message' && request.content.startsWith('⏳')
      ? { type: outcome, reason: 'a test' }
      : undefined;
  await report(hub, { text: 'One' });
  outcome = 'lost';
  await report(hub, { text: 'Two' });
  hub.gateway.answer = () => undefined;
  await report(hub, { text: 'Three' });
  await hub.runtime.clock.advance(5_000);
  await settled(hub);
  expect(texts(hub)).toEqual([]);
});

test('an answer waits for a message that is being posted, so that it stands below', async () => {
  const { hub } = await started();
  const posted = Promise.withResolvers<void>();
  hub.gateway.answer = async (request) => {
    if (request.type === 'send_message' && request.content.startsWith('⏳')) await posted.promise;
    return { type: 'answered', answer: hub.gateway.perform(request) };
  };
  await report(hub, { text: 'One' });
  hub.runtime.model.calls.at(-1)?.done('Done.');
  await settled(hub);
  expect(texts(hub)).toEqual([]);
  posted.resolve();
  await settled(hub);
  expect(texts(hub)).toEqual(['⏳ One', 'Done.']);
});

test('a platform that wants to wait is not asked before', async () => {
  const { hub } = await started();
  await report(hub, { text: 'One' });
  hub.gateway.answer = ({ type, request_id }) =>
    type === 'edit_message'
      ? {
          type: 'answered',
          answer: {
            type: 'command_error',
            request_id,
            code: 'rate_limited',
            message: '',
            retry_after_ms: 5_000,
            uncertain: false,
          },
        }
      : undefined;
  await report(hub, { text: 'Two' });
  await hub.runtime.clock.advance(1_000);
  await settled(hub);
  hub.gateway.answer = () => undefined;
  await report(hub, { text: 'Three' });
  await hub.runtime.clock.advance(4_999);
  await settled(hub);
  expect(texts(hub)).toEqual(['⏳ One']);
  await hub.runtime.clock.advance(1);
  await settled(hub);
  expect(texts(hub)).toEqual(['⏳ Three']);
});

test('a turn that goes on after a restart posts no second message', async () => {
  const { hub } = await started();
  await report(hub, { text: 'One' });
  await hub.restart();
  await settled(hub);
  await report(hub, { text: 'Two' });
  await hub.runtime.clock.advance(5_000);
  await settled(hub);
  expect(texts(hub)).toEqual([]);
  hub.runtime.model.calls.at(-1)?.done('Done.');
  await settled(hub);
  expect(texts(hub)).toEqual(['Done.']);
});

test('where a platform cannot edit, the first word is all', async () => {
  const { hub } = await started();
  hub.gateway.ready(['ack']);
  await report(hub, { text: 'One' });
  await report(hub, { text: 'Two' });
  await hub.runtime.clock.advance(5_000);
  await settled(hub);
  expect(texts(hub)).toEqual(['⏳ One']);
});

test('what is too long, or no percent, is told to the model and shown to nobody', async () => {
  const { hub } = await started();
  await report(hub, { text: 'x'.repeat(501) });
  await report(hub, { text: 'far', percent: 101 });
  await report(hub, { text: ' ' });
  expect(texts(hub)).toEqual([]);
  const results = hub.runtime.model.calls.at(-1)?.request.messages.at(-1);
  expect(JSON.stringify(results)).toContain('The arguments are wrong');
});
