import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { seededRandom } from '../support/random.ts';
import { loseTail, type Seen } from './tools-lost-tail.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'tail-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const nothing: Seen = { seq: 0, acks: new Set(), asked: new Set(), tokens: new Set() };

const types = ['', '', '', '', 'approval_requested', 'approval_decided'];

/** What is left of ten events, each with a word of its own, after many tries: the least. */
async function leastLeft(seen: Seen): Promise<number> {
  const lines = Array.from({ length: 10 }, (_, index) =>
    JSON.stringify({ seq: index + 1, type: types[index] ?? '', word: `w${index + 1}x` }),
  );
  const log = path.join(folder, 'events.jsonl');
  const random = seededRandom(1);
  let least = Infinity;
  for (let round = 0; round < 60; round += 1) {
    await writeFile(log, ['{"duragent_log":1}', ...lines].map((line) => `${line}\n`).join(''));
    const lost = loseTail(folder, seen, random);
    const left = (await readFile(log, 'utf8')).split('\n');
    expect(left.slice(1, -1)).toEqual(lines.slice(0, lines.length - lost));
    // Of the first one that is lost there may be a part.
    expect(lines[lines.length - lost] ?? '').toContain(left.at(-1));
    least = Math.min(least, lines.length - lost);
  }
  return least;
}

test('nothing that somebody has seen is lost', async () => {
  expect(await leastLeft(nothing)).toBe(1);
  expect(await leastLeft({ ...nothing, seq: 6 })).toBe(6);
  expect(await leastLeft({ ...nothing, seq: 6, acks: new Set(['w8x']) })).toBe(8);
  expect(await leastLeft({ ...nothing, tokens: new Set(['w3x', 'w4x']) })).toBe(4);
  expect(await leastLeft({ ...nothing, asked: new Set(['w5x', 'w6x']) })).toBe(5);
  await writeFile(path.join(folder, 'state.yaml'), JSON.stringify({ seq: 7 }));
  expect(await leastLeft(nothing)).toBe(7);
});
