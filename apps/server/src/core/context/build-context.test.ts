import { textOf } from '../session/spoken-text.ts';
import type { SessionEvent } from '@duragent/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Agent } from '../agent.ts';
import { buildContext, CUT_NOTE } from './build-context.ts';
import { foldLog } from '../session/fold.ts';
import { answer, Drive, say, START } from '../session/testing.ts';
import type { Context } from './message.ts';
import { calls, contextAgent, contextOf as given, result, spoken, Talk } from './testing.ts';

const contextOf = (events: SessionEvent[], change: Partial<Agent['session']> = {}) =>
  given(foldLog(null, events), contextAgent(change));

/** The conversation as short words: `user:1`, `assistant:…`, `tool:p1,p2`. */
function shape(events: SessionEvent[]): string[] {
  return contextOf(events).messages.map((message) => {
    if (message.role === 'user') return `user:${message.text}`;
    if (message.role === 'tool') {
      return `tool:${message.results.map((result) => result.providerCallId).join(',')}`;
    }
    return `assistant:${textOf(message.content)}`;
  });
}

const finished = (id: string, content = 'result', turn = 'turn_1') => result(turn, id, content);

function begun(rules: ConstructorParameters<typeof Drive>[0] = {}): Drive {
  const drive = new Drive(rules);
  drive.submit(START);
  return drive;
}

describe('the conversation', () => {
  test('puts a steered message behind the tool results of the step that had not seen it', () => {
    const drive = begun();
    drive.submit(say('1'));
    const call = answer(drive.state, { tool_calls: calls('a', 'b'), content: spoken('looking') });
    drive.submit(say('2'));
    drive.submit(call);
    drive.submit(finished('b'));
    drive.submit(finished('a'));
    expect(shape(drive.events)).toEqual(['user:1', 'assistant:looking', 'tool:b,a', 'user:2']);
    drive.submit((state) => answer(state, { content: spoken('done') }));
    drive.submit(say('3'));
    expect(shape(drive.events)).toEqual([
      'user:1',
      'assistant:looking',
      'tool:b,a',
      'user:2',
      'assistant:done',
      'user:3',
    ]);
  });

  test('keeps a message that waits for its own turn out of the running one', () => {
    const drive = begun({ queue: 'sequential' });
    drive.submit(say('1'));
    drive.submit(say('2'));
    drive.submit(say('3', { handling: 'passive' }));
    expect(shape(drive.events)).toEqual(['user:1', 'user:3']);
    drive.submit(answer);
    expect(shape(drive.events)).toEqual(['user:1', 'user:3', 'assistant:hello', 'user:2']);
  });

  test('shows passive messages and hides silent ones', () => {
    const drive = begun();
    drive.submit(say('1', { handling: 'passive' }));
    drive.submit(say('2', { handling: 'silent' }));
    drive.submit(say('3'));
    expect(shape(drive.events)).toEqual(['user:1', 'user:3']);
  });

  test('leaves out answers that say nothing', () => {
    const drive = begun();
    drive.submit(say('1'));
    drive.submit((state) => answer(state, { content: [] }));
    drive.submit(say('2'));
    expect(shape(drive.events)).toEqual(['user:1', 'user:2']);
  });

  test('keeps the newest that fit the budget, and says that the rest is left out', () => {
    const drive = begun();
    for (let i = 0; i < 20; i += 1) {
      drive.submit(say(`${i}`, { content: spoken(`${i} ${'x'.repeat(398)}`) }));
      drive.submit((state) => answer(state, { content: spoken('y'.repeat(400)) }));
    }
    const { messages } = contextOf(drive.events, { maxHistoryTokens: 450 });
    expect(messages).toHaveLength(4);
    expect(messages[0]).toEqual({ role: 'user', text: CUT_NOTE });
    expect(messages.at(-1)).toMatchObject({ role: 'assistant' });
  });

  test('keeps the message to be answered however large it is', () => {
    const drive = begun();
    drive.submit(say('1', { content: spoken('z'.repeat(10_000)) }));
    const { messages } = contextOf(drive.events, { maxHistoryTokens: 10 });
    expect(messages).toEqual([{ role: 'user', text: 'z'.repeat(10_000) }]);
  });

  test('shortens a long tool result and says so', () => {
    const drive = begun();
    drive.submit(say('1'));
    drive.submit((state) => answer(state, { tool_calls: calls('a') }));
    drive.submit(finished('a', '€'.repeat(1000)));
    const [, , results] = contextOf(drive.events).messages;
    const content = results?.role === 'tool' ? results.results[0]?.content : '';
    expect(content?.length).toBeLessThan(150);
    expect(content).toMatch(/\[The rest of this result, 9\d\d characters, is left out\.\]$/);
  });

  test('gives every tool call its results right behind it, whatever falls out', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(3), { maxLength: 12 }),
        fc.integer({ min: 1, max: 400 }),
        (steps, budget) => {
          const drive = begun();
          drive.submit(say('1'));
          for (const [i, count] of steps.entries()) {
            const ids = Array.from({ length: count }, (_, k) => `${i}_${k}`);
            drive.submit((state) => answer(state, { tool_calls: calls(...ids) }));
            for (const id of ids) {
              drive.submit(finished(id, 'r'.repeat(100), drive.state.turn?.turn));
            }
            if (count === 0) drive.submit(say(`more${i}`));
          }
          const { messages } = contextOf(drive.events, { maxHistoryTokens: budget });
          for (const [i, message] of messages.entries()) {
            if (message.role !== 'assistant' || message.toolCalls.length === 0) continue;
            const results = messages[i + 1];
            const given = results?.role === 'tool' ? results.results : [];
            expect(given.map((result) => result.providerCallId).sort()).toEqual(
              message.toolCalls.map((call) => call.provider_call_id).sort(),
            );
          }
          expect(messages.every((message, i) => message.role !== 'tool' || i > 0)).toBe(true);
        },
      ),
    );
  });

  test('begins the same as long as nothing falls out, so that a cache hits', () => {
    const drive = begun();
    let before = '';
    for (let i = 0; i < 10; i += 1) {
      drive.submit(say(`${i}`));
      const context = contextOf(drive.events);
      const text = JSON.stringify([context.system, context.messages]).slice(0, -2);
      expect(text.startsWith(before)).toBe(true);
      before = text;
      drive.submit(answer);
    }
  });
});

