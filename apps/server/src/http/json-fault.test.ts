import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import attacks from './attacks.json' with { type: 'json' };
import { findJsonFault } from './json-fault.ts';

describe('findJsonFault', () => {
  test.each(attacks.bad_json as [string, number][])(
    'finds the fault of %j at %d',
    (text, position) => {
      expect(() => JSON.parse(text) as unknown).toThrow(SyntaxError);
      expect(findJsonFault(text, 64)?.position).toBe(position);
    },
  );

  test('finds none in any JSON', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.constantFrom(0, 1, 4), (text, indent) => {
        expect(findJsonFault(text, 64)).toBeNull();
        expect(findJsonFault(JSON.stringify(JSON.parse(text), null, indent), 64)).toBeNull();
      }),
    );
  });

  test('agrees with JSON.parse on any damaged text', () => {
    const damaged = fc.tuple(
      fc.json(),
      fc.nat(),
      fc.constantFrom(...'{}[],:"\\0-+.eE ntx\n\u0001'.split('')),
    );
    fc.assert(
      fc.property(damaged, fc.boolean(), ([text, at, char], isInsert) => {
        const i = at % (text.length + 1);
        const bad = text.slice(0, i) + char + text.slice(isInsert ? i : i + 1);
        expect(findJsonFault(bad, 10_000) === null).toBe(parses(bad));
      }),
      { numRuns: 2_000 },
    );
  });

  test('counts depth, and no brackets in strings', () => {
    expect(findJsonFault('['.repeat(64) + ']'.repeat(64), 64)).toBeNull();
    expect(findJsonFault('['.repeat(65) + ']'.repeat(65), 64)?.position).toBe(64);
    expect(findJsonFault(`{"a":${'['.repeat(63)}${']'.repeat(63)}}`, 64)).toBeNull();
    expect(findJsonFault(JSON.stringify('['.repeat(500)), 1)).toBeNull();
    expect(findJsonFault(JSON.stringify(Array.from({ length: 500 }, () => [])), 2)).toBeNull();
  });

  test('takes a megabyte of anything in its stride', () => {
    const before = performance.now();
    const size = 1024 * 1024;
    for (const text of ['[', '"', '\\', '{"a":', ' ', '1', '[]', '"\\u0041'].map((part) =>
      part.repeat(size / part.length),
    )) {
      findJsonFault(text, 64);
    }
    expect(findJsonFault(`"${'\\n'.repeat(size / 2)}"`, 64)).toBeNull();
    expect(performance.now() - before).toBeLessThan(2_000);
  });
});

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}
