import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { DuragentError } from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { arrival, limitsOf } from '../../ports/inbox.testing.ts';
import type { Inbox, InboxEntry, InboxStore } from '../../ports/inbox.ts';
import { chainHolds } from '../../ports/session-store.testing.ts';
import { FaultyFiles, systemError, type Call } from '../files/faults.testing.ts';
import { crcOfLine } from '../files/sealed-line.ts';
import { fileInboxStore } from './filesystem.ts';

const NAME = 'telegram';
const FILE = 'inbox.jsonl';
const TEMPORARY = 'inbox.jsonl.tmp';
const MARKER = 'inbox.jsonl.unsynced';

let root: string;
let dir: string;
let files: FaultyFiles;
let syncFailures: DuragentError[];
let store: InboxStore;
let inbox: Inbox;
let unhanded: InboxEntry[];

/** As a new process: the one before does nothing any more. */
async function start(rotateBytes?: number): Promise<void> {
  await files?.closeAll();
  files = new FaultyFiles();
  syncFailures = [];
  store = fileInboxStore({
    dir,
    files,
    onSyncFailure: (error) => syncFailures.push(error),
    ...(rotateBytes === undefined ? {} : { rotateBytes }),
  });
}
async function openInbox(): Promise<void> {
  ({ inbox, unhanded } = await store.open(NAME));
}
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'duragent-inbox-'));
  dir = path.join(root, 'gateways');
  await start();
  await openInbox();
});
afterEach(async () => {
  await files.closeAll();
  await rm(root, { recursive: true });
});

const inFolder = (name: string) => path.join(dir, NAME, name);
const text = (name = FILE) => readFile(inFolder(name), 'utf8');
const lines = async () => (await text()).trimEnd().split('\n');
const numbered = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => `k${from + index}`);
const appendAll = (keys: readonly string[]) =>
  Promise.all(keys.map((key) => inbox.append(arrival(key))));
const settleAll = (keys: readonly string[]) =>
  Promise.allSettled(keys.map((key) => inbox.append(arrival(key))));
const refusals = (count: number, code: string) =>
  Array.from({ length: count }, () => ({ status: 'rejected', reason: { code } }));

/** What a process finds that knows nothing of this one. */
async function foundByNextProcess(): Promise<string[]> {
  await start();
  await openInbox();
  return unhanded.map(({ key }) => key);
}

