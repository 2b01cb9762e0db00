import { expect, it } from 'vitest';
import { isActivated } from './activation.ts';

const nothing = { mentionsBot: false, replyToBot: false, isCommand: false };

it('by a mention, an answer or a command, each of them enough', () => {
  expect(isActivated('mention', nothing)).toBe(false);
  for (const one of ['mentionsBot', 'replyToBot', 'isCommand']) {
    expect(isActivated('mention', { ...nothing, [one]: true })).toBe(true);
  }
});

it('by everything, where that is said', () => {
  expect(isActivated('always', nothing)).toBe(true);
});
