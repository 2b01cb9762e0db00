import { execFileSync } from 'node:child_process';
import {
  access,
  chmod,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ART, artifactStoreContract, metaOf } from '../../ports/artifact-store.contract.ts';
import { FaultyFiles, systemError } from '../files/faults.testing.ts';
import { fileArtifactStore } from './filesystem.ts';

async function makeHarness() {
  const base = await mkdtemp(path.join(os.tmpdir(), 'duragent-artifacts-'));
  const root = path.join(base, 'media', 'telegram');
  await mkdir(root, { recursive: true });
  const dir = path.join(base, 'artifacts');
  const processes: FaultyFiles[] = [];
  return {
    base,
    dir,
    root,
    processes,
    open: () => {
      const files = new FaultyFiles();
      processes.push(files);
      return fileArtifactStore({ dir, files });
    },
    put: async (name: string, bytes: string | Uint8Array) => {
      const file = path.join(root, name);
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(file, bytes);
      return file;
    },
    exists: (file: string) =>
      access(file).then(
        () => true,
        () => false,
      ),
    read: (file: string) => readFile(file),
    dispose: async () => {
      const open = processes.flatMap((each) => [...each.opened]);
      await rm(base, { recursive: true });
      expect(open).toEqual([]);
    },
  };
}

artifactStoreContract('the artifacts in files', makeHarness);

let harness: Awaited<ReturnType<typeof makeHarness>>;
beforeEach(async () => {
  harness = await makeHarness();
});
afterEach(() => harness.dispose());

const inFolder = (name: string) => path.join(harness.dir, ART, name);
const take = (name: string, store = harness.open()) =>
  store.take({ path: name, root: harness.root }, metaOf('abc'));

test('the folder holds the file and what is said of it, for the owner alone', async () => {
  const file = await harness.put('a', 'abc');
  await chmod(file, 0o644);
  await take('a');
  expect((await readdir(inFolder('.'))).sort()).toEqual(['data', 'meta.json']);
  expect(await readFile(inFolder('data'), 'utf8')).toBe('abc');
  expect(JSON.parse(await readFile(inFolder('meta.json'), 'utf8'))).toEqual(metaOf('abc'));
  for (const name of ['data', 'meta.json']) {
    expect((await stat(inFolder(name))).mode & 0o777).toBe(0o600);
  }
  expect((await stat(inFolder('.'))).mode & 0o777).toBe(0o700);
});

test('the file and its entry are durable before it is taken', async () => {
  await harness.put('a', 'abc');
  const store = harness.open();
  await take('a', store);
  const calls = harness.processes[0]?.calls ?? [];
  const order = calls
    .filter(({ name }) => ['sync', 'rename'].includes(name))
    .map(({ name, file }) => `${name} ${file}`);
  expect(order).toEqual([
    `sync ${path.basename(harness.base)}`,
    'sync a',
    'sync meta.json.tmp',
    'rename meta.json',
    `sync ${ART}`,
    'sync artifacts',
    'rename data',
    `sync ${ART}`,
  ]);
});

test('what was taken before is synced again: a crash may have come in between', async () => {
  await harness.put('a', 'abc');
  await take('a');
  await take('a');
  const synced = harness.processes[1]?.calls.filter(({ name }) => name === 'sync');
  expect(synced?.map(({ file }) => file)).toEqual([path.basename(harness.base), ART, 'artifacts']);
});

test('links are not followed: neither the file, nor a folder on the way, nor out of the media folder', async () => {
  const secret = path.join(harness.base, 'secret');
  await writeFile(secret, 'abc');
  await harness.put('real/a', 'abc');
  await symlink(secret, path.join(harness.root, 'link'));
  await symlink(path.join(harness.root, 'real'), path.join(harness.root, 'folder'));
  await symlink(harness.base, path.join(harness.root, 'out'));
  await symlink('nowhere', path.join(harness.root, 'dangling'));
  for (const name of ['link', 'folder/a', 'out/secret', 'dangling']) {
    await expect(take(name)).rejects.toMatchObject({ code: 'invalid_request' });
  }
  expect(await readFile(secret, 'utf8')).toBe('abc');
  expect(await readdir(harness.dir)).toEqual([]);
  await take('real/a');
});