describe('appending', () => {
  test('arrivals that wait for a sync share the next one', async () => {
    files.calls.length = 0;
    await appendAll(numbered(1, 100));
    expect(files.count('write', FILE)).toBe(2);
    expect(files.count('datasync', FILE)).toBe(2);
  });

  test('one arrival is one write and one sync, with the mark and the limits that wait', async () => {
    await inbox.append(arrival('a'));
    inbox.mark(1);
    inbox.keepLimits(limitsOf(4096));
    files.calls.length = 0;
    await inbox.append(arrival('b'));
    expect(files.calls.map(({ name }) => name)).toEqual(['write', 'datasync']);
    files.calls.length = 0;
    await inbox.append(arrival('c'));
    inbox.keepLimits(limitsOf(4096));
    await inbox.close();
    expect(files.calls.map(({ name }) => name)).toEqual(['write', 'datasync']);
    expect((await lines()).filter((line) => line.startsWith('{"mark"'))).toHaveLength(1);
    expect((await lines()).filter((line) => line.startsWith('{"limits"'))).toHaveLength(1);
  });

  test('nothing is acknowledged or known before its sync', async () => {
    let acknowledged = false;
    let seen: unknown;
    files.fault = ({ name }) => {
      if (name === 'datasync') seen = [acknowledged, inbox.has('a'), inbox.cursor];
      return undefined;
    };
    await inbox.append(arrival('a', { cursor: 1 })).then(() => (acknowledged = true));
    expect(seen).toEqual([false, false, null]);
    expect([inbox.has('a'), inbox.cursor]).toEqual([true, 1]);
  });

  test('the lines are a chain from the header on', async () => {
    await appendAll(['a', 'b']);
    inbox.mark(1);
    await inbox.append(arrival('c'));
    const [header = '', ...rest] = await lines();
    expect(header).toMatch(
      /^\{"duragent_inbox":1,"gateway":"telegram","first_n":1,"prev_crc":"00000000","crc":"[0-9a-f]{8}"\}$/,
    );
    expect(chainHolds(rest, crcOfLine(header))).toBe(true);
    expect(rest.map((line) => line.slice(0, 10))).toEqual([
      '{"n":1,"ke',
      '{"n":2,"ke',
      '{"mark":1,',
      '{"n":3,"ke',
    ]);
    expect((await stat(inFolder(FILE))).mode & 0o777).toBe(0o600);
    expect((await stat(inFolder('.'))).mode & 0o777).toBe(0o700);
  });

  test('a new inbox is durable with its folders', () => {
    expect(files.count('sync', FILE)).toBe(1);
    for (const each of [NAME, 'gateways', path.basename(root)]) {
      expect(files.count('sync', each)).toBe(1);
    }
  });

  test('short writes are carried on until every byte is out', async () => {
    files.fault = ({ name }) => (name === 'write' ? { short: 7 } : undefined);
    await appendAll(['a', 'b', 'c']);
    expect(await foundByNextProcess()).toEqual(['a', 'b', 'c']);
  });

  test('a write that takes nothing is an error, not a loop', async () => {
    files.fault = ({ name }) => (name === 'write' ? { short: 0 } : undefined);
    await expect(inbox.append(arrival('a'))).rejects.toMatchObject({ code: 'storage_failed' });
    expect(await foundByNextProcess()).toEqual([]);
  });

  test.each(['ENOSPC', 'EDQUOT'])(
    'a full disk (%s) in the middle of a group refuses all that waits; a later append goes on',
    async (code) => {
      await appendAll(['a', 'b']);
      inbox.mark(1);
      const durable = await text();
      let writes = 0;
      files.fault = ({ name }) => {
        if (name !== 'write') return undefined;
        writes += 1;
        return writes === 1 ? { short: 100 } : systemError(code);
      };
      expect(await settleAll(['c', 'd', 'c', 'e'])).toMatchObject(refusals(4, 'storage_full'));
      expect(await text()).toBe(durable);
      expect(inbox.has('c')).toBe(false);
      await expect(inbox.append(arrival('c'))).rejects.toMatchObject({ code: 'storage_full' });
      expect(await inbox.append(arrival('a'))).toBeNull();
      expect(syncFailures).toEqual([]);

      files.fault = () => undefined;
      expect((await appendAll(['c', 'd', 'c', 'e'])).map((entry) => entry?.n)).toEqual([
        3,
        4,
        undefined,
        5,
      ]);
      expect(await foundByNextProcess()).toEqual(['b', 'c', 'd', 'e']);
    },
  );

  test('a group that fails takes along what waits behind it, whose cursors are newer', async () => {
    let writes = 0;
    files.fault = ({ name }) => {
      if (name !== 'write') return undefined;
      writes += 1;
      return writes === 1 ? systemError('ENOSPC') : undefined;
    };
    expect(await settleAll(['a', 'b', 'c'])).toMatchObject(refusals(3, 'storage_full'));
    expect(writes).toBe(1);
    await appendAll(['a', 'b', 'c']);
    expect(await foundByNextProcess()).toEqual(['a', 'b', 'c']);
  });

  test('too much that waits for the disk is refused, and taken later', async () => {
    const large = 'x'.repeat(1_000_000);
    const calls = numbered(1, 30).map((key) => inbox.append(arrival(key, { cursor: large })));
    const results = await Promise.allSettled(calls);
    const refused = results.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThan(5);
    expect(refused).toMatchObject(refusals(refused.length, 'storage_full'));
    expect((await inbox.append(arrival('k30')))?.n).toBe(30 - refused.length + 1);
  });
});

