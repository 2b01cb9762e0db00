import { isKnownEvent, queueModeSchema } from '@duragent/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { foldLog, foldOn, packState } from '../session/fold.ts';
import { say } from '../session/testing.ts';
import { eventTokens } from '../session/event-tokens.ts';
import type { WindowEvent } from '../session/window.ts';
import { estimateTokens } from '../utf8.ts';
import { CUT_NOTE } from './build-context.ts';
import type { Context, ContextMessage } from './message.ts';
import { calls, contextAgent, contextOf, result, spoken, Talk } from './testing.ts';
import { arrange } from './units.ts';

type Step =
  | { do: 'say'; size: number; handling: 'turn' | 'passive' | 'silent' }
  /** `said`: while its first tool runs, somebody speaks. */
  | { do: 'answer'; size: number; calls: number[]; said: boolean }
  /** What is owed to the model ends so. */
  | { do: 'summary'; made: 'summarized' | 'failed' };

const size = fc.oneof({ weight: 6, arbitrary: fc.nat(200) }, { weight: 1, arbitrary: fc.nat(800) });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('say' as const),
      size,
      handling: fc.constantFrom('turn', 'turn', 'turn', 'passive', 'silent'),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      size,
      calls: fc.array(size, { maxLength: 3 }),
      said: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('summary' as const),
      made: fc.constantFrom('summarized', 'summarized', 'failed'),
    }),
  },
);
const conversation = fc.record({
  steps: fc.array(step, { minLength: 10, maxLength: 80, size: 'max' }),
  queue: fc.constantFrom(...queueModeSchema.options),
  session: fc.record({
    maxHistoryTokens: fc.integer({ min: 300, max: 800 }),
    maxToolResultTokens: fc.integer({ min: 60, max: 300 }),
    toolResultTruncation: fc.constantFrom('head' as const, 'tail' as const, 'both' as const),
    toolResultKeepFirst: fc.nat(3),
    toolResultKeepLast: fc.nat(4),
    summarize: fc.boolean(),
  }),
});
type Conversation = typeof conversation extends fc.Arbitrary<infer T> ? T : never;

/** Every text names what it is of, so that it can be found again. */
class Told extends Talk {
  #count = 0;

  /** @returns what the model was given, where it was called. */
  take(step: Step): Context | null {
    this.#count += 1;
    const id = `${this.#count}`;
    const { turn } = this.fold.state;
    if (step.do === 'say') {
      const content = spoken(`u${id} ${'x'.repeat(step.size)}`);
      this.submit(say(id, { content, handling: step.handling }));
    } else if (step.do === 'summary') {
      this.onSummary = () => step.made;
      this.summarize();
      this.onSummary = () => null;
    } else if (turn?.phase === 'model') {
      const ids = step.calls.map((_, i) => `${id}_${i}`);
      const context = this.answer(`a${id} ${'x'.repeat(step.size)}`, calls(...ids));
      for (const [i, length] of step.calls.entries()) {
        if (i === 0 && step.said) this.submit(say(`${id}s`, { content: spoken(`u${id}s`) }));
        this.submit(result(turn.turn, `${id}_${i}`, 'r'.repeat(length)));
      }
      return context;
    }
    return null;
  }
}

function live(given: Conversation): Told {
  const talk = new Told(contextAgent(given.session), { queue: given.queue });
  talk.onSummary = () => null;
  return talk;
}

const nameOf = (message: ContextMessage): string[] => {
  if (message.role === 'tool') return [];
  const text =
    message.role === 'user'
      ? message.text
      : message.content.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('');
  return [text.split(' ')[0] ?? ''];
};

/** What is shown before the conversation: notes, and the request in work where it would be left out. */
function headOf({ messages }: Context, shown: number): ContextMessage[] {
  const conversation = messages.filter(({ role }) => role !== 'tool').length - shown;
  return messages.slice(0, conversation);
}

const tokensOf = (messages: readonly ContextMessage[]): number =>
  messages.reduce((sum, message) => {
    if (message.role === 'user') return sum + estimateTokens(message.text);
    if (message.role === 'tool') {
      return sum + message.results.reduce((all, one) => all + estimateTokens(one.content), 0);
    }
    const calls =
      message.toolCalls.length > 0 ? estimateTokens(JSON.stringify(message.toolCalls)) : 0;
    return (
      sum +
      calls +
      tokensOf(
        message.content.map((part) => ({
          role: 'user',
          text: part.type === 'file' ? '' : part.text,
        })),
      )
    );
  }, 0);

/** The whole conversation, as if there were room for all of it; `isThere`: the window still has it. */
function whole(talk: Talk) {
  const events = talk.drive.events.filter(isKnownEvent) as WindowEvent[];
  const sizes = events.map(eventTokens);
  return arrange(
    { events, sizes },
    talk.fold.state.pending,
    talk.agent.access.groups.contextBuffer,
  ).map((unit) => ({
    at: unit.at,
    first: unit.first,
    isThere: unit.first >= talk.fold.window.start,
    name: nameOf(
      unit.kind === 'said'
        ? unit.message
        : { role: 'assistant', content: unit.answer.content, toolCalls: [] },
    ).join(''),
  }));
}

