import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { keepOutput, readOutput } from './output-file.ts';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'output-'));
  file = path.join(folder, 'output.log');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const pieces = (...texts: string[]): Readable =>
  Readable.from(texts.map((text) => Buffer.from(text)));

test('what comes is kept up to the limit, and all of it is shown', async () => {
  let shown = '';
  const options = { limit: 5, onText: (text: string) => void (shown += text) };
  await keepOutput([pieces('abc', 'def', 'ghi')], file, options);
  expect(await readFile(file, 'utf8')).toBe('abcde');
  expect(shown).toBe('abcdefghi');
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});

test('a character that comes in two pieces is shown whole', async () => {
  let shown = '';
  const euro = Buffer.from('€');
  const stream = Readable.from([euro.subarray(0, 1), euro.subarray(1)]);
  await keepOutput([stream], file, { onText: (text) => void (shown += text) });
  expect(shown).toBe('€');
});

test('what cannot be written, or breaks off, ends like all else', async () => {
  const broken = new Readable({
    read() {
      this.destroy(new Error('broken'));
    },
  });
  const nowhere = path.join(folder, 'none', 'output.log');
  await keepOutput([broken, pieces('x')], nowhere, { onText: () => undefined });
  expect(await readOutput(nowhere, { start: 0, bytes: 10 })).toEqual({
    text: '',
    start: 0,
    end: 0,
    size: 0,
  });
});

test.each([
  [{ start: 0, bytes: 4 }, 'a€', 0, 4],
  [{ start: 0, bytes: 3 }, 'a', 0, 1],
  [{ start: 4, bytes: 10 }, 'b€', 4, 8],
  [{ start: 99, bytes: 10 }, '', 8, 8],
  [{ start: 'end', bytes: 3 }, '€', 5, 8],
  [{ start: 'end', bytes: 2 }, '', 8, 8],
  [{ start: 'end', bytes: 5 }, 'b€', 4, 8],
  [{ start: 'end', bytes: 0 }, '', 8, 8],
] as const)('a piece %j never has half of a character', async (where, text, start, end) => {
  await writeFile(file, 'a€b€');
  expect(await readOutput(file, where)).toEqual({ text, start, end, size: 8 });
});

test('reading on always gets on, also in what is no text', async () => {
  await writeFile(file, Buffer.from([0xe2, 0xe2, 0xe2, 0xf0]));
  let at = 0;
  for (let reads = 0; at < 4 && reads < 10; reads += 1) {
    at = (await readOutput(file, { start: at, bytes: 1 })).end;
  }
  expect(at).toBe(4);
});