/** The results in order, masked ones as `-`. */
function results({ messages }: Context): string {
  return messages
    .flatMap((message) => (message.role === 'tool' ? message.results : []))
    .map(({ content }) => (content.startsWith('[result left out;') ? '-' : content[0]))
    .join('');
}

describe('a history that grows too long', () => {
  const steps = (talk: Talk, count: number, length = 200): void => {
    for (let i = 0; i < count; i += 1) {
      talk.answer('', calls(`${i}`));
      const turn = talk.fold.state.turn?.turn;
      talk.submit(result(turn, `${i}`, `${i}`.repeat(length).slice(0, length)));
    }
  };

  test('first gives up tool results, but for the first two and the last five', () => {
    const talk = new Talk(contextAgent({ maxHistoryTokens: 710 }));
    talk.submit(say('go'));
    steps(talk, 10);
    // Nine steps of some 75 tokens are more than nine tenths of the budget.
    expect(talk.contexts.map(results)).toEqual([
      '',
      '0',
      '01',
      '012',
      '0123',
      '01234',
      '012345',
      '0123456',
      '01234567',
      '01--45678',
    ]);
    expect(results(talk.answer('done'))).toBe('01--456789');
  });

  test('then leaves out what is oldest, and keeps what the turn has to answer', () => {
    const talk = new Talk(contextAgent({ maxHistoryTokens: 400, toolResultKeepLast: 1 }));
    talk.submit(say('before'));
    talk.answer('answered');
    talk.submit(say('go'));
    steps(talk, 9);
    const { messages, given } = talk.answer('done');
    expect(given.from_seq).toBeGreaterThan(10);
    expect(messages.slice(0, 2)).toEqual([
      { role: 'user', text: CUT_NOTE },
      { role: 'user', text: 'go' },
    ]);
    expect(messages[2]).toMatchObject({ role: 'assistant' });
    // The next turn has its own request.
    talk.submit(say('next'));
    expect(talk.answer('').messages.filter(({ role }) => role === 'user')).toEqual([
      { role: 'user', text: CUT_NOTE },
      { role: 'user', text: 'next' },
    ]);
  });

  test('shows only the beginning of a request that would fill what is left', () => {
    const talk = new Talk(contextAgent({ maxHistoryTokens: 400, toolResultKeepLast: 1 }));
    talk.submit(say('go', { content: spoken(`go ${'x'.repeat(2000)}`) }));
    steps(talk, 3);
    const [, request] = talk.answer('done').messages;
    expect(request).toMatchObject({
      role: 'user',
      text: expect.stringMatching(
        /^go x{397}\n\[The rest of this message, 1603 characters, is left out\.\]$/,
      ) as string,
    });
  });

  test('is told in a summary from the next call on, with what was said since', () => {
    const talk = new Talk(contextAgent({ maxHistoryTokens: 400, summarize: true }));
    for (let i = 0; talk.summary === null; i += 1) {
      talk.submit(say(`${i}`, { content: spoken(`${i} ${'x'.repeat(200)}`) }));
      talk.answer('y'.repeat(200));
    }
    const before = talk.contexts.at(-1);
    expect(before?.given.summarize_seq).toBeGreaterThan(1);
    expect(before?.messages[0]).toMatchObject({ text: expect.stringMatching(/^0 x/) as string });
    talk.submit(say('next'));
    const { messages } = talk.answer('');
    expect(messages[0]).toEqual({
      role: 'user',
      text: `[Summary of the earlier conversation: ${talk.summary}]`,
    });
    // Nothing is missing between the two.
    expect(messages.slice(1, -2)).toEqual(before?.messages.slice(-messages.length + 3));
    expect(talk.fold.window.start).toBe(
      before?.given.summarize_seq && before.given.summarize_seq + 1,
    );
  });

  test('has less room beside a large prompt, and where the provider counts more', () => {
    const small = contextAgent();
    const model = { ...small.models[0], maxInputTokens: 3000, maxOutputTokens: 1000 };
    const agent: Agent = { ...small, models: [model] };
    const drive = begun();
    for (let i = 0; i < 40; i += 1) {
      drive.submit(say(`${i}`, { content: spoken('x'.repeat(396)) }));
      drive.submit((state) => answer(state, { content: [] }));
    }
    const shown = (events: SessionEvent[], prompt: number): number => {
      const fold = foldLog(null, events);
      const request = { agent, model, ...fold, summary: null, system: '', prompt };
      return buildContext(request).messages.length - 1;
    };
    // 3,000 less a tenth, the answer and the prompt; three quarters of it, 100 each.
    expect(shown(drive.events, 0)).toBe(12);
    expect(shown(drive.events, 900)).toBe(6);
    const { seq } = drive.state;
    const given = { from_seq: 1, masked_seq: 0, tokens: 1000 };
    drive.submit(say('last', { content: spoken('x'.repeat(396)) }));
    const usage = { input_tokens: 1500, output_tokens: 1 };
    drive.submit((state) => answer(state, { content: [], given, usage }));
    expect(drive.state.seq).toBeGreaterThan(seq);
    expect(shown(drive.events, 0)).toBe(8);
  });
});
