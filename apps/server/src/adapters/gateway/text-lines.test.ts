import { expect, test } from 'vitest';
import { TextLines } from './text-lines.ts';

/** The lines of these chunks. */
function linesOf(maxBytes: number, ...chunks: string[]): string[] {
  const lines: string[] = [];
  const cutter = new TextLines(maxBytes);
  for (const chunk of chunks) cutter.push(Buffer.from(chunk), (line) => lines.push(line));
  cutter.end((line) => lines.push(line));
  return lines;
}

test('lines end at LF or CR LF, wherever the chunks do', () => {
  expect(linesOf(100, 'on', 'e\ntw', 'o\r\n', 'three')).toEqual(['one', 'two', 'three']);
});

test('empty lines are skipped', () => {
  expect(linesOf(100, '\n\none\n\r\n')).toEqual(['one']);
});

test('a line is cut, and the one after it is whole', () => {
  expect(linesOf(4, 'abcdef', 'ghi\njk\n')).toEqual(['abcd', 'jk']);
});
