import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cutBytes } from './json-values.ts';
import { isDeeper, type JsonLine, JsonLines } from './json-lines.ts';

function read(text: string | Uint8Array, size = 7): JsonLine[] {
  const bytes = Buffer.from(text);
  const lines = new JsonLines({ maxMessageBytes: 100, maxMessageDepth: 4 });
  const found: JsonLine[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    lines.push(bytes.subarray(at, at + size), (line) => found.push(line));
  }
  return found;
}

describe('lines of JSON', () => {
  test('are objects, other text, and what is too long or too deep', () => {
    const types = read(
      `{"a":1}\r\n\n  \nhello\n[1]\n{"a"\n${'x'.repeat(101)}\n{"a":[[[[1]]]]}\n{"b":2}\n{"half"`,
    ).map((line) => (line.type === 'value' ? line.value : line.type));
    expect(types).toEqual([{ a: 1 }, 'other', 'other', 'other', 'unread', 'unread', { b: 2 }]);
  });

  test('are UTF-8, with or without a byte order mark', () => {
    expect(read(Buffer.from([0x7b, 0xff, 0x7d, 0x0a]))).toMatchObject([{ type: 'other' }]);
    expect(read('\uFEFF{"a":"ä"}\n')).toMatchObject([{ type: 'value', value: { a: 'ä' } }]);
  });

  test('are nested as deep as they look to a parser', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.integer({ min: 0, max: 7 }), (value, most) => {
        expect(isDeeper(Buffer.from(JSON.stringify(value)), most)).toBe(depthOf(value) > most);
      }),
    );
  });
});

test('a text is cut at a character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 0, max: 40 }), (text, most) => {
      const cut = cutBytes(text, most);
      expect(text.startsWith(cut)).toBe(true);
      expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(most);
      expect(Buffer.byteLength(text) - Buffer.byteLength(cut) > 0).toBe(
        Buffer.byteLength(text) > most,
      );
      if (cut !== text) expect(Buffer.byteLength(cut)).toBeGreaterThan(most - 4);
    }),
  );
});

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}
