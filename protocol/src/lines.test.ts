import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type DecodedLine, encodeLine, LineDecoder } from './lines.ts';

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);

function decode(chunks: Uint8Array[], maxBytes = 100): DecodedLine[] {
  const decoder = new LineDecoder({ maxBytes });
  const lines = chunks.flatMap((chunk) => decoder.push(chunk));
  const rest = decoder.end();
  return rest ? [...lines, rest] : lines;
}

describe('a line decoder', () => {
  test('gives the same lines however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.string({ maxLength: 30, unit: 'binary' }).map((line) => line.replaceAll('\n', '')),
        ),
        fc.array(fc.nat(40)),
        (lines, cuts) => {
          const all = bytes(lines.map((line) => `${line}\n`).join(''));
          const chunks: Uint8Array[] = [];
          let from = 0;
          for (const cut of cuts) {
            chunks.push(all.slice(from, from + cut));
            from += cut;
          }
          chunks.push(all.slice(from));
          const decoded = decode(chunks, 1000);
          expect(decoded.map((line) => line.type === 'line' && text(line.bytes))).toEqual(
            lines.map((line) => text(bytes(line))),
          );
        },
      ),
    );
  });

  test('drops a line that is too long, counts it, and reads the next one whole', () => {
    const chunks = [bytes('a'.repeat(60)), bytes('a'.repeat(60)), bytes('\nok\n')];
    expect(decode(chunks).map((line) => (line.type === 'line' ? text(line.bytes) : line))).toEqual([
      { type: 'too_long', length: 120 },
      'ok',
    ]);
  });

  test('takes a line of exactly the limit, and no byte more', () => {
    expect(decode([bytes(`${'a'.repeat(100)}\n`)])[0]?.type).toBe('line');
    expect(decode([bytes(`${'a'.repeat(101)}\n`)])[0]).toEqual({ type: 'too_long', length: 101 });
  });

  test('cuts at LF only: U+2028, U+0085 and CR stay in the line', () => {
    const line = 'a\u2028b\u2029c\u0085d\re';
    expect(decode([bytes(`${line}\n`)])).toEqual([{ type: 'line', bytes: bytes(line) }]);
  });

  test('gives what stands behind the last LF only when asked', () => {
    const decoder = new LineDecoder({ maxBytes: 10 });
    expect(decoder.push(bytes('half'))).toEqual([]);
    expect(decoder.end()).toEqual({ type: 'line', bytes: bytes('half') });
    expect(decoder.end()).toBeNull();
  });

  test('keeps its lines when the caller reuses the buffer', () => {
    const buffer = bytes('one\n');
    const [line] = new LineDecoder({ maxBytes: 10 }).push(buffer);
    buffer.fill(0);
    expect(line?.type === 'line' && text(line.bytes)).toBe('one');
  });
});

describe('encoding a line', () => {
  test('reads back as the same message', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (message) => {
        const [line] = decode([encodeLine(message, { maxBytes: 100_000 })], 100_000);
        expect(JSON.parse(line?.type === 'line' ? text(line.bytes) : '')).toEqual(
          JSON.parse(JSON.stringify(message)),
        );
      }),
    );
  });

  test('refuses a message that is longer than a line may be', () => {
    expect(() => encodeLine({ text: 'x'.repeat(100) }, { maxBytes: 100 })).toThrow(RangeError);
  });
});
