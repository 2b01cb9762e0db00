import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { memoryFiles, memoryStoreContract, SESSION } from '../../ports/memory-store.contract.ts';
import { MAX_MEMORY_FILE_BYTES, type MemoryFile } from '../../ports/memory-store.ts';
import { FaultyFiles, systemError } from '../files/faults.testing.ts';
import { fileMemoryStore } from './filesystem.ts';

async function makeHarness() {
  const base = await mkdtemp(path.join(os.tmpdir(), 'duragent-memory-'));
  const dir = path.join(base, 'data', 'memory');
  const sessionsDir = path.join(base, 'data', 'sessions');
  await mkdir(path.join(sessionsDir, SESSION), { recursive: true });
  const processes: FaultyFiles[] = [];
  const pathOf = (file: MemoryFile): string => {
    switch (file.kind) {
      case 'day':
        return path.join(dir, `${file.day}.md`);
      case 'world':
        return path.join(dir, 'world', `${file.topic}.md`);
      case 'curated':
        return path.join(dir, 'agents', file.agent, 'MEMORY.md');
      case 'session':
        return path.join(sessionsDir, file.session, 'memory', 'working.md');
    }
  };
  return {
    base,
    dir,
    sessionsDir,
    pathOf,
    open: (files = new FaultyFiles()) => {
      processes.push(files);
      return fileMemoryStore({ dir, sessionsDir, files });
    },
    edit: async (file: MemoryFile, text: string) => {
      await mkdir(path.dirname(pathOf(file)), { recursive: true });
      await writeFile(pathOf(file), text);
    },
    dispose: async () => {
      const open = processes.flatMap((each) => [...each.opened]);
      await rm(base, { recursive: true });
      expect(open).toEqual([]);
    },
  };
}

memoryStoreContract('the memory in files', makeHarness);

const DAY: MemoryFile = { kind: 'day', day: '2026-11-20' };
let harness: Awaited<ReturnType<typeof makeHarness>>;
beforeEach(async () => {
  harness = await makeHarness();
});
afterEach(() => harness.dispose());

test('files and folders are for their owner alone, and nothing else is left behind', async () => {
  for (const file of memoryFiles) await harness.open().update(file, () => 'x');
  for (const file of memoryFiles) {
    expect((await stat(harness.pathOf(file))).mode & 0o777).toBe(0o600);
    expect((await stat(path.dirname(harness.pathOf(file)))).mode & 0o777).toBe(0o700);
  }
  expect((await readdir(harness.dir)).sort()).toEqual(['2026-11-20.md', 'agents', 'world']);
});

test('a change, and the folders it needed, are durable when it is done', async () => {
  const files = new FaultyFiles();
  await harness.open(files).update({ kind: 'curated', agent: 'helper' }, () => 'x');
  const order = files.calls
    .filter(({ name }) => ['sync', 'rename'].includes(name))
    .map(({ name, file }) => `${name} ${file}`);
  expect(order).toEqual([
    'sync data',
    'sync memory',
    'sync agents',
    'sync MEMORY.md.tmp',
    'rename MEMORY.md',
    'sync helper',
  ]);
});

test('a person who saves while a change is made is not overwritten', async () => {
  const store = harness.open();
  await store.update(DAY, () => 'old\n');
  let asked = 0;
  const files = new FaultyFiles();
  const lstat = files.lstat;
  files.lstat = async (file) => {
    if (asked === 1) await writeFile(harness.pathOf(DAY), 'by hand\n');
    return lstat(file);
  };
  await harness.open(files).update(DAY, (text) => {
    asked += 1;
    return `${text ?? ''}noted\n`;
  });
  expect([asked, await store.read(DAY)]).toEqual([2, 'by hand\nnoted\n']);
});

test('a file that is being edited all the time is told of', async () => {
  const files = new FaultyFiles();
  let edits = 0;
  const lstat = files.lstat;
  files.lstat = async (file) => {
    edits += 1;
    await writeFile(harness.pathOf(DAY), 'x'.repeat(edits));
    return lstat(file);
  };
  await harness.edit(DAY, 'first');
  const change = harness.open(files).update(DAY, (text) => `${text ?? ''}!`);
  await expect(change).rejects.toMatchObject({ code: 'conflict' });
});

