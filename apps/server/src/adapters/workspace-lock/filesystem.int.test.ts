import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { DuragentError } from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Outcome } from './contender.testing.ts';
import { lockWorkspace } from './filesystem.ts';
import { mountTypeOf, networkFsName } from './network-fs.ts';

const contender = fileURLToPath(new URL('contender.testing.ts', import.meta.url));

let dir: string;
let children: ChildProcess[];
beforeEach(async () => {
  dir = await realpath(await mkdtemp(path.join(os.tmpdir(), 'duragent-lock-')));
  children = [];
});
afterEach(async () => {
  await Promise.all(children.map(kill));
  await rm(dir, { recursive: true });
});

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Starts a process that can contend for the directory. */
async function start(): Promise<{ child: ChildProcess; ask: (line: string) => Promise<Outcome> }> {
  const child = spawn(process.execPath, [...process.execArgv, contender, dir], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  children.push(child);
  let buffered = '';
  const waiting: ((line: string) => void)[] = [];
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (buffered + text).split('\n');
    buffered = lines.pop() ?? '';
    for (const line of lines) waiting.shift()?.(line);
  });
  const nextLine = () => new Promise<string>((resolve) => waiting.push(resolve));
  expect(await nextLine()).toBe('ready');
  return {
    child,
    ask: async (line) => {
      child.stdin?.write(`${line}\n`);
      return JSON.parse(await nextLine()) as Outcome;
    },
  };
}

/** Names, sizes, times and contents of all files. */
async function fingerprint(): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await readdir(dir, { recursive: true })).sort()) {
    const { ino, size, mode, mtimeMs, ctimeMs } = await stat(path.join(dir, name));
    hash.update(JSON.stringify([name, ino, size, mode, mtimeMs, ctimeMs]));
    // Reading LOCK here harms nobody: this process does not hold it.
    if (size > 0 && name !== 'run') hash.update(await readFile(path.join(dir, name)));
  }
  return hash.digest('hex');
}

const locked = expect.objectContaining({ code: 'locked', constructor: DuragentError });
const storageFailed = expect.objectContaining({ code: 'storage_failed' });

