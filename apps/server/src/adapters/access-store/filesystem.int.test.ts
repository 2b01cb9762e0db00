import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { accessStoreContract, pairing, request } from '../../ports/access-store.contract.ts';
import type { AccessStore } from '../../ports/access-store.ts';
import { FaultyFiles, systemError } from '../files/faults.testing.ts';
import { fileAccessStore } from './filesystem.ts';

const makeDirectory = () => mkdtemp(path.join(os.tmpdir(), 'duragent-access-'));

accessStoreContract('the access book in a file', async () => {
  const dir = await makeDirectory();
  return {
    open: () => fileAccessStore({ path: path.join(dir, 'access.yaml') }),
    dispose: () => rm(dir, { recursive: true }),
  };
});

let dir: string;
let file: string;
let files: FaultyFiles;
let store: AccessStore;
beforeEach(async () => {
  dir = await makeDirectory();
  file = path.join(dir, 'access.yaml');
  files = new FaultyFiles();
  store = fileAccessStore({ path: file, files });
});
afterEach(async () => {
  expect(files.opened.size).toBe(0);
  await rm(dir, { recursive: true });
});
const add = (sender: string) =>
  store.update((book) => ({ ...book, pairings: [...book.pairings, pairing(sender)] }));
const senders = async () => (await store.read()).pairings.map(({ sender }) => sender);

describe('the file', () => {
  test('is made when there is something to keep: plain YAML, for the owner alone', async () => {
    await store.read();
    expect(await readdir(dir)).toEqual([]);
    await store.update(() => ({ pairings: [pairing('1')], requests: [request('23456789')] }));
    expect(await readFile(file, 'utf8')).toBe(
      [
        '# Who was let in, and who asked to be. It may be edited while the server runs.',
        '',
        'pairings:',
        '  - agent: echo',
        '    sender: telegram:1',
        '    name: Käthe 1',
        '    at: 2026-11-21T12:00:00.000Z',
        '    by: cli',
        'requests:',
        '  - code: "23456789"',
        '    agent: echo',
        '    sender: telegram:9',
        '    name: Otto',
        '    chat: { gateway: telegram, chat_id: "-100123" }',
        '    expires_at: 2026-11-21T13:00:00.000Z',
        '',
      ].join('\n'),
    );
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(dir)).toEqual(['access.yaml']);
  });

  test('is replaced as a whole, durably', async () => {
    await add('1');
    const order = files.calls
      .filter(({ name }) => ['sync', 'rename'].includes(name))
      .map(({ name, file: each }) => `${name} ${each}`);
    expect(order).toEqual([
      'sync access.yaml.tmp',
      'rename access.yaml',
      `sync ${path.basename(dir)}`,
    ]);
  });

  test('is not written where nothing changes, and not read again where it did not', async () => {
    await add('1');
    await store.read();
    files.calls.length = 0;
    await store.update((book) => structuredClone(book));
    await store.read();
    expect(files.calls).toEqual([]);
  });

  test.each(['EIO', 'ENOSPC'])(
    'whatever call fails (%s), is the old or the new one',
    async (code) => {
      await add('1');
      const before = await readFile(file, 'utf8');
      const expected = code === 'EIO' ? 'storage_failed' : 'storage_full';
      for (let nth = 1, total = 1; nth <= total; nth += 1) {
        await writeFile(file, before);
        store = fileAccessStore({ path: file, files });
        let seen = 0;
        files.fault = () => {
          seen += 1;
          return seen === nth ? systemError(code) : undefined;
        };
        const result = await add('2').catch((error: unknown) => error);
        total = Math.max(total, seen);
        files.fault = () => undefined;
        if (result instanceof Error) expect(result).toMatchObject({ code: expected });
        expect([1, 2]).toContain((await senders()).length);
        expect((await add('3')).pairings.at(-1)).toEqual(pairing('3'));
        expect(await readdir(dir)).toEqual(['access.yaml']);
      }
    },
  );
});

