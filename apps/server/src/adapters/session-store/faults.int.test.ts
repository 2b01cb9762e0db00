import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { DuragentError } from '@duragent/protocol';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { message, messages, OTHER, SESSION, summaryOf } from '../../ports/session-store.testing.ts';
import type { SessionLog, SessionStore } from '../../ports/session-store.ts';
import { FaultyFiles, systemError } from '../files/faults.testing.ts';
import { openFileSessionStore } from './filesystem.ts';

let dir: string;
let files: FaultyFiles;
let store: SessionStore;
let syncFailures: DuragentError[];
/** The files of every store that a test opened. */
let processes: FaultyFiles[];

async function openStore(): Promise<SessionStore> {
  files = new FaultyFiles();
  processes.push(files);
  syncFailures = [];
  return openFileSessionStore({ dir, files, onSyncFailure: (error) => syncFailures.push(error) });
}
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'duragent-faults-'));
  processes = [];
  store = await openStore();
});
afterEach(async () => {
  files.fault = () => undefined;
  await Promise.all(processes.map((each) => each.closeAll()));
  await rm(dir, { recursive: true });
});

const LOG = 'events.jsonl';
const read = (name: string) => readFile(path.join(dir, name), 'utf8');
const logText = () => read(`${SESSION}/${LOG}`);

async function created(count: number): Promise<SessionLog> {
  const log = await store.create(SESSION);
  await log.append(messages(1, count), 0);
  return log;
}

/** What a store finds that knows nothing of this one. */
async function foundByNextProcess(): Promise<number[]> {
  const next = await openStore();
  const { records, torn } = await next.open(SESSION);
  expect(torn).toBeNull();
  return records.map(({ event }) => event.seq);
}

test('appends of one moment share a sync', async () => {
  const log = await created(1);
  const before = files.count('datasync', LOG);
  const calls = Array.from({ length: 100 }, (_, index) =>
    log.append([message(index + 2)], index + 1),
  );
  await Promise.all(calls);
  expect(files.count('datasync', LOG) - before).toBe(1);
  expect(files.count('write', LOG)).toBe(3);
});

test('one append is one write and one sync', async () => {
  const log = await created(1);
  files.calls.length = 0;
  await log.append(messages(2, 3), 1);
  expect(files.calls.map(({ name }) => name)).toEqual(['write', 'datasync']);
});

test('an append that may wait shares the sync of the next one', async () => {
  const log = await created(1);
  files.calls.length = 0;
  const waiting = log.append([message(2)], 1, { mayWaitMs: 60_000 });
  await Promise.all([waiting, log.append([message(3)], 2)]);
  expect(files.calls.map(({ name }) => name)).toEqual(['write', 'datasync']);
  expect(await foundByNextProcess()).toEqual([1, 2, 3]);
});

test('an append that may wait is durable by itself when nothing comes', async () => {
  const log = await created(1);
  files.calls.length = 0;
  await log.append([message(2)], 1, { mayWaitMs: 1 });
  expect(files.calls.map(({ name }) => name)).toEqual(['write', 'datasync']);
});

test('an append that may wait less ends the wait of those before it', async () => {
  const log = await created(1);
  files.calls.length = 0;
  const waiting = log.append([message(2)], 1, { mayWaitMs: 60_000 });
  await Promise.all([waiting, log.append([message(3)], 2, { mayWaitMs: 1 })]);
  expect(files.calls.map(({ name }) => name)).toEqual(['write', 'datasync']);
});

test('closing waits for an append that may wait, which then does not', async () => {
  const log = await created(1);
  const waiting = log.append([message(2)], 1, { mayWaitMs: 60_000 });
  await log.close(summaryOf(SESSION, 2));
  await waiting;
  expect(await foundByNextProcess()).toEqual([1, 2]);
});

test('an append that waits is refused, and never written, where its log is abandoned', async () => {
  const log = await created(1);
  files.calls.length = 0;
  const waiting = log.append([message(2)], 1, { mayWaitMs: 1 });
  log.abandon(new DuragentError('epoch_lost', 'Another server took over.'));
  await expect(waiting).rejects.toMatchObject({ code: 'epoch_lost' });
  await log.close(summaryOf(SESSION, 1));
  expect(files.count('write', LOG)).toBe(0);
  expect(await foundByNextProcess()).toEqual([1]);
});