test('the folder for media may itself be reached through a link', async () => {
  await harness.put('a', 'abc');
  const alias = path.join(harness.base, 'alias');
  await symlink(harness.root, alias);
  await harness.open().take({ path: path.join(alias, 'a'), root: alias }, metaOf('abc'));
  const file = await harness.put('b', 'abc');
  const meta = metaOf('abc', ART.replace(/.$/, 'v'));
  await harness.open().take({ path: file, root: alias }, meta);
});

test('a named pipe is not waited for', async () => {
  // Node has no call for it.
  execFileSync('sh', ['-c', 'mkfifo "$0"', path.join(harness.root, 'pipe')]);
  await expect(take('pipe')).rejects.toMatchObject({ code: 'invalid_request' });
});

test('a file that has another name is copied, so that nobody writes into it later', async () => {
  const file = await harness.put('a', 'abc');
  await link(file, path.join(harness.root, 'b'));
  await take('a');
  await writeFile(path.join(harness.root, 'b'), 'xyz');
  expect(await readFile(inFolder('data'), 'utf8')).toBe('abc');
  expect(await readdir(harness.root)).toEqual(['b']);
});

test('from another file system it is copied, durably, before it goes there', async () => {
  const bytes = Buffer.alloc(600_000, 'x');
  const file = await harness.put('a', bytes);
  const store = harness.open();
  const [files] = harness.processes;
  if (!files) throw new Error('no files');
  let moves = 0;
  files.fault = (call) => {
    if (call.name !== 'rename' || call.file !== 'data') return undefined;
    moves += 1;
    return moves === 1 ? systemError('EXDEV') : undefined;
  };
  await store.take({ path: file, root: harness.root }, metaOf(bytes));
  expect(await readFile(inFolder('data'))).toEqual(bytes);
  expect(await harness.exists(file)).toBe(false);
  const order = files.calls.map(({ name, file: each }) => `${name} ${each}`);
  expect(order.indexOf('sync data.tmp')).toBeLessThan(order.lastIndexOf('rename data'));
  expect(order.lastIndexOf(`sync ${ART}`)).toBeGreaterThan(order.lastIndexOf('rename data'));
  expect(order.indexOf('rm a')).toBeGreaterThan(
    order.indexOf(`sync ${ART}`, order.lastIndexOf('rename data')),
  );
});

test('a file that is changed after it was checked is not kept', async () => {
  const file = await harness.put('a', 'abc');
  const store = harness.open();
  const [files] = harness.processes;
  if (!files) throw new Error('no files');
  const rename = files.rename.bind(files);
  files.rename = async (from, to) => {
    if (path.basename(to) === 'data') await writeFile(file, 'xyz');
    await rename(from, to);
  };
  await expect(take('a', store)).rejects.toMatchObject({ code: 'invalid_request' });
  expect(await store.get(ART)).toBeNull();
});

test('a damaged description, or a file of another length, is told of', async () => {
  await harness.put('a', 'abc');
  await take('a');
  await writeFile(inFolder('data'), 'abcd');
  await expect(harness.open().get(ART)).rejects.toMatchObject({ code: 'storage_failed' });
  await writeFile(inFolder('data'), 'abc');
  await writeFile(inFolder('meta.json'), '{"id":1}');
  await expect(harness.open().get(ART)).rejects.toMatchObject({ code: 'storage_failed' });
});