describe('a failed sync', () => {
  async function failSync(code = 'EIO'): Promise<void> {
    files.fault = ({ name }) => (name === 'datasync' ? systemError(code) : undefined);
    expect(await settleAll(['c', 'd'])).toMatchObject(refusals(2, 'storage_failed'));
    files.fault = () => undefined;
  }

  test.each(['EIO', 'ENOSPC'])(
    '(%s) is told, and nothing is acknowledged or synced any more',
    async (code) => {
      await appendAll(['a', 'b']);
      const durable = await text();
      await failSync(code);
      expect(syncFailures).toMatchObject([{ code: 'storage_failed' }]);
      const syncs = files.count('datasync', FILE);
      expect(await settleAll(['c', 'a'])).toMatchObject(refusals(2, 'storage_failed'));
      inbox.mark(2);
      await inbox.close();
      expect(files.count('datasync', FILE)).toBe(syncs);
      expect(await text()).toBe(durable);
      expect(syncFailures).toHaveLength(1);
    },
  );

  test.each([
    ['by the same process', async () => inbox.close()],
    ['by the next process', async () => start()],
  ])('is mended by writing the inbox into a new file when it is opened %s', async (_, before) => {
    await appendAll(['a', 'b']);
    inbox.mark(1);
    const { ino } = await stat(inFolder(FILE));
    await failSync();
    await before();
    files.calls.length = 0;
    await openInbox();
    expect(files.calls.map(({ name, file }) => `${name} ${file}`)).toEqual(
      expect.arrayContaining([`sync ${TEMPORARY}`, `rename ${FILE}`, `sync ${NAME}`]),
    );
    expect(files.count('sync', FILE) + files.count('datasync', FILE)).toBe(0);
    expect((await stat(inFolder(FILE))).ino).not.toBe(ino);
    expect(await readdir(inFolder('.'))).toEqual([FILE]);
    // The mark never reached the disk.
    expect(unhanded.map(({ key }) => key)).toEqual(['a', 'b']);
    expect((await appendAll(['a', 'c', 'd'])).map((entry) => entry?.n)).toEqual([undefined, 3, 4]);
    expect(await foundByNextProcess()).toEqual(['a', 'b', 'c', 'd']);
    expect(files.count('rename', FILE)).toBe(0);
  });

  test('while it cannot be written anew it is not opened', async () => {
    await failSync();
    await inbox.close();
    files.fault = ({ file, name }) =>
      file === TEMPORARY && name === 'sync' ? systemError('EIO') : undefined;
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await expect(openInbox()).rejects.toMatchObject({ code: 'storage_failed' });
    }
    files.fault = () => undefined;
    await openInbox();
  });

  test('EIO of a write counts as one', async () => {
    files.fault = ({ name }) => (name === 'write' ? systemError('EIO') : undefined);
    await expect(inbox.append(arrival('a'))).rejects.toMatchObject({ code: 'storage_failed' });
    expect(syncFailures).toHaveLength(1);
  });

  test('a file that cannot be rolled back counts as one', async () => {
    files.fault = ({ name }) =>
      name === 'write' || name === 'truncate' ? systemError('ENOSPC') : undefined;
    await expect(inbox.append(arrival('a'))).rejects.toMatchObject({ code: 'storage_failed' });
    expect(syncFailures).toHaveLength(1);
  });

  test('at the start is told, and the inbox is not opened', async () => {
    await start();
    files.fault = ({ file, name }) =>
      file === FILE && name === 'sync' ? systemError('EIO') : undefined;
    await expect(openInbox()).rejects.toMatchObject({ code: 'storage_failed' });
    expect(syncFailures).toHaveLength(1);
    expect(await readdir(inFolder('.'))).toEqual([FILE, MARKER]);
    files.fault = () => undefined;
    await openInbox();
  });
});