test('links are not followed: neither a file, nor a folder on the way', async () => {
  const secret = path.join(harness.base, 'secret.md');
  await writeFile(secret, 'secret');
  await mkdir(harness.dir, { recursive: true });
  await symlink(secret, harness.pathOf(DAY));
  await symlink(harness.base, path.join(harness.dir, 'world'));
  await mkdir(path.join(harness.dir, 'agents'));
  await symlink(harness.base, path.join(harness.dir, 'agents', 'helper'));
  await symlink(harness.base, path.join(harness.sessionsDir, SESSION, 'memory'));
  const files: MemoryFile[] = [
    DAY,
    { kind: 'world', topic: 'secret' },
    { kind: 'curated', agent: 'helper' },
    { kind: 'session', session: SESSION },
  ];
  for (const file of files) {
    await expect(harness.open().read(file)).rejects.toMatchObject({ code: 'storage_failed' });
    const change = harness.open().update(file, () => 'forged');
    await expect(change).rejects.toMatchObject({ code: 'storage_failed' });
  }
  expect(await readFile(secret, 'utf8')).toBe('secret');
  expect((await readdir(harness.base)).sort()).toEqual(['data', 'secret.md']);
});

test.each([
  ['that is not UTF-8', (file: string) => writeFile(file, Buffer.from([0x61, 0xff])), 'UTF-8'],
  [
    'that is too long',
    (file: string) => writeFile(file, Buffer.alloc(MAX_MEMORY_FILE_BYTES + 1, 'x')),
    '8 MiB',
  ],
  ['that is a folder', (file: string) => mkdir(file), 'plain file'],
  // Node has no call for it.
  [
    'that is a named pipe',
    async (file: string) => void execFileSync('mkfifo', [file]),
    'plain file',
  ],
])('a file %s is told of, and not changed', async (_, make, word) => {
  await mkdir(harness.dir, { recursive: true });
  await make(harness.pathOf(DAY));
  const refused = expect.objectContaining({
    code: 'storage_failed',
    message: expect.stringContaining(word),
  });
  await expect(harness.open().read(DAY)).rejects.toEqual(refused);
  await expect(harness.open().update(DAY, () => 'x')).rejects.toEqual(refused);
});

test('the notes of a session that is gone are not made again', async () => {
  const session = SESSION.replace(/.$/, 'v');
  const change = harness.open().update({ kind: 'session', session }, () => 'x');
  await expect(change).rejects.toMatchObject({ code: 'storage_failed' });
  expect(await readdir(harness.sessionsDir)).toEqual([SESSION]);
});

test('what has no name of memory is not listed', async () => {
  await harness.open().update(DAY, () => 'x');
  for (const name of [
    '2026-02-30.md',
    'notes.md',
    '2026-11-21.md.tmp',
    '2026-11-22',
    'README.md',
  ]) {
    await writeFile(path.join(harness.dir, name), 'x');
  }
  expect(await harness.open().days()).toEqual(['2026-11-20']);
});

test.each(['EIO', 'ENOSPC'])(
  'whatever call fails (%s), a file is as it was or as it is to be',
  async (code) => {
    for (const before of [null, 'old']) {
      for (let nth = 0, total = 1; nth < total; nth += 1) {
        await rm(harness.dir, { recursive: true, force: true });
        if (before !== null) await harness.edit(DAY, before);
        const files = new FaultyFiles();
        let seen = 0;
        files.fault = () => {
          seen += 1;
          return seen === nth ? systemError(code) : undefined;
        };
        const store = harness.open(files);
        const result = await store.update(DAY, () => 'new').catch((error: unknown) => error);
        if (nth === 0) total = seen + 1;
        else {
          const expected = code === 'EIO' ? 'storage_failed' : 'storage_full';
          expect([nth, result]).toMatchObject([nth, { code: expected }]);
        }
        const text = await harness.open().read(DAY);
        expect([nth, text === before || text === 'new']).toEqual([nth, true]);
        files.fault = () => undefined;
        await store.update(DAY, () => 'newer');
        expect(await readFile(harness.pathOf(DAY), 'utf8')).toBe('newer');
        expect(await readdir(harness.dir)).toEqual(['2026-11-20.md']);
      }
    }
  },
);

test('a short write is no end of a file', async () => {
  const files = new FaultyFiles();
  files.fault = ({ name }) => (name === 'write' ? { short: 3 } : undefined);
  await harness.open(files).update(DAY, () => 'longer than three');
  expect(await harness.open().read(DAY)).toBe('longer than three');
});

test('what a crash left of a change is not read, and is written over', async () => {
  await harness.edit(DAY, 'whole');
  await writeFile(`${harness.pathOf(DAY)}.tmp`, 'ha');
  expect(await harness.open().read(DAY)).toBe('whole');
  await harness.open().update(DAY, (text) => `${text ?? ''}!`);
  expect(await harness.open().read(DAY)).toBe('whole!');
  expect(await readdir(harness.dir)).toEqual(['2026-11-20.md']);
});