test('an append that may wait fails with the one whose sync it shares', async () => {
  const log = await created(1);
  files.fault = ({ name }) => (name === 'write' ? systemError('ENOSPC') : undefined);
  const results = await Promise.allSettled([
    log.append([message(2)], 1, { mayWaitMs: 60_000 }),
    log.append([message(3)], 2),
  ]);
  expect(results).toMatchObject(
    results.map(() => ({ status: 'rejected', reason: { code: 'storage_full' } })),
  );
  expect(await foundByNextProcess()).toEqual([1]);
});

test('an append is not acknowledged before its sync, and cannot be read before', async () => {
  const log = await created(1);
  let acknowledged = false;
  let readMeanwhile: Promise<unknown[]> = Promise.resolve([]);
  files.fault = ({ name }) => {
    if (name === 'datasync') {
      expect(acknowledged).toBe(false);
      readMeanwhile = log.read(0, 10);
    }
    return undefined;
  };
  await log.append([message(2)], 1);
  acknowledged = true;
  expect(await readMeanwhile).toHaveLength(1);
  expect(await log.read(0, 10)).toHaveLength(2);
});

test('short writes are carried on until every byte is out', async () => {
  const log = await created(1);
  files.fault = ({ name }) => (name === 'write' ? { short: 7 } : undefined);
  await log.append(messages(2, 5), 1);
  await log.append(messages(6, 9), 5);
  expect(await foundByNextProcess()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test('a write that takes nothing is an error, not a loop', async () => {
  const log = await created(1);
  files.fault = ({ name }) => (name === 'write' ? { short: 0 } : undefined);
  await expect(log.append([message(2)], 1)).rejects.toMatchObject({ code: 'storage_failed' });
  expect(await foundByNextProcess()).toEqual([1]);
});

test.each(['ENOSPC', 'EDQUOT'])(
  'a full disk (%s) in the middle of a group rolls the file back and refuses all that waited',
  async (code) => {
    const log = await created(2);
    const durable = await logText();
    let writes = 0;
    files.fault = ({ name, file }) => {
      if (name !== 'write' || file !== LOG) return undefined;
      writes += 1;
      return writes === 1 ? { short: 100 } : systemError(code);
    };
    const results = await Promise.allSettled([
      log.append(messages(3, 4), 2),
      log.append([message(5)], 4),
      log.append([message(6)], 5),
    ]);
    expect(results).toMatchObject(
      results.map(() => ({ status: 'rejected', reason: { code: 'storage_full' } })),
    );
    expect(await logText()).toBe(durable);
    expect(log.lastSeq).toBe(2);
    expect(syncFailures).toEqual([]);

    files.fault = () => undefined;
    await expect(log.append([message(3)], 2)).rejects.toMatchObject({ code: 'storage_full' });
    expect(await log.read(0, 10)).toHaveLength(2);
    await log.close(summaryOf(SESSION, 2));
    const { log: again } = await store.open(SESSION);
    await again.append([message(3)], 2);
    await again.close(summaryOf(SESSION, 3));
    expect(await foundByNextProcess()).toEqual([1, 2, 3]);
  },
);

test.each([
  ['EIO', 'storage_failed'],
  ['ENOSPC', 'storage_full'],
])(
  'after a failed sync (%s) nothing is acknowledged, the descriptor is not synced again, and the server is told',
  async (code, refusal) => {
    const log = await created(2);
    const durable = await logText();
    files.fault = ({ name }) => (name === 'datasync' ? systemError(code) : undefined);
    const results = await Promise.allSettled([
      log.append([message(3)], 2),
      log.append([message(4)], 3),
    ]);
    expect(results.every(({ status }) => status === 'rejected')).toBe(true);
    expect(syncFailures).toHaveLength(1);
    files.fault = () => undefined;
    const syncs = files.count('datasync', LOG);
    await expect(log.append([message(3)], 2)).rejects.toMatchObject({ code: refusal });
    await log.close(summaryOf(SESSION, 2));
    await expect(store.open(SESSION)).rejects.toMatchObject({ code: 'storage_failed' });
    expect(files.count('datasync', LOG)).toBe(syncs);
    expect(files.count('sync', LOG)).toBe(0);
    expect(await logText()).toBe(durable);
    expect(await store.unclean()).toEqual([SESSION]);
  },
);

test('EIO of a write counts as a failed sync', async () => {
  const log = await created(1);
  files.fault = ({ name }) => (name === 'write' ? systemError('EIO') : undefined);
  await expect(log.append([message(2)], 1)).rejects.toMatchObject({ code: 'storage_failed' });
  expect(syncFailures).toHaveLength(1);
});

test('a file that cannot be rolled back is a failure of the server', async () => {
  const log = await created(1);
  files.fault = ({ name }) =>
    name === 'write' || name === 'truncate' ? systemError('ENOSPC') : undefined;
  await expect(log.append([message(2)], 1)).rejects.toMatchObject({ code: 'storage_full' });
  expect(syncFailures).toHaveLength(1);
});

test('OPEN durably names a session before its first append since opening, and once', async () => {
  const log = await created(1);
  await log.close(summaryOf(SESSION, 1));
  await store.close();
  expect(await read('OPEN')).toBe('');

  store = await openStore();
  const opened = await store.open(SESSION);
  expect(await read('OPEN')).toBe('');
  files.calls.length = 0;
  await opened.log.append([message(2)], 1);
  await opened.log.append([message(3)], 2);
  expect(files.calls.map(({ name, file }) => `${name} ${file}`)).toEqual([
    'write OPEN',
    'datasync OPEN',
    `write ${LOG}`,
    `datasync ${LOG}`,
    `write ${LOG}`,
    `datasync ${LOG}`,
  ]);
  expect(await read('OPEN')).toBe(`${SESSION}\n`);
});

test('sessions that are opened together share syncs of OPEN', async () => {
  const ids = Array.from(
    { length: 32 },
    (_, n) => `${SESSION.slice(0, -2)}${String(n).padStart(2, '0')}`,
  );
  const logs = await Promise.all(ids.map((id) => store.create(id)));
  expect(files.count('datasync', 'OPEN')).toBeLessThan(16);
  await Promise.all(logs.map((log) => log.append([message(1)], 0)));
  expect((await read('OPEN')).trim().split('\n').sort()).toEqual(ids);
  const rewrites = files.count('rename', 'OPEN');
  await Promise.all(logs.map((log) => log.close(summaryOf(log.session, 1))));
  await vi.waitFor(async () => expect(await read('OPEN')).toBe(''));
  expect(files.count('rename', 'OPEN') - rewrites).toBeLessThan(24);
  await store.close();
  expect(await read('OPEN')).toBe('');
});

test('without OPEN nothing is written to the log', async () => {
  const log = await created(1);
  await log.close(summaryOf(SESSION, 1));
  await vi.waitFor(async () => expect(await read('OPEN')).toBe(''));
  const opened = await store.open(SESSION);
  const before = await logText();
  files.fault = ({ file }) => (file === 'OPEN' ? systemError('ENOSPC') : undefined);
  await expect(opened.log.append([message(2)], 1)).rejects.toMatchObject({ code: 'storage_full' });
  expect(await logText()).toBe(before);
  expect(syncFailures).toEqual([]);
});

test('a rewrite of OPEN that fails leaves too many ids, never too few', async () => {
  const log = await created(1);
  files.fault = ({ name, file }) =>
    name === 'rename' && file === 'OPEN' ? systemError('ENOSPC') : undefined;
  await log.close(summaryOf(SESSION, 1));
  await vi.waitFor(() => expect(files.count('rename', 'OPEN')).toBe(1));
  expect(await read('OPEN')).toBe(`${SESSION}\n`);
  files.fault = () => undefined;
  await store.close();
  expect(await read('OPEN')).toBe('');
});

test('what a killed process wrote and did not sync is synced before it is given out', async () => {
  await created(2);
  store = await openStore();
  files.calls.length = 0;
  await store.open(SESSION);
  expect(files.count('sync', LOG)).toBe(1);
  expect(files.count('sync', SESSION)).toBe(1);
});

test('a session closed cleanly is opened without a sync', async () => {
  const log = await created(2);
  await log.close(summaryOf(SESSION, 2));
  await store.close();
  store = await openStore();
  files.calls.length = 0;
  await store.open(SESSION);
  expect(files.calls.filter(({ name }) => name === 'sync' || name === 'datasync')).toEqual([]);
});

test('a creation that fails leaves nothing', async () => {
  files.fault = ({ name, file }) =>
    name === 'write' && file === LOG ? systemError('ENOSPC') : undefined;
  await expect(store.create(SESSION)).rejects.toMatchObject({ code: 'storage_full' });
  files.fault = () => undefined;
  await expect(store.open(SESSION)).rejects.toMatchObject({ code: 'session_not_found' });
  await (await store.create(SESSION)).append([message(1)], 0);
});

test('a log whose header cannot be synced is not made, and the server is told', async () => {
  files.fault = ({ name, file }) =>
    name === 'datasync' && file === LOG ? systemError('EIO') : undefined;
  await expect(store.create(SESSION)).rejects.toMatchObject({ code: 'storage_failed' });
  expect(syncFailures).toHaveLength(1);
});

test('a new log is durable with its folder and the list of sessions', async () => {
  files.calls.length = 0;
  await store.create(SESSION);
  expect(files.count('sync', `new-${SESSION}`)).toBe(1);
  expect(files.count('sync', path.basename(dir))).toBe(1);
  expect(files.count('datasync', LOG)).toBe(1);
  expect(files.count('datasync', 'OPEN')).toBe(1);
  // Whoever finds the folder finds a log with its header in it.
  const named = files.calls.findIndex(({ name }) => name === 'rename');
  const written = files.calls.findIndex(({ name, file }) => name === 'datasync' && file === LOG);
  expect(written).toBeGreaterThan(-1);
  expect(named).toBeGreaterThan(written);
});

test('a session whose making was cut short is not there, and goes at the next start', async () => {
  files.fault = ({ name }) => (name === 'rename' || name === 'rm' ? systemError('EIO') : undefined);
  await expect(store.create(SESSION)).rejects.toMatchObject({ code: 'storage_failed' });
  expect(await readdir(dir)).toContain(`new-${SESSION}`);
  await expect(store.open(SESSION)).rejects.toMatchObject({ code: 'session_not_found' });

  store = await openStore();
  expect(await readdir(dir)).not.toContain(`new-${SESSION}`);
  await (await store.create(SESSION)).append([message(1)], 0);
});

test('a snapshot is written beside appends, and replaced as a whole', async () => {
  const log = await created(10);
  await log.writeSnapshot({ n: 1 }, 10, 1);
  files.fault = ({ name, file }) =>
    name === 'write' && file === 'state.yaml.tmp' ? systemError('ENOSPC') : undefined;
  const failed = log.writeSnapshot({ n: 2 }, 10, 5);
  await Promise.all([
    expect(failed).rejects.toMatchObject({ code: 'storage_full' }),
    log.append([message(11)], 10),
  ]);
  expect(JSON.parse(await read(`${SESSION}/state.yaml`))).toMatchObject({ state: { n: 1 } });
  await expect(stat(path.join(dir, SESSION, 'state.yaml.tmp'))).rejects.toMatchObject({
    code: 'ENOENT',
  });
  files.fault = () => undefined;
  files.calls.length = 0;
  await log.writeSnapshot({ n: 3 }, 10, 5);
  const order = files.calls.filter(({ name }) => name === 'sync' || name === 'rename');
  expect(order.map(({ name, file }) => `${name} ${file}`)).toEqual([
    'sync state.yaml.tmp',
    'rename state.yaml',
    `sync ${SESSION}`,
  ]);
});

test('a deletion that was cut short is finished at the next start', async () => {
  const log = await created(1);
  await log.close(summaryOf(SESSION, 1));
  await (await store.create(OTHER)).append([message(1)], 0);
  files.fault = ({ name }) => (name === 'rm' ? systemError('EIO') : undefined);
  await expect(store.delete(SESSION)).rejects.toMatchObject({ code: 'storage_failed' });
  await expect(store.open(SESSION)).rejects.toMatchObject({ code: 'session_not_found' });
  store = await openStore();
  expect(await store.unclean()).toEqual([OTHER]);
  expect(files.count('rm', `deleted-${SESSION}`)).toBe(1);
  await expect(stat(path.join(dir, `deleted-${SESSION}`))).rejects.toMatchObject({
    code: 'ENOENT',
  });
});
