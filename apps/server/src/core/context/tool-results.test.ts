import type { EventOf } from '@duragent/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { estimateTokens } from '../utf8.ts';
import { maskedResult, shorten, shortResult } from './tool-results.ts';

const finished = (content: string): EventOf<'tool_finished'> => ({
  seq: 1,
  epoch: 1,
  at: '',
  type: 'tool_finished',
  turn: 't',
  call: 'c',
  outcome: 'ok',
  content,
  details: {},
});

describe('a long result', () => {
  const text = `begin${'.'.repeat(1000)}end`;

  test.each([
    ['head', /^begin\.+\n\[The rest of this result, 968 characters, is left out\.\]$/],
    ['tail', /^\[The beginning of this result, 968 characters, is left out\.\]\n\.+end$/],
    ['both', /^begin\.+\n\[The middle of this result, 968 characters, is left out\.\]\n\.+end$/],
  ] as const)('keeps its %s', (truncation, shape) => {
    expect(shorten(text, { maxTokens: 10, truncation })).toMatch(shape);
  });

  test('is cut between characters, and takes what it may and its note', () => {
    const truncation = fc.constantFrom('head' as const, 'tail' as const, 'both' as const);
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', minLength: 60 }),
        fc.nat(12),
        truncation,
        (content, maxTokens, how) => {
          const short = shorten(content, { maxTokens, truncation: how });
          expect(short.isWellFormed()).toBe(true);
          expect(estimateTokens(short)).toBeLessThanOrEqual(maxTokens + 20);
          const left = Number(/, (\d+) characters/.exec(short)?.[1]);
          const note = /\n?\[The [a-z]+ of this result, \d+ characters, is left out\.\]\n?/;
          expect(short.replace(note, '').length).toBe(content.length - left);
        },
      ),
    );
  });

  test('is the same at every call, and another for another limit', () => {
    const event = finished(text);
    const head = { maxTokens: 10, truncation: 'head' as const };
    expect(shortResult(event, head)).toBe(shortResult(event, { ...head }));
    expect(shortResult(event, { ...head, truncation: 'tail' }).content).toMatch(/end$/);
    expect(shortResult(event, { ...head, maxTokens: 1000 }).content).toBe(text);
  });
});

test('a masked result says how long it was; one that is shorter than that stays', () => {
  const limit = { maxTokens: 1000, truncation: 'head' as const };
  expect(maskedResult(finished('x'.repeat(500)), limit).content).toBe(
    '[result left out; 500 characters]',
  );
  expect(maskedResult(finished('done'), limit).content).toBe('done');
});
