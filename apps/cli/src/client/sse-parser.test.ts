import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_FRAME_LENGTH, SseParser, type SseFrame } from './sse-parser.ts';

function parse(...chunks: (string | Uint8Array)[]): SseFrame[] {
  const parser = new SseParser();
  return chunks.flatMap((chunk) =>
    parser.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk),
  );
}

describe('SseParser', () => {
  it('reads id, event and data', () => {
    expect(parse('id: 41\nevent: user_message\ndata: {"seq":41}\n\n')).toEqual([
      { id: '41', event: 'user_message', data: '{"seq":41}' },
    ]);
  });

  it('does not carry an id over to a frame without one', () => {
    const frames = parse('id: 1\ndata: a\n\nevent: token\ndata: b\n\n');
    expect(frames.map((frame) => frame.id)).toEqual(['1', null]);
  });

  it.each(['\n', '\r\n', '\r'])('ends lines at %j', (end) => {
    expect(parse(['event: x', 'data: 1', 'data: 2', '', 'data: 3', '', ''].join(end))).toEqual([
      { id: null, event: 'x', data: '1\n2' },
      { id: null, event: 'message', data: '3' },
    ]);
  });

  it('takes a CR LF that two chunks share as one line end', () => {
    expect(parse('data: a\r', '\ndata: b\r', '\n\r', '\n')).toEqual([
      { id: null, event: 'message', data: 'a\nb' },
    ]);
  });

  it('skips comments, unknown fields, retry and frames without data', () => {
    expect(parse(': hello\nretry: 100\nwhat: x\n\nevent: none\n\ndata\n\n')).toEqual([
      { id: null, event: 'message', data: '' },
    ]);
  });

  it('skips a BOM at the beginning', () => {
    expect(parse('\ufeffdata: a\n\n')).toHaveLength(1);
  });

  it('never shows a frame that did not end', () => {
    expect(parse('data: half')).toEqual([]);
    expect(parse('data: half\n')).toEqual([]);
  });

  it('refuses a frame beyond 2 MiB, in one line or in many', () => {
    const half = 'x'.repeat(MAX_FRAME_LENGTH / 2);
    expect(() => parse(`data: ${half}`, half)).toThrow('larger than 2 MiB');
    expect(() => parse(`data: ${half}\n`, `data: ${half}\n`)).toThrow('larger than 2 MiB');
  });

  it('reads comments without end', () => {
    const comment = `: ${'x'.repeat(MAX_FRAME_LENGTH / 4)}\n`;
    expect(parse(...Array<string>(8).fill(comment), 'data: a\n\n')).toHaveLength(1);
  });

  it('gives the same frames however the bytes are cut', () => {
    const line = fc.oneof(
      fc.constantFrom('', '', ': comment', 'id: 7', 'event: token', 'data', 'id: a\0b'),
      fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => `data: ${text}`),
    );
    const source = fc
      .array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r')), { maxLength: 25 })
      .map((lines) => Buffer.from(lines.flat().join('')));
    fc.assert(
      fc.property(source, fc.array(fc.nat(300), { maxLength: 12 }), (bytes, cuts) => {
        const points = [
          0,
          ...cuts.filter((cut) => cut < bytes.length).toSorted((a, b) => a - b),
          bytes.length,
        ];
        const chunks = points.slice(1).map((end, index) => bytes.subarray(points[index], end));
        expect(parse(...chunks)).toEqual(parse(bytes));
        expect(parse(...Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(parse(bytes));
      }),
      { numRuns: 300 },
    );
  });
});