test.each(['EIO', 'ENOSPC'])(
  'whatever call fails (%s), the file is taken or still there, and taken at the next try',
  async (code) => {
    for (const isCopied of [false, true]) {
      for (let nth = 0, total = 1; nth < total; nth += 1) {
        await rm(harness.dir, { recursive: true, force: true });
        const file = await harness.put('a', 'abc');
        const store = harness.open();
        const files = harness.processes.at(-1);
        if (!files) throw new Error('no files');
        let seen = 0;
        let moves = 0;
        files.fault = (call) => {
          seen += 1;
          if (seen === nth) return systemError(code);
          if (!isCopied || call.name !== 'rename' || call.file !== 'data') return undefined;
          moves += 1;
          return moves === 1 ? systemError('EXDEV') : undefined;
        };
        const result = await take('a', store).catch((error: unknown) => error);
        if (nth === 0) total = seen + 1;
        if (result instanceof Error) {
          const expected = code === 'EIO' ? 'storage_failed' : 'storage_full';
          expect([nth, result]).toMatchObject([nth, { code: expected }]);
          const isKept = (await harness.open().get(ART)) !== null;
          expect([nth, isKept || (await harness.exists(file))]).toEqual([nth, true]);
        }
        files.fault = () => undefined;
        expect(await take('a', nth % 2 === 0 ? store : harness.open())).toEqual(metaOf('abc'));
        expect(await readFile(inFolder('data'), 'utf8')).toBe('abc');
        expect((await readdir(inFolder('.'))).sort()).toEqual(['data', 'meta.json']);
        await rm(file, { force: true });
      }
    }
  },
);

const owner = { agent: 'helper', session: 'session_01ab2cd3ef4gh5jk6mn7pq8rst' };
const made = { id: ART, name: 'a.txt', mime: 'text/plain', owner };

test('a file that an agent made, and its place in the list, are durable before it is kept', async () => {
  await harness.open().put([Buffer.from('abc')], made);
  const calls = harness.processes[0]?.calls ?? [];
  const order = calls
    .filter(({ name }) => ['sync', 'rename'].includes(name))
    .map(({ name, file }) => `${name} ${file}`);
  expect(order).toEqual([
    `sync ${path.basename(harness.base)}`,
    'sync data.tmp',
    `sync ${owner.session}`,
    'sync by-session',
    'sync artifacts',
    'sync meta.json.tmp',
    'rename meta.json',
    `sync ${ART}`,
    'sync artifacts',
    'rename data',
    `sync ${ART}`,
    'sync artifacts',
  ]);
  for (const name of ['data', 'meta.json']) {
    expect((await stat(inFolder(name))).mode & 0o777).toBe(0o600);
  }
});

test('a damaged file hides none of the others of its session', async () => {
  const other = ART.replace(/.$/, 'v');
  await harness.open().put([Buffer.from('abc')], made);
  await harness.open().put([Buffer.from('abc')], { ...made, id: other });
  await writeFile(inFolder('data'), 'abcd');
  const listed = await harness.open().list(owner.session, 10);
  expect(listed.map(({ id }) => id)).toEqual([other]);
});

test('what a link stands for is not read', async () => {
  await harness.open().put([Buffer.from('abc')], made);
  await writeFile(path.join(harness.base, 'secret'), 'key');
  await rm(inFolder('data'));
  await symlink(path.join(harness.base, 'secret'), inFolder('data'));
  await expect(harness.open().read(ART, 0, 10)).rejects.toMatchObject({ code: 'storage_failed' });
});

test.each(['EIO', 'ENOSPC'])(
  'whatever call fails (%s), a file that an agent makes is whole or not there, and made at the next try',
  async (code) => {
    for (let nth = 0, total = 1; nth < total; nth += 1) {
      await rm(harness.dir, { recursive: true, force: true });
      const store = harness.open();
      const files = harness.processes.at(-1);
      if (!files) throw new Error('no files');
      let seen = 0;
      files.fault = () => {
        seen += 1;
        return seen === nth ? systemError(code) : undefined;
      };
      const put = () => store.put([Buffer.from('ab'), Buffer.from('c')], made);
      const result = await put().catch((error: unknown) => error);
      if (nth === 0) total = seen + 1;
      else {
        const expected = code === 'EIO' ? 'storage_failed' : 'storage_full';
        expect([nth, result]).toMatchObject([nth, { code: expected }]);
      }
      const found = await harness.open().get(ART);
      if (found !== null) expect(await readFile(found.path, 'utf8')).toBe('abc');
      files.fault = () => undefined;
      const ref = await put();
      expect(await readFile(inFolder('data'), 'utf8')).toBe('abc');
      expect((await readdir(inFolder('.'))).sort()).toEqual(['data', 'meta.json']);
      expect(await harness.open().list(owner.session, 10)).toEqual([ref]);
    }
  },
);
