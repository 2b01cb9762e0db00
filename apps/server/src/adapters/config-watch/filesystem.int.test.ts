import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FileWatch, type FileWatchOptions } from './filesystem.ts';

let dir: string;
let file: string;
let told: number;
const watches: FileWatch[] = [];
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'duragent-watch-'));
  file = path.join(dir, 'duragent.yaml');
  told = 0;
});
afterEach(async () => {
  for (const watch of watches.splice(0)) watch.close();
  await rm(dir, { recursive: true, force: true });
});

async function start(options: Partial<FileWatchOptions> = {}) {
  const { files = [file], debounceMs = 20, pollMs = 60_000 } = options;
  const { onChange = (): void => void (told += 1) } = options;
  const watch = new FileWatch({ files, debounceMs, pollMs, onChange });
  watches.push(watch);
  await watch.ready;
  return watch;
}

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited 10 s; told ${told} times`);
    await delay(2);
  }
}

test('a file that is written, replaced, removed and made again is told of each time', async () => {
  await writeFile(file, 'a');
  await start();
  await writeFile(file, 'ab');
  await until(() => told === 1);
  await writeFile(`${file}.new`, 'ac');
  await rename(`${file}.new`, file);
  await until(() => told === 2);
  await rm(file);
  await until(() => told === 3);
  await writeFile(file, 'ac');
  await until(() => told === 4);
});

test('changes that come together are told together, when they are over', async () => {
  const env = path.join(dir, '.env');
  let isWriting = true;
  let early = 0;
  const onChange = (): void => {
    told += 1;
    if (isWriting) early += 1;
  };
  await start({ files: [file, env], debounceMs: 1_000, onChange });
  for (let i = 0; i < 10; i += 1) {
    await writeFile(file, 'x'.repeat(i + 1));
    await writeFile(env, 'y'.repeat(i + 1));
  }
  isWriting = false;
  await until(() => told === 1);
  expect(early).toBe(0);
});

test('other files of the folder, and a file that is as it was told, are not told of', async () => {
  await writeFile(file, 'a');
  await start();
  await writeFile(path.join(dir, 'other'), 'x');
  await writeFile(file, 'ab');
  await until(() => told > 0);
  expect(told).toBe(1);
});

test('what the system does not tell of is seen all the same', async () => {
  const folder = path.join(dir, 'later');
  await start({ files: [path.join(folder, 'duragent.yaml')], pollMs: 20 });
  await mkdir(folder);
  await writeFile(path.join(folder, 'duragent.yaml'), 'a');
  await until(() => told === 1);
});

test('a watch that was closed tells nothing', async () => {
  let late = 0;
  const closed = await start({ debounceMs: 1, onChange: () => (late += 1) });
  await start({ debounceMs: 200 });
  closed.close();
  await writeFile(file, 'a');
  await until(() => told === 1);
  expect(late).toBe(0);
});
