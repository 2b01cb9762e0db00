import fc from 'fast-check';
import { expect, test } from 'vitest';
import { toolNamed, wireName } from './tool-names.ts';

test.each([
  ['bash', 'bash'],
  ['github:create_issue', 'github__create_issue'],
  ['ask_user', 'ask_user'],
])('%s is sent as %s', (name, wire) => expect(wireName(name)).toBe(wire));

test('every name is one that providers take, and the model is understood by it', () => {
  const name = fc.stringMatching(/^[a-z0-9-]{1,63}(:[A-Za-z0-9_.-]{1,64})?$/);
  fc.assert(
    fc.property(fc.uniqueArray(name, { minLength: 1, maxLength: 20 }), (names) => {
      const tools = names.map((one) => ({ name: one }));
      for (const one of names) {
        expect(wireName(one)).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
        expect(toolNamed(tools, wireName(one))).toBe(one);
      }
    }),
  );
});

test('two names that would be sent alike are not', () => {
  expect(wireName('a:b')).not.toBe(wireName('a__b'));
  expect(wireName('a:b.c')).not.toBe(wireName('a:b_c'));
});

test('a name that no tool has stays as it is', () => {
  expect(toolNamed([{ name: 'bash' }], 'rm__all')).toBe('rm__all');
});
