import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Arrival } from './arrival.ts';
import { resolveRoute, type Route } from './routing.ts';

const arrival: Arrival = {
  gateway: 'telegram',
  chatType: 'group',
  chatId: '-100',
  threadId: '7',
  senderId: '123',
  isBot: false,
};
const whole: Required<Route['match']> = {
  gateway: 'telegram',
  chatType: 'group',
  chatId: '-100',
  senderId: '123',
  threadId: '7',
};
const to = (match: Route['match'], agent = 'a'): Route => ({ match, agent });
const route = (routes: Route[], from: Arrival = arrival) => resolveRoute(routes, from, ['x'], 'd');

describe('with routes', () => {
  it('the first that matches wins', () => {
    expect(route([to({ chatId: '5' }, 'a'), to({}, 'b'), to(whole, 'c')])).toBe('b');
  });

  it('an arrival that none matches is for nobody, though there is a default and an only agent', () => {
    expect(route([to({ gateway: 'slack' })])).toBeNull();
  });

  it('the agent of the first match is meant, also if there is none of that name', () => {
    expect(resolveRoute([to({}, 'gone'), to({}, 'x')], arrival, ['x'], null)).toBe('gone');
  });

  it('all that is given has to hold', () => {
    expect(route([to(whole)])).toBe('a');
    const others = { gateway: 'slack', chatType: 'dm', chatId: '-1', senderId: '1', threadId: '1' };
    for (const [field, other] of Object.entries(others)) {
      expect(route([to({ ...whole, [field]: other })])).toBeNull();
      expect(route([to({ [field]: other })])).toBeNull();
      expect(route([to({ [field]: whole[field as keyof typeof whole] })])).toBe('a');
    }
  });

  it('a thread is not matched by what has none', () => {
    const { threadId: _, ...plain } = arrival;
    expect(route([to({ threadId: '7' })], plain)).toBeNull();
    expect(route([to({})], plain)).toBe('a');
  });

  it('an empty id matches nothing', () => {
    for (const field of ['gateway', 'chatId', 'senderId', 'threadId'] as const) {
      expect(route([to({ [field]: '' })], { ...arrival, [field]: '' })).toBeNull();
    }
  });

  it('no id is taken for another kind of id, or for a part of one', () => {
    expect(route([to({ chatId: '123' }), to({ senderId: '-100' }), to({ threadId: '123' })])).toBe(
      null,
    );
    expect(route([to({ chatId: '-10' }), to({ chatId: '-1000' }), to({ chatId: '*' })])).toBeNull();
  });

  it('says what a plain reading of the rule says', () => {
    const few = fc.constantFrom('', '1', '2');
    const match = fc.record(
      { gateway: few, chatId: few, senderId: few, threadId: few },
      { requiredKeys: [] },
    );
    const lists = fc.array(fc.record({ match, agent: fc.constantFrom('a', 'b') }), {
      minLength: 1,
      maxLength: 4,
    });
    const from = fc.record({ gateway: few, chatId: few, senderId: few, threadId: few });
    fc.assert(
      fc.property(lists, from, (routes, ids) => {
        let wanted: string | null = null;
        for (const { match: given, agent } of routes.toReversed()) {
          const fields = Object.entries(given);
          const fits = ([field, value]: [string, string]) =>
            value.length > 0 && ids[field as keyof typeof ids] === value;
          if (fields.filter(fits).length === fields.length) wanted = agent;
        }
        expect(route(routes, { ...arrival, ...ids })).toBe(wanted);
      }),
    );
  });
});

describe('without routes', () => {
  it.each([
    [['a'], null, 'a'],
    [[], null, null],
    [['a', 'b'], null, null],
    [['a', 'b'], 'b', 'b'],
    [['a'], 'b', 'b'],
    [[], 'b', 'b'],
  ])('of %j with the default %j it is %j', (agents, standard, agent) => {
    expect(resolveRoute([], arrival, agents, standard)).toBe(agent);
  });
});
