import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { MAX_RECORD_BYTES } from '@duragent/protocol';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readLines } from './line-reader.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'duragent-lines-'));
});
afterAll(() => rm(dir, { recursive: true }));

/** What is read of a file that holds this, from an offset on; null: too long. */
async function read(text: string, from = 0): Promise<{ line: string | null; at: number }[]> {
  const file = path.join(dir, 'lines');
  await writeFile(file, text);
  await using handle = await open(file);
  const read: { line: string | null; at: number }[] = [];
  for await (const group of readLines(handle, from, Buffer.byteLength(text))) {
    for (const { bytes, offset, complete } of group) {
      read.push({ line: bytes && `${bytes.toString()}${complete ? '\n' : ''}`, at: offset });
    }
  }
  return read;
}

test('lines of any length are what they are, wherever the pieces that are read end', async () => {
  const length = fc.oneof(fc.nat(200), fc.nat(70_000), fc.nat(600_000));
  await fc.assert(
    fc.asyncProperty(fc.array(length, { maxLength: 12 }), fc.boolean(), async (lengths, isCut) => {
      const lines = lengths.map((each, index) => `${String(index % 10).repeat(each)}\n`);
      if (isCut) lines.push('the rest');
      const found = await read(lines.join(''));
      expect(found.map(({ line }) => line)).toEqual(lines);
      let at = 0;
      for (const [index, line] of lines.entries()) {
        expect(found[index]?.at).toBe(at);
        at += line.length;
      }
    }),
    { numRuns: 60 },
  );
});

test('it begins where it is told to', async () => {
  expect(await read('one\ntwo\nthree\n', 4)).toEqual([
    { line: 'two\n', at: 4 },
    { line: 'three\n', at: 8 },
  ]);
});

test('a line that is longer than a record may be is not kept, and the next one is whole', async () => {
  const long = 'x'.repeat(MAX_RECORD_BYTES + 1);
  expect(await read(`one\n${long}\ntwo\n`)).toEqual([
    { line: 'one\n', at: 0 },
    { line: null, at: 4 },
    { line: 'two\n', at: 4 + long.length + 1 },
  ]);
});