describe('locking a data directory', () => {
  test('raises EPOCH by one each time, and keeps its files to their owner', async () => {
    for (const epoch of [1, 2, 3]) {
      const lock = await lockWorkspace(dir);
      expect(lock.epoch).toBe(epoch);
      expect(await readFile(path.join(dir, 'EPOCH'), 'utf8')).toBe(`${epoch}\n`);
      expect(await lock.verify()).toBe(true);
      await lock.release();
      await lock.release();
    }
    expect((await readdir(dir)).sort()).toEqual(['EPOCH', 'LOCK']);
    for (const name of ['EPOCH', 'LOCK']) {
      expect((await stat(path.join(dir, name))).mode & 0o777).toBe(0o600);
    }
  });

  test('goes above every epoch in the logs of a copied workspace, which has no EPOCH', async () => {
    const sessionsPath = path.join(dir, 'sessions');
    const fresh = await lockWorkspace(dir, { sessionsPath });
    expect(fresh.epoch).toBe(1);
    await fresh.release();
    await rm(path.join(dir, 'EPOCH'));
    await mkdir(path.join(sessionsPath, 'session_x'), { recursive: true });
    const before = Math.floor(Date.now() / 1000);
    const copied = await lockWorkspace(dir, { sessionsPath });
    expect(copied.epoch).toBeGreaterThan(before);
    await copied.release();
  });

  test('makes the directory for its owner only', async () => {
    const inner = path.join(dir, 'a', 'b');
    const lock = await lockWorkspace(inner);
    expect((await stat(inner)).mode & 0o777).toBe(0o700);
    await lock.release();
  });

  test('is refused while this process holds it, which does not loosen the lock', async () => {
    const lock = await lockWorkspace(dir);
    await expect(lockWorkspace(dir)).rejects.toEqual(locked);
    await expect(lockWorkspace(path.join(dir, '..', path.basename(dir)))).rejects.toEqual(locked);
    const other = await start();
    expect(await other.ask('0 1 1')).toMatchObject({ epochs: [], others: [] });
    await lock.release();
    expect((await other.ask('0 1 1')).epochs).toEqual([2]);
    await expect(lockWorkspace(dir)).rejects.toEqual(locked);
  });

  test('of two tries at once in one process one wins', async () => {
    const tries = await Promise.allSettled([lockWorkspace(dir), lockWorkspace(dir)]);
    expect(tries.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    for (const one of tries) if (one.status === 'fulfilled') await one.value.release();
  });

  test('a second server is turned back within a second, and told of the first', async () => {
    await mkdir(path.join(dir, 'run'));
    const server = {
      pid: 4711,
      host: 'here',
      started_at: '2026-11-21T12:00:00.000Z',
      url: 'http://127.0.0.1:7373',
      version: '0.1.0',
      workspace: 'w',
      instance: 'i',
      token_file: 't',
      ephemeral: null,
    };
    await writeFile(path.join(dir, 'run', 'server.json'), JSON.stringify(server));
    const first = await start();
    expect((await first.ask('0 1 1')).epochs).toEqual([1]);
    const before = await fingerprint();
    const begun = performance.now();
    await expect(lockWorkspace(dir)).rejects.toEqual(
      expect.objectContaining({
        code: 'locked',
        message: expect.stringMatching(/4711.*http:\/\/127\.0\.0\.1:7373/),
        details: { pid: 4711, url: 'http://127.0.0.1:7373' },
      }),
    );
    expect(performance.now() - begun).toBeLessThan(1000);
    expect(await fingerprint()).toBe(before);

    await writeFile(path.join(dir, 'run', 'server.json'), '{"pid":');
    await expect(lockWorkspace(dir)).rejects.toEqual(locked);
  });

  test('is free at once when its holder was killed', async () => {
    const first = await start();
    expect((await first.ask('0 1 1')).epochs).toEqual([1]);
    await expect(lockWorkspace(dir)).rejects.toEqual(locked);
    await kill(first.child);
    const lock = await lockWorkspace(dir);
    expect(lock.epoch).toBe(2);
    await lock.release();
  });

  test('of 1,000 tries at one instant one wins, and the others change no byte', async () => {
    const processes = await Promise.all(Array.from({ length: 10 }, start));
    const race = async (rounds: number, width: number) => {
      const at = Date.now() + 100;
      return Promise.all(processes.map(({ ask }) => ask(`${at} ${rounds} ${width}`)));
    };
    const outcomes = await race(4, 25);
    expect(outcomes.reduce((sum, { tries }) => sum + tries, 0)).toBe(1000);
    expect(outcomes.flatMap(({ others }) => others)).toEqual([]);
    expect(outcomes.flatMap(({ epochs }) => epochs)).toEqual([1]);
    expect((await readdir(dir)).sort()).toEqual(['EPOCH', 'LOCK']);

    const before = await fingerprint();
    const again = await race(2, 50);
    expect(again.flatMap(({ epochs, others }) => [...epochs, ...others])).toEqual([]);
    expect(await fingerprint()).toBe(before);
  });
});

describe('EPOCH', () => {
  const file = () => path.join(dir, 'EPOCH');

  test.each(['', 'seven', '-1', '1.5', '0', '3\n4\n', '9'.repeat(40)])(
    'holding %j is an error that says what to do, and changes nothing',
    async (content) => {
      await writeFile(file(), content);
      await expect(lockWorkspace(dir)).rejects.toEqual(
        expect.objectContaining({
          code: 'storage_failed',
          message: expect.stringContaining('EPOCH is damaged'),
        }),
      );
      expect(await readFile(file(), 'utf8')).toBe(content);
      await writeFile(file(), '41\n');
      const lock = await lockWorkspace(dir);
      expect(lock.epoch).toBe(42);
      await lock.release();
    },
  );

  test.each(['2\n', '', 'x'])('holding %j is not that of the holder any more', async (content) => {
    const lock = await lockWorkspace(dir);
    await writeFile(file(), content);
    expect(await lock.verify()).toBe(false);
    await rm(file());
    expect(await lock.verify()).toBe(false);
    await lock.release();
  });
});

test('a LOCK that is something else is an error, and is not changed', async () => {
  const content = 'precious '.repeat(200);
  await writeFile(path.join(dir, 'LOCK'), content);
  await expect(lockWorkspace(dir)).rejects.toEqual(storageFailed);
  expect(await readFile(path.join(dir, 'LOCK'), 'utf8')).toBe(content);
  expect(await readdir(dir)).toEqual(['LOCK']);
});

test('a path that is a file is an error that names it', async () => {
  await writeFile(path.join(dir, 'file'), '');
  await expect(lockWorkspace(path.join(dir, 'file'))).rejects.toEqual(
    expect.objectContaining({ code: 'storage_failed', message: expect.stringContaining('file') }),
  );
});

describe('network file systems', () => {
  test.each<[number, string | null, string | null]>([
    [0x6969, null, 'NFS'],
    [0xff534d42, null, 'CIFS'],
    [0xff534d42 - 2 ** 32, null, 'CIFS'],
    [0x65735546, 'fuse.sshfs', 'fuse.sshfs'],
    [0x65735546, 'fuse.fuse-overlayfs', null],
    [0x65735546, 'fuseblk', null],
    [0x65735546, null, null],
    [0xef53, null, null],
    [0x01021994, null, null],
    [0x794c7630, null, null],
  ])('of type %i (%s) is %s', (type, mountType, name) => {
    expect(networkFsName(type, mountType)).toBe(name);
  });

  test('are looked up in the mount table by their device', () => {
    const table = [
      '36 35 98:0 / / rw,noatime master:1 - ext4 /dev/root rw',
      '40 36 0:52 / /mnt/far rw shared:2 master:3 - fuse.sshfs host:/ rw',
      '41 36 259:300 / /mnt/near rw - fuse.ntfs x rw',
    ].join('\n');
    expect(mountTypeOf(table, 52)).toBe('fuse.sshfs');
    expect(mountTypeOf(table, 98 * 256)).toBe('ext4');
    expect(mountTypeOf(table, 259 * 256 + (300 % 256) + 1048576)).toBe('fuse.ntfs');
    expect(mountTypeOf(table, 53)).toBeNull();
  });
});