describe('a file that a person edits', () => {
  const WRITTEN = `# Our people.

pairings:
  # The boss.
  - agent: echo
    sender: "telegram:1"   # at work
    name: Ada
    at: 2026-11-21T12:00:00Z
    by: cli

  - { agent: echo, sender: 'telegram:2', name: Bob, at: 2026-11-21T12:00:00Z, by: cli } # new

  # Leaves soon.
  - agent: echo
    sender: telegram:3
    name: Eve
    at: 2026-11-21T12:00:00Z
    by: telegram:1
requests: [] # nobody
# The end.
`;

  test('is read anew, however it was saved', async () => {
    await writeFile(file, WRITTEN);
    expect(await senders()).toEqual(['telegram:1', 'telegram:2', 'telegram:3']);
    await writeFile(file, WRITTEN.replace('telegram:2', 'telegram:22'));
    expect(await senders()).toEqual(['telegram:1', 'telegram:22', 'telegram:3']);
    await add('4');
    await writeFile(file, (await readFile(file, 'utf8')).replace('telegram:22', 'discord:2'));
    expect(await senders()).toEqual(['telegram:1', 'discord:2', 'telegram:3', 'telegram:4']);
    await rm(file);
    expect(await senders()).toEqual([]);
  });

  test('keeps its comments and its layout when others are added, changed or removed', async () => {
    await writeFile(file, WRITTEN);
    await store.update(({ pairings: [first, second] }) => ({
      pairings: [
        ...(first ? [{ ...first, name: 'Ada L.' }] : []),
        ...(second ? [second] : []),
        pairing('5'),
      ],
      requests: [request('ABCDEFGH')],
    }));
    expect(await readFile(file, 'utf8')).toBe(`# Our people.

pairings:
  # The boss.
  - agent: echo
    sender: "telegram:1" # at work
    name: Ada L.
    at: 2026-11-21T12:00:00Z
    by: cli

  - { agent: echo, sender: 'telegram:2', name: Bob, at: 2026-11-21T12:00:00Z, by: cli } # new
  - agent: echo
    sender: telegram:5
    name: Käthe 5
    at: 2026-11-21T12:00:00.000Z
    by: cli
requests:
  - code: ABCDEFGH
    agent: echo
    sender: telegram:9
    name: Otto
    chat: { gateway: telegram, chat_id: "-100123" }
    expires_at: 2026-11-21T13:00:00.000Z
  # nobody

# The end.
`);
  });

  test('keeps its comments also after a change that could not be written', async () => {
    await writeFile(file, WRITTEN);
    files.fault = ({ name }) => (name === 'rename' ? systemError('ENOSPC') : undefined);
    const removal = store.update((book) => ({ ...book, pairings: book.pairings.slice(1) }));
    await expect(removal).rejects.toMatchObject({ code: 'storage_full' });
    files.fault = () => undefined;
    await add('4');
    expect(await senders()).toEqual([1, 2, 3, 4].map((each) => `telegram:${each}`));
    const text = await readFile(file, 'utf8');
    for (const comment of WRITTEN.match(/# [^\n]+/g) ?? []) expect(text).toContain(comment);
  });

  test.each([
    ['nothing', ''],
    ['comments only', '# Later.\n'],
    ['empty lists', 'pairings:\nrequests:\n'],
    ['one list', 'requests: []\n'],
    [
      'a list on one line',
      `pairings: [{agent: a, sender: "x:1", name: "", at: 2026-11-21T12:00:00Z, by: cli}] # x\n`,
    ],
  ])('may hold %s', async (_, text) => {
    await writeFile(file, text);
    const { pairings } = await store.read();
    await add('1');
    expect(await fileAccessStore({ path: file }).read()).toEqual({
      pairings: [...pairings, pairing('1')],
      requests: [],
    });
    for (const comment of text.match(/#.*/g) ?? []) {
      expect(await readFile(file, 'utf8')).toContain(comment);
    }
  });

  test('counts, though a change came meanwhile', async () => {
    await writeFile(file, WRITTEN);
    let changes = 0;
    const lstat = files.lstat;
    files.lstat = async (each) => {
      if (changes === 1) {
        changes += 1;
        await writeFile(file, WRITTEN.replace('telegram:2', 'telegram:22'));
      }
      return lstat(each);
    };
    await store.update((book) => {
      changes += 1;
      return { ...book, requests: [request('ABCDEFGH')] };
    });
    const book = await fileAccessStore({ path: file }).read();
    expect(book.pairings[1]?.sender).toBe('telegram:22');
    expect(book.requests).toHaveLength(1);
  });

  const ITEM = `  - agent: echo\n    sender: telegram:1\n    name: A\n    at: 2026-11-21T12:00:00Z\n    by: cli\n`;
  test.each([
    ['an unknown key', `pairings: []\nparings: []\n`, '2:1: unknown key "parings"; remove it'],
    [
      'an unknown key of a pairing',
      `pairings:\n${ITEM}    note: x\n`,
      '7:5: unknown key "note"; remove it',
    ],
    [
      'a number for text',
      `pairings:\n${ITEM.replace('name: A', 'name: 5')}`,
      '4:11: pairings.0.name: expected text; write it in quotes',
    ],
    [
      'a missing key',
      `pairings:\n${ITEM.replace('    by: cli\n', '')}`,
      '2:5: pairings.0.by is missing',
    ],
    [
      'somebody unknown who let them in',
      `pairings:\n${ITEM.replace('cli', 'me')}`,
      '6:9: pairings.0.by: expected cli or <gateway>:<platform id>',
    ],
    [
      'a sender without a gateway',
      `pairings:\n${ITEM.replace('telegram:1', 'ada')}`,
      '3:13: pairings.0.sender: expected <gateway>:<platform id>',
    ],
    ['a list for the file', '- a\n', '1:1: the file: expected a map of keys'],
    ['text for a list', 'pairings: none\n', '1:11: pairings: expected a list'],
    [
      'a key twice',
      `pairings: []\npairings: []\n`,
      '2:1: the key "pairings" is there twice; remove one',
    ],
    [
      'an alias',
      `pairings: &a []\nrequests: *a\n`,
      '2:11: write the value out instead of an alias',
    ],
    [
      'two documents',
      'pairings: []\n---\nrequests: []\n',
      '2:1: a second document begins here; one file holds one',
    ],
    [
      'another YAML',
      '%YAML 1.1\n---\npairings: []\n',
      '1:1: this file is read as YAML 1.2; remove the line %YAML',
    ],
    [
      'deep nesting',
      `pairings: ${'['.repeat(100_000)}`,
      '1:18: nested more than 8 levels deep; flatten it',
    ],
    ['an unknown tag', 'pairings: !x []\n', '1:11: '],
    ['broken YAML', 'pairings: [\n', '2:1: '],
    [
      'something binary',
      Buffer.from([0xff, 0xfe, 0x00]),
      '1:1: the file is not UTF-8 text; save it as UTF-8',
    ],
    ['too much', Buffer.alloc(9 * 1024 * 1024, '#'), '1:1: the file is larger than 8 MiB'],
  ])(
    'that holds %s is refused with the place of the fault, and not changed',
    async (_, text, fault) => {
      await writeFile(file, text);
      for (const call of [() => store.read(), () => add('1')]) {
        const error = await call().catch((thrown: unknown) => thrown);
        expect(error).toMatchObject({ code: 'config_invalid' });
        expect((error as Error).message.startsWith(`${file}:${fault}`)).toBe(true);
      }
      expect(Buffer.from(text).equals(await readFile(file))).toBe(true);
      await writeFile(file, WRITTEN);
      expect(await senders()).toHaveLength(3);
    },
  );

  test('may not be a link, a folder or a pipe', async () => {
    const elsewhere = path.join(dir, 'elsewhere.yaml');
    await writeFile(elsewhere, WRITTEN);
    await symlink(elsewhere, file);
    await expect(store.read()).rejects.toMatchObject({ code: 'config_invalid' });
    await expect(add('1')).rejects.toMatchObject({ code: 'config_invalid' });
    expect(await readFile(elsewhere, 'utf8')).toBe(WRITTEN);
    await rm(file);
    await mkdir(file);
    await expect(store.read()).rejects.toMatchObject({ code: 'config_invalid' });
  });
});