describe('writing the file anew', () => {
  beforeEach(async () => {
    await start(4000);
    await openInbox();
  });
  const rewritten = () => vi.waitFor(() => expect(files.count('rename', FILE)).toBe(1));

  test('keeps keys, the newest cursor and limits, and whole what was not handed over', async () => {
    inbox.keepLimits(limitsOf(4096));
    await appendAll(numbered(1, 4));
    inbox.mark(3);
    await inbox.append(arrival('k5', { cursor: { offset: 5 } }));
    await appendAll(numbered(6, 10));
    await rewritten();
    await inbox.append(arrival('k11'));
    const [header = '', ...rest] = await lines();
    expect(header).toMatch(/^\{"duragent_inbox":1,"gateway":"telegram","first_n":1,"prev_crc":"/);
    expect(header).not.toContain('00000000');
    expect(chainHolds(rest, crcOfLine(header))).toBe(true);
    expect(rest.filter((line) => line.includes('hello from'))).toHaveLength(8);
    expect(rest.filter((line) => line.startsWith('{"mark":3,'))).toHaveLength(1);
    expect(rest.find((line) => line.startsWith('{"n":3,'))).toMatch(
      /^\{"n":3,"key":"k3","at":"2026-11-21T12:00:00\.000Z","crc":"[0-9a-f]{8}"\}$/,
    );
    expect((await stat(inFolder(FILE))).mode & 0o777).toBe(0o600);
    expect(await foundByNextProcess()).toEqual(numbered(4, 11));
    expect([inbox.cursor, inbox.limits]).toEqual([{ offset: 5 }, limitsOf(4096)]);
    expect(await appendAll(numbered(1, 11))).toEqual(Array.from({ length: 11 }, () => null));
  });

  test('goes by what is left of a file: it is not done over and over', async () => {
    await appendAll(numbered(1, 60));
    await rewritten();
    const { size } = await stat(inFolder(FILE));
    expect(size).toBeGreaterThan(8000);
    await appendAll(numbered(61, 80));
    expect(files.count('rename', FILE)).toBe(1);
    inbox.mark(80);
    for (const key of numbered(81, 140)) await inbox.append(arrival(key));
    await vi.waitFor(() => expect(files.count('rename', FILE)).toBe(2));
    await inbox.close();
    expect((await stat(inFolder(FILE))).size).toBeLessThan(size * 2);
  });

  test('does not hold up appends, and takes what came meanwhile along', async () => {
    let letGo = (): void => {};
    const held = new Promise<void>((resolve) => (letGo = resolve));
    const open = files.open.bind(files);
    files.open = async (file, flags, mode) => {
      const opened = await open(file, flags, mode);
      if (path.basename(file) !== TEMPORARY) return opened;
      return {
        ...opened,
        sync: async () => {
          await held;
          await opened.sync();
        },
      };
    };
    await appendAll(numbered(1, 20));
    await vi.waitFor(() => expect(files.count('write', TEMPORARY)).toBeGreaterThan(0));
    for (let n = 21; n <= 40; n += 1) await inbox.append(arrival(`k${n}`));
    inbox.mark(30);
    await inbox.append(arrival('k41'));
    expect(files.count('rename', FILE)).toBe(0);
    letGo();
    await rewritten();
    await inbox.append(arrival('k42'));
    expect(await foundByNextProcess()).toEqual(numbered(31, 42));
  });

  test.each(['write', 'sync'] as const)(
    'that fails (%s) leaves the old file, which goes on',
    async (call) => {
      files.fault = ({ name, file }) =>
        name === call && file === TEMPORARY ? systemError('ENOSPC') : undefined;
      await appendAll(numbered(1, 20));
      await vi.waitFor(() => expect(files.count('rm', TEMPORARY)).toBe(2));
      await inbox.append(arrival('k21'));
      expect(await readdir(inFolder('.'))).toEqual([FILE]);
      files.fault = () => undefined;
      for (const key of numbered(22, 40)) await inbox.append(arrival(key));
      await rewritten();
      expect(syncFailures).toEqual([]);
      expect(await foundByNextProcess()).toEqual(numbered(1, 40));
    },
  );

  test.each(['rename', 'sync'] as const)(
    'of which is not known what is in place (%s) counts as a failed sync',
    async (call) => {
      const meanwhile: ReturnType<typeof settleAll>[] = [];
      files.fault = ({ name, file }) => {
        if (name !== call || file !== (call === 'sync' ? NAME : FILE)) return undefined;
        meanwhile.push(settleAll(['k21', 'k22']));
        return systemError('EIO');
      };
      await appendAll(numbered(1, 20));
      await vi.waitFor(() => expect(syncFailures).toHaveLength(1));
      expect(await Promise.all(meanwhile)).toMatchObject([refusals(2, 'storage_failed')]);
      await expect(inbox.append(arrival('k21'))).rejects.toMatchObject({ code: 'storage_failed' });
      expect(syncFailures).toHaveLength(1);
      await inbox.close();
      expect(await foundByNextProcess()).toEqual(numbered(1, 20));
      expect((await inbox.append(arrival('k21')))?.n).toBe(21);
    },
  );

  test('stops where a record does not check any more, and nothing is written behind that', async () => {
    await appendAll(numbered(1, 5));
    const content = await text();
    await writeFile(inFolder(FILE), content.replace('hello from k2', 'hello from K2'));
    await appendAll(numbered(6, 20));
    await vi.waitFor(() => expect(files.count('rm', TEMPORARY)).toBe(2));
    await expect(inbox.append(arrival('k21'))).rejects.toMatchObject({ code: 'storage_failed' });
    expect(files.count('rename', FILE)).toBe(0);
    await start();
    await expect(openInbox()).rejects.toMatchObject({ code: 'log_corrupt' });
  });

  test('is given up by closing', async () => {
    await appendAll(numbered(1, 20));
    await inbox.close();
    expect(files.opened.size).toBe(0);
    expect(await readdir(inFolder('.'))).toEqual([FILE]);
    expect(await foundByNextProcess()).toEqual(numbered(1, 20));
  });
});

describe('whatever call fails', () => {
  type Failure = 'EIO' | 'ENOSPC' | 'short write';
  const KEYS = numbered(1, 30);

  /** Does what a hub does, and again what was refused, in processes that follow each other. */
  async function run(fault: (call: Call) => ReturnType<FaultyFiles['fault']>): Promise<number> {
    await rm(dir, { recursive: true, force: true });
    await start(1200);
    files.fault = fault;
    const acknowledged = new Map<string, number>();
    let marked = 0;
    let calls = 0;
    const restart = async (): Promise<void> => {
      calls += files.calls.length;
      await start(1200);
      await openInbox();
    };
    const first = await openInbox().catch((error: unknown) => error);
    if (first instanceof Error) await restart();
    for (let at = 0; at < KEYS.length; at += 3) {
      const group = KEYS.slice(at, at + 3);
      for (let attempt = 0; attempt < 3; attempt += 1) {
        const results = await settleAll(group);
        results.forEach((result, index) => {
          const key = group[index] ?? '';
          if (result.status === 'rejected') return;
          if (result.value === null) expect(inbox.has(key)).toBe(true);
          else acknowledged.set(key, result.value.n);
        });
        if (results.every(({ status }) => status === 'fulfilled')) break;
        // What was refused may be in the file, but what it gives then is known, and once.
        if (attempt === 1) await restart();
      }
      expect(group.every((key) => inbox.has(key))).toBe(true);
      if (at % 9 === 0) inbox.mark((marked = Math.max(marked, at)));
      if (at === 15) {
        await inbox.close().catch(() => undefined);
        const opened = await openInbox().catch((error: unknown) => error);
        if (opened instanceof Error) await restart();
      }
    }
    await inbox.close().catch(() => undefined);
    await restart();
    const found = new Map(unhanded.map(({ key, n }) => [key, n]));
    expect(found.size).toBe(unhanded.length);
    for (const [key, n] of acknowledged) {
      if (n > marked) expect([key, found.get(key)]).toEqual([key, n]);
    }
    expect(unhanded.map(({ n }) => n)).toEqual(
      unhanded.map((_, index) => KEYS.length - unhanded.length + 1 + index),
    );
    expect(await appendAll(KEYS)).toEqual(KEYS.map(() => null));
    return calls;
  }

  test.each<Failure>(['EIO', 'ENOSPC', 'short write'])(
    '(%s), nothing acknowledged is lost, and nothing refused is in it twice',
    async (failure) => {
      const total = await run(() => undefined);
      expect(total).toBeGreaterThan(60);
      for (let nth = 0; nth < total; nth += 1) {
        let seen = 0;
        await run(() => {
          seen += 1;
          if (seen !== nth + 1) return undefined;
          return failure === 'short write' ? { short: 3 } : systemError(failure);
        }).catch((error: unknown) => {
          throw new Error(`${failure} at call ${nth}`, { cause: error });
        });
      }
    },
    120_000,
  );
});
