import { textOf } from '../session/spoken-text.ts';
import type { SessionEvent } from '@duragent/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Agent } from '../agent.ts';
import { buildContext, CUT_NOTE } from './build-context.ts';
import { foldLog } from '../session/fold.ts';
import { answer, Drive, say, START } from '../session/testing.ts';
import { calls, contextAgent, contextOf as given, result, spoken } from './testing.ts';

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
