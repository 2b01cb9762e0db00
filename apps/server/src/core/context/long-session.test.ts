import { describe, expect, test } from 'vitest';
import { say } from '../session/testing.ts';
import { CUT_NOTE } from './build-context.ts';
import type { Context } from './message.ts';
import { calls, contextAgent, result, spoken, Talk } from './testing.ts';

const TURNS = 2_000;

/** A person who asks for something that takes a tool, again and again. */
function talkFor(turns: number, talk: Talk, each: (turn: number) => void = () => undefined): void {
  for (let turn = 0; turn < turns; turn += 1) {
    talk.submit(say(`${turn}`, { content: spoken(`question ${turn} ${'q'.repeat(100)}`) }));
    talk.answer('', calls(`${turn}`));
    talk.submit(result(talk.fold.state.turn?.turn, `${turn}`, `result ${turn} ${'r'.repeat(400)}`));
    talk.answer(`answer ${turn} ${'a'.repeat(100)}`);
    each(turn);
  }
}

const bytesOf = ({ messages }: Context): number => JSON.stringify(messages).length;

/** How often a call did not begin with all that the call before it was given. */
function movesOf(contexts: readonly Context[]): number {
  let moves = 0;
  for (const [i, { messages }] of contexts.entries()) {
    const before = contexts[i - 1]?.messages ?? [];
    const kept = messages.slice(0, before.length);
    if (JSON.stringify(kept) !== JSON.stringify(before)) moves += 1;
  }
  return moves;
}

describe.each([
  ['with summaries', { summarize: true }, 'summarized' as const],
  ['without summaries', { summarize: false }, 'summarized' as const],
  ['whose summaries fail', { summarize: true }, 'failed' as const],
  ['whose first summary never ends', { summarize: true }, null],
])('a session of 2,000 turns %s', (_, change, made) => {
  test('costs the same per call at its end as at its beginning, and moves its beginning seldom', () => {
    const agent = contextAgent({ maxHistoryTokens: 4000, maxToolResultTokens: 200, ...change });
    const talk = new Talk(agent);
    talk.onSummary = () => made;
    const walked: number[] = [];
    talkFor(TURNS, talk, () => walked.push(talk.fold.window.events.length));
    const { contexts } = talk;
    const sizes = contexts.map(bytesOf);
    const most = (all: readonly number[]): number => Math.max(...all);
    // Two calls each turn.
    expect(most(sizes.slice(200))).toBeLessThanOrEqual(most(sizes.slice(0, 200)) * 1.05);
    expect(most(walked.slice(500))).toBeLessThanOrEqual(most(walked.slice(0, 500)) * 1.05);
    expect(most(walked)).toBeLessThan(1000);
    expect(most(contexts.map(({ given }) => given.tokens))).toBeLessThanOrEqual(4100);
    expect(JSON.stringify(talk.fold.state).length).toBeLessThan(2000);
    // A turn adds some 180 tokens: a step lasts for several of them.
    const moves = movesOf(contexts);
    expect(moves).toBeGreaterThan(100);
    expect(moves).toBeLessThan(TURNS / 3);
    // A summary comes in time, so that nothing is missing; one that fails is not tried at every call.
    const count = (type: string) => talk.drive.events.filter((event) => event.type === type).length;
    const notes = contexts.filter(({ messages }) => JSON.stringify(messages[0]).includes(CUT_NOTE));
    expect(notes.length > 0).toBe(!change.summarize || made !== 'summarized');
    expect(count('history_summarized') > 0).toBe(change.summarize && made === 'summarized');
    expect(count('history_summarized')).toBeLessThan(TURNS / 10);
    expect(count('summary_failed')).toBeLessThan(TURNS / 4);
    expect(count('summary_failed') > 0).toBe(made === 'failed');
  });
});