describe('any conversation', () => {
  test('is shown in order, from one place to its end, with a result for every call', () => {
    fc.assert(
      fc.property(conversation, (given) => {
        const talk = live(given);
        for (const one of given.steps) {
          const before = whole(talk);
          const { turn } = talk.fold.state;
          const context = talk.take(one);
          if (!context) continue;
          const { messages } = context;
          for (const [i, message] of messages.entries()) {
            const next = messages[i + 1];
            const results =
              next?.role === 'tool' ? next.results.map((one) => one.providerCallId) : [];
            const asked = message.role === 'assistant' ? message.toolCalls : [];
            expect(results).toEqual(asked.map((call) => call.provider_call_id));
          }
          const shown = before.filter(({ at, isThere }) => isThere && at >= context.given.from_seq);
          // What a summary ends before is all in the window behind it.
          const upTo = context.given.summarize_seq ?? 0;
          const after = before.filter(({ at, isThere }) => isThere && at > upTo);
          if (upTo > 0) expect(Math.min(...after.map(({ first }) => first))).toBeGreaterThan(upTo);
          const names = (shown.length > 0 ? shown : before.slice(-1)).map(({ name }) => name);
          expect(messages.flatMap(nameOf).slice(-names.length)).toEqual(names);
          // Before it stand notes, and the request in work.
          const trigger = turn?.trigger.map((id) => id.replace('msg_', 'u')) ?? [];
          for (const message of headOf(context, names.length)) {
            const [name = ''] = nameOf(message);
            expect(['[Summary', CUT_NOTE.split(' ')[0], ...trigger]).toContain(name);
            expect(names).not.toContain(name);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  test('takes no more than its budget, unless what came last alone does', () => {
    fc.assert(
      fc.property(conversation, (given) => {
        const talk = live(given);
        for (const one of given.steps) {
          const before = whole(talk);
          const context = talk.take(one);
          if (!context) continue;
          const shown = before.filter(({ at, isThere }) => isThere && at >= context.given.from_seq);
          if (new Set(shown.map(({ at }) => at)).size <= 1) continue;
          const notes = context.messages.filter((message) =>
            /^\[(Summary|The)/.test(nameOf(message)[0] ?? ''),
          );
          const tokens = tokensOf(context.messages) - tokensOf(notes);
          expect(tokens).toBeLessThanOrEqual(given.session.maxHistoryTokens);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('begins with the same bytes as the call before, unless something was cut, masked or summarized', () => {
    let same = 0;
    fc.assert(
      fc.property(conversation, (given) => {
        const talk = live(given);
        const earlier: { context: Context; head: string }[] = [];
        for (const one of given.steps) {
          const summaries = talk.drive.events.filter(({ type }) => type === 'history_summarized');
          const before = whole(talk);
          const { turn } = talk.fold.state;
          const context = talk.take(one);
          if (!context) continue;
          const { from_seq, masked_seq } = context.given;
          const isTurnCut = from_seq > (turn?.startedSeq ?? 0);
          // A request that is shown alone goes with its turn.
          const lost = before.filter(({ at, isThere }) => !isThere && at >= from_seq).length;
          const head = JSON.stringify([
            from_seq,
            masked_seq,
            summaries.length,
            isTurnCut ? turn?.turn : '',
            lost,
          ]);
          const last = earlier.at(-1);
          if (last?.head === head) {
            same += 1;
            const { messages } = last.context;
            expect(context.messages.slice(0, messages.length)).toEqual(messages);
            expect(JSON.stringify(context.messages)).toContain(
              JSON.stringify(messages).slice(0, -1),
            );
          }
          earlier.push({ context, head });
        }
      }),
      { numRuns: 100 },
    );
    expect(same).toBeGreaterThan(500);
  });

  test('is shown the same by a server that has just opened the session', () => {
    fc.assert(
      fc.property(conversation, (given) => {
        const talk = live(given);
        for (const one of given.steps) talk.take(one);
        const { state, window } = talk.fold;
        const snapshot = {
          state: JSON.parse(JSON.stringify(packState(state))) as unknown,
          seq: state.seq,
        };
        const rest = talk.drive.events.filter((event) => event.seq >= window.start);
        const opened = foldLog(snapshot, rest);
        const { agent, summary } = talk;
        expect(opened && contextOf(opened, agent, summary)).toEqual(
          contextOf(talk.fold, agent, summary),
        );
        expect(foldOn(foldLog(null, []), talk.drive.events).window).toEqual(window);
      }),
      { numRuns: 100 },
    );
  });
});
