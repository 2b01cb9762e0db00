import { execFileSync } from 'node:child_process';
import { link, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ReadWorkspaceFile } from '../../ports/artifact-store.ts';
import { workspaceFileReader } from './workspace-file.ts';

let base: string;
let root: string;
let read: ReadWorkspaceFile;
beforeEach(async () => {
  base = await mkdtemp(path.join(os.tmpdir(), 'duragent-workspace-'));
  root = path.join(base, 'workspace');
  await mkdir(path.join(root, 'out', 'deep'), { recursive: true });
  await mkdir(path.join(root, '.duragent', 'auth'), { recursive: true });
  await writeFile(path.join(root, '.duragent', 'auth', 'token'), 'secret');
  await writeFile(path.join(root, '.env'), 'secret');
  await writeFile(path.join(root, 'out', 'deep', 'a.txt'), 'abc');
  await writeFile(path.join(base, 'outside'), 'secret');
  const hidden = ['.duragent', '.env', 'not-there'].map((name) => path.join(root, name));
  read = workspaceFileReader({ root, hidden });
});
afterEach(() => rm(base, { recursive: true }));

const textOf = async (given: string, maxBytes = 100) => {
  const found = await read(given, { maxBytes });
  return found.ok ? Buffer.from(found.bytes).toString() : { refused: found.reason };
};

test('a file of the workspace is read, named from it or whole', async () => {
  expect(await textOf('out/deep/a.txt')).toBe('abc');
  expect(await textOf('./out/../out/deep/a.txt')).toBe('abc');
  expect(await textOf(path.join(root, 'out/deep/a.txt'))).toBe('abc');
  expect(await textOf('out/deep/a.txt', 3)).toBe('abc');
});

test.each([
  ['', 'is no path'],
  ['a\0', 'is no path'],
  ['no/such', 'does not exist'],
  ['out/deep/a.txt/b', 'does not exist'],
  ['.', 'is outside'],
  ['../outside', 'is outside'],
  ['out/../../outside', 'is outside'],
  ['/etc/hostname', 'is outside'],
  ['out', 'is no plain file'],
  ['.duragent/auth/token', 'may not be read'],
  ['out/../.duragent/auth/token', 'may not be read'],
  ['.env', 'may not be read'],
])('%j is refused: it %s', async (given, reason) => {
  expect(await textOf(given)).toEqual({ refused: expect.stringContaining(reason) });
});

test('no link is followed, whether it leads out or stays inside', async () => {
  await symlink('../outside', path.join(root, 'link'));
  await symlink('.duragent/auth', path.join(root, 'auth'));
  await symlink('out', path.join(root, 'in'));
  await symlink('loop', path.join(root, 'loop'));
  for (const given of ['link', 'auth/token', 'in/deep/a.txt', 'loop']) {
    expect(await textOf(given)).toEqual({ refused: expect.stringContaining('a link') });
  }
});

test('a second name of a file is refused: the first may be hidden', async () => {
  await link(path.join(root, '.env'), path.join(root, 'harmless'));
  expect(await textOf('harmless')).toEqual({
    refused: expect.stringContaining('more than one name'),
  });
});

test('a file that is too large, or a named pipe, is refused', async () => {
  expect(await textOf('out/deep/a.txt', 2)).toEqual({ refused: expect.stringContaining('larger') });
  // Node has no call for it.
  execFileSync('mkfifo', [path.join(root, 'pipe')]);
  expect(await textOf('pipe')).toEqual({ refused: expect.stringContaining('plain file') });
});

test('a folder that is exchanged for a link all the time gives no secret away', async () => {
  const [folder, away] = [path.join(root, 'f'), path.join(root, 'g')];
  await mkdir(folder);
  await writeFile(path.join(folder, 'token'), 'harmless');
  await symlink('.duragent/auth', path.join(root, 'l'));
  let isDone = false;
  const exchange = async (): Promise<void> => {
    while (!isDone) {
      await rename(folder, away);
      await rename(path.join(root, 'l'), folder);
      await rename(folder, path.join(root, 'l'));
      await rename(away, folder);
    }
  };
  const exchanging = exchange();
  const seen = new Set<string>();
  try {
    // It may be the link each time that it is looked at, for a while.
    for (let n = 0; n < 500 || (seen.size === 0 && n < 50_000); n += 1) {
      const found = await textOf('f/token');
      if (typeof found === 'string') seen.add(found);
    }
  } finally {
    isDone = true;
    await exchanging;
  }
  expect([...seen]).toEqual(['harmless']);
});

test('the workspace may itself be reached through a link', async () => {
  const alias = path.join(base, 'alias');
  await symlink(root, alias);
  read = workspaceFileReader({ root: alias, hidden: [path.join(alias, '.env')] });
  expect(await textOf('out/deep/a.txt')).toBe('abc');
  expect(await textOf(path.join(root, 'out/deep/a.txt'))).toBe('abc');
  expect(await textOf('.env')).toEqual({ refused: expect.stringContaining('may not be read') });
});
