import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FILE_MODE, flags, nodeFiles } from './files.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'duragent-files-'));
});
afterEach(() => rm(dir, { recursive: true }));

test('a file that is closed while writes are under way holds them', async () => {
  const name = path.join(dir, 'file');
  const file = await nodeFiles.open(name, flags.createNewSynced, FILE_MODE);
  const bytes = Buffer.from('x'.repeat(1000));
  const order: string[] = [];
  const writes = Array.from({ length: 32 }, (_, at) =>
    file.write(bytes, 0, bytes.length, at * bytes.length).then(() => order.push('written')),
  );
  await file.close().then(() => order.push('closed'));
  await Promise.all(writes);
  expect(order.at(-1)).toBe('closed');
  expect(await readFile(name, 'utf8')).toBe('x'.repeat(32_000));
});

test('a file that is closed takes no writes', async () => {
  const file = await nodeFiles.open(path.join(dir, 'file'), flags.createNew, FILE_MODE);
  await file.close();
  await expect(file.write(Buffer.from('x'), 0, 1, 0)).rejects.toMatchObject({
    code: 'ERR_OUT_OF_RANGE',
  });
});
