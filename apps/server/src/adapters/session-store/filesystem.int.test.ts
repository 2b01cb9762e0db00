import {
  appendFile,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { sessionStoreContract } from '../../ports/session-store.contract.ts';
import {
  chainHolds,
  message,
  messages,
  OTHER,
  SESSION,
  summaryOf,
} from '../../ports/session-store.testing.ts';
import type { SessionStore } from '../../ports/session-store.ts';
import { FaultyFiles } from '../files/faults.testing.ts';
import { openFileSessionStore } from './filesystem.ts';

sessionStoreContract('the filesystem session store', async () => {
  const base = await mkdtemp(path.join(os.tmpdir(), 'duragent-store-'));
  const dir = path.join(base, 'sessions');
  const files = new FaultyFiles();
  return {
    open: () =>
      openFileSessionStore({
        dir,
        files,
        onSyncFailure: (error) => {
          throw error;
        },
      }),
    readSnapshot: (session) => readFile(path.join(dir, session, 'state.yaml'), 'utf8'),
    putSnapshot: (session, text) => writeFile(path.join(dir, session, 'state.yaml'), text),
    dispose: async () => {
      await files.closeAll();
      await rm(base, { recursive: true });
    },
  };
});

describe('the files of the session store', () => {
  let base: string;
  let dir: string;
  let files: FaultyFiles;
  let store: SessionStore;
  const openStore = () => openFileSessionStore({ dir, files, onSyncFailure: () => undefined });
  beforeEach(async () => {
    base = await mkdtemp(path.join(os.tmpdir(), 'duragent-files-'));
    dir = path.join(base, 'sessions');
    files = new FaultyFiles();
    store = await openStore();
  });
  afterEach(async () => {
    await files.closeAll();
    await rm(base, { recursive: true });
  });
  const at = (...names: string[]) => path.join(dir, ...names);
  const index = async () => (await readFile(at('index.jsonl'), 'utf8')).trim().split('\n');

  /** Sessions with one record each, closed cleanly. */
  async function closedSessions(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const log = await store.create(id);
      await log.append([message(1)], 0);
      await log.close(summaryOf(id, 1));
    }
  }

  test('are for their owner only', async () => {
    const log = await store.create(SESSION);
    await log.append([message(1)], 0);
    await log.writeSnapshot({}, 1, 1);
    await log.close(summaryOf(SESSION, 1));
    const modes = [
      '.',
      SESSION,
      'OPEN',
      'index.jsonl',
      `${SESSION}/events.jsonl`,
      `${SESSION}/state.yaml`,
    ];
    expect(
      await Promise.all(
        modes.map(async (name) => ((await stat(at(name))).mode & 0o777).toString(8)),
      ),
    ).toEqual(['700', '700', '600', '600', '600', '600']);
  });

  test('begin with a header, whose CRC the records continue', async () => {
    const log = await store.create(SESSION);
    await log.append(messages(1, 3), 0);
    await log.append(messages(4, 5), 3);
    const lines = (await readFile(at(SESSION, 'events.jsonl'), 'utf8')).trimEnd().split('\n');
    expect(lines[0]).toMatch(
      new RegExp(
        `^\\{"duragent_log":1,"session":"${SESSION}","first_seq":1,"prev_crc":"00000000","crc":"[0-9a-f]{8}"\\}$`,
      ),
    );
    expect(lines).toHaveLength(6);
    expect(chainHolds(lines, 0)).toBe(true);
    expect(lines.slice(1)).toEqual((await log.read(0, 9)).map(({ line }) => line));
  });

  test('hold a snapshot as indented JSON', async () => {
    const log = await store.create(SESSION);
    const records = await log.append(messages(1, 3), 0);
    await log.writeSnapshot({ a: [1] }, 3, 2);
    const text = await readFile(at(SESSION, 'state.yaml'), 'utf8');
    const content = JSON.parse(text) as Record<string, unknown>;
    expect(text).toBe(`${JSON.stringify(content, null, 1)}\n`);
    expect(content).toEqual({
      duragent_snapshot: 1,
      session: SESSION,
      seq: 3,
      crc: records[2]?.line.slice(-10, -2),
      window: {
        file: 'events.jsonl',
        offset: (await readFile(at(SESSION, 'events.jsonl'))).indexOf('{"seq":2,'),
        seq: 2,
        prev_crc: records[0]?.line.slice(-10, -2),
      },
      state: { a: [1] },
      sum: expect.stringMatching(/^[0-9a-f]{8}$/) as unknown,
    });
  });

  test('are all closed with the store', async () => {
    await closedSessions([SESSION, OTHER]);
    const { log } = await store.open(OTHER);
    await log.close(summaryOf(OTHER, 1));
    await store.delete(OTHER);
    await store.close();
    expect(files.opened.size).toBe(0);
  });

  test('a log of another size than the index says is unclean', async () => {
    await closedSessions([SESSION, OTHER]);
    await store.close();
    await appendFile(at(OTHER, 'events.jsonl'), 'x');
    store = await openStore();
    expect(await store.unclean()).toEqual([OTHER]);
    expect(await store.summaries()).toEqual([summaryOf(SESSION, 1)]);
  });

  test('a session that only OPEN names is unclean, whatever the index says', async () => {
    await closedSessions([SESSION, OTHER]);
    await store.close();
    await writeFile(
      at('OPEN'),
      `${SESSION}\nnonsense\n${SESSION.replace('01', '09')}\n${OTHER.slice(0, 9)}`,
    );
    store = await openStore();
    expect(await store.unclean()).toEqual([SESSION]);
    expect(await store.summaries()).toEqual([summaryOf(OTHER, 1)]);
    await closedSessions([SESSION.replace('01', '08')]);
    await vi.waitFor(async () => expect(await readFile(at('OPEN'), 'utf8')).toBe(`${SESSION}\n`));
  });

  test.each<[string, (lines: string[]) => string]>([
    ['is damaged', ([first, second]) => `${first?.slice(0, -9)}\n${second}\n`],
    ['is cut', ([first, second]) => `${second}\n${first?.slice(0, 50)}`],
    [
      'breaks its schema',
      ([first, second]) => `${first?.replace('"agent"', '"gent"')}\n${second}\n`,
    ],
    ['is missing', ([, second]) => `${second}\n`],
  ])('a session whose line in the index %s is unclean, and no other', async (_, change) => {
    await closedSessions([SESSION, OTHER]);
    await store.close();
    await writeFile(at('index.jsonl'), change(await index()));
    store = await openStore();
    expect(await store.unclean()).toEqual([SESSION]);
    expect(await store.summaries()).toEqual([summaryOf(OTHER, 1)]);
    const { log } = await store.open(SESSION);
    await log.close(summaryOf(SESSION, 1));
    await store.close();
    store = await openStore();
    expect(await store.unclean()).toEqual([]);
  });

  test('without the index every session is unclean', async () => {
    await closedSessions([SESSION, OTHER]);
    await store.close();
    await rm(at('index.jsonl'));
    store = await openStore();
    expect(await store.unclean()).toEqual([SESSION, OTHER]);
  });

  test('the last line of a session counts, and the index does not grow for ever', async () => {
    await closedSessions([SESSION]);
    for (let turn = 2; turn < 10; turn += 1) {
      const { log } = await store.open(SESSION);
      await log.append([message(turn)], turn - 1);
      await log.close(summaryOf(SESSION, turn));
    }
    expect(await index()).toHaveLength(9);
    expect(await store.summaries()).toEqual([summaryOf(SESSION, 9)]);
    await vi.waitFor(async () => expect(await readFile(at('OPEN'), 'utf8')).toBe(''));
    const next = await openStore();
    expect(await next.summaries()).toEqual([summaryOf(SESSION, 9)]);
    expect(await index()).toHaveLength(1);
  });

  test('links are not followed', async () => {
    await closedSessions([SESSION]);
    await mkdir(path.join(base, 'outside'));
    await writeFile(path.join(base, 'outside', 'events.jsonl'), '');
    await symlink(path.join(base, 'outside'), at(OTHER));
    await expect(store.open(OTHER)).rejects.toMatchObject({ code: 'session_not_found' });
    await expect(store.delete(OTHER)).rejects.toMatchObject({ code: 'session_not_found' });
    await expect(store.create(OTHER)).rejects.toMatchObject({ code: 'conflict' });
    expect(await store.unclean()).toEqual([]);

    await rm(at(SESSION, 'events.jsonl'));
    await symlink(path.join(base, 'outside', 'events.jsonl'), at(SESSION, 'events.jsonl'));
    await expect(store.open(SESSION)).rejects.toMatchObject({ code: 'session_not_found' });
    expect(await readFile(path.join(base, 'outside', 'events.jsonl'), 'utf8')).toBe('');
  });

  test('a link in the place of a snapshot is not used', async () => {
    await closedSessions([SESSION]);
    await symlink(path.join(base, 'nowhere'), at(SESSION, 'state.yaml'));
    const { log, snapshot } = await store.open(SESSION);
    expect(snapshot).toBeNull();
    await log.writeSnapshot({}, 1, 1);
    await expect(stat(path.join(base, 'nowhere'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('a log that shrinks while it is open is an error of its readers', async () => {
    const log = await store.create(SESSION);
    await log.append(messages(1, 20), 0);
    await truncate(at(SESSION, 'events.jsonl'), 2000);
    await expect(log.read(0, 100)).rejects.toMatchObject({ code: 'log_corrupt' });
  });

  test('a folder that a crash left without a log is no session', async () => {
    await mkdir(at(SESSION));
    expect(await store.unclean()).toEqual([]);
    await expect(store.open(SESSION)).rejects.toMatchObject({ code: 'session_not_found' });
    await store.delete(SESSION);
  });
});
