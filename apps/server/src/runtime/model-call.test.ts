import { describe, expect, test } from 'vitest';
import { CUT_NOTE } from '../core/context/build-context.ts';
import type { Surroundings } from '../core/context/system-text.ts';
import type { SessionActor } from './session-actor.ts';
import { say, testAgent, TestRuntime, until } from './testing.ts';
import { testTool } from './tools/testing.ts';

const session = { ...testAgent().session, maxHistoryTokens: 400 };
const long = (text: string): string => `${text} ${'x'.repeat(200)}`;

async function typesOf(actor: SessionActor): Promise<string[]> {
  return (await actor.read(0, 1000)).map(({ event }) => event.type);
}

/** Talks until a summary is asked for. @returns how many calls there were, the last of which asks for it. */
async function talk(runtime: TestRuntime, actor: SessionActor): Promise<number> {
  for (let count = 1; count < 20; count += 1) {
    await say(actor, long(`question ${count}`));
    (await runtime.model.call(count)).done(long(`answer ${count}`));
    await until(() => actor.view().turn_state === 'idle');
    await runtime.clock.advance(1_000);
    if (runtime.model.calls.length > count) return count + 1;
  }
  throw new Error('no summary is asked for');
}

describe('a conversation that grows too long', () => {
  test('is summarized beside the turn, by the agent’s model and without tools', async () => {
    const tool = testTool({ name: 'look', run: () => Promise.reject(new Error('unused')) });
    const runtime = new TestRuntime({ agent: { session }, tools: [tool] });
    const actor = await runtime.create();
    const count = await talk(runtime, actor);
    const asked = await runtime.model.call(count);
    expect(asked.request).toMatchObject({ tools: [], model: { provider: 'echo' } });
    expect(asked.request.system).toMatch(/^You write the summary/);
    expect(asked.request.messages).toHaveLength(1);
    expect(asked.request.messages[0]).toMatchObject({
      text: expect.stringMatching(/^Person: question 1 x+\n\nAssistant: answer 1 x+\n/) as string,
    });
    // Nobody waits for it.
    await say(actor, 'meanwhile');
    const meanwhile = await runtime.model.call(count + 1);
    expect(meanwhile.request.tools).toHaveLength(1);
    meanwhile.done('answered');
    await until(() => actor.view().turn_state === 'idle');
    asked.done('They asked and were answered.');
    const { lastSeq } = actor;
    await until(() => actor.lastSeq > lastSeq);
    await say(actor, 'next');
    const { messages } = (await runtime.model.call(count + 2)).request;
    expect(messages[0]).toEqual({
      role: 'user',
      text: '[Summary of the earlier conversation: They asked and were answered.]',
    });
    expect(JSON.stringify(messages)).not.toContain('question 1 ');
  });

  test('goes on without a summary where that fails', async () => {
    const runtime = new TestRuntime({ agent: { session } });
    const actor = await runtime.create();
    const count = await talk(runtime, actor);
    const asked = await runtime.model.call(count);
    const { lastSeq } = actor;
    asked.fail({ code: 'model_unavailable', message: 'no', retryable: true });
    await until(() => actor.lastSeq > lastSeq);
    expect((await typesOf(actor)).at(-1)).toBe('summary_failed');
    await say(actor, 'next');
    const next = await runtime.model.call(count + 1);
    expect(next.request.system).toBe('Be helpful.');
    expect(JSON.stringify(next.request.messages)).toContain(CUT_NOTE);
    next.done('ok');
    await until(() => actor.view().turn_state === 'idle');
    expect(actor.view().turns).toBe(count);
  });

  test('is summarized once more where the server died over it', async () => {
    const runtime = new TestRuntime({ agent: { session } });
    const actor = await runtime.create();
    const count = await talk(runtime, actor);
    await runtime.model.call(count);
    await runtime.restart();
    const opened = await runtime.sessions.open(actor.session);
    await opened.start();
    await runtime.clock.advance(1_000);
    const again = await runtime.model.call(1);
    expect(again.request.system).toMatch(/^You write the summary/);
    again.done('All of it.');
    await until(() => opened.lastSeq > actor.lastSeq);
    const events = await opened.read(0, 1000);
    expect(events.at(-1)?.event).toMatchObject({
      type: 'history_summarized',
      summary: 'All of it.',
    });
    expect(runtime.model.calls).toHaveLength(1);
  });

  test('is refused a summary that says nothing', async () => {
    const runtime = new TestRuntime({ agent: { session } });
    const actor = await runtime.create();
    const asked = await runtime.model.call(await talk(runtime, actor));
    const { lastSeq } = actor;
    asked.done(' \n');
    await until(() => actor.lastSeq > lastSeq);
    expect((await typesOf(actor)).at(-1)).toBe('summary_failed');
  });
});

describe('the system text', () => {
  test('is made once for each turn, and is the same at every step of it', async () => {
    let reads = 0;
    const surroundings = (): Promise<Surroundings> => {
      reads += 1;
      return Promise.resolve({ directives: `version ${reads}`, memory: '', project: '' });
    };
    const look = testTool({
      name: 'look',
      effect: 'pure',
      run: () => Promise.resolve({ outcome: 'ok', content: 'seen' }),
    });
    const runtime = new TestRuntime({ tools: [look], surroundings });
    const actor = await runtime.create();
    await say(actor, 'go');
    (await runtime.model.call(1)).done('', [{ name: 'look', arguments: {} }]);
    (await runtime.model.call(2)).done('', [{ name: 'look', arguments: {} }]);
    (await runtime.model.call(3)).done('done');
    await until(() => actor.view().turn_state === 'idle');
    await say(actor, 'again');
    (await runtime.model.call(4)).done('done');
    expect(runtime.model.calls.map(({ request }) => request.system)).toEqual([
      'Be helpful.\n\nversion 1',
      'Be helpful.\n\nversion 1',
      'Be helpful.\n\nversion 1',
      'Be helpful.\n\nversion 2',
    ]);
  });

  test('of a turn that is stopped while it is made is given to no model', async () => {
    const reading = Promise.withResolvers<void>();
    const surroundings = async (): Promise<Surroundings> => {
      await reading.promise;
      return { directives: '', memory: '', project: '' };
    };
    const runtime = new TestRuntime({ surroundings });
    const actor = await runtime.create();
    await say(actor, 'go');
    await actor.cancel();
    reading.resolve();
    await runtime.clock.advance(1_000);
    expect(actor.view().turn_state).toBe('idle');
    expect(runtime.model.calls).toHaveLength(0);
  });

  test('that cannot be made fails the turn, and is tried again at the next', async () => {
    let reads = 0;
    const surroundings = (): Promise<Surroundings> => {
      reads += 1;
      if (reads === 1) return Promise.reject(new Error('the disk is gone'));
      return Promise.resolve({ directives: '', memory: '', project: '' });
    };
    const runtime = new TestRuntime({ surroundings });
    const actor = await runtime.create();
    await say(actor, 'go');
    await until(() => actor.view().turn_state === 'idle');
    await say(actor, 'again');
    (await runtime.model.call(1)).done('done');
  });
});
