import { execFileSync } from 'node:child_process';
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readYaml } from '../../config/yaml-file.ts';
import { evaluatePolicy } from '../../core/policy/evaluate-policy.ts';
import { policyFileSchema } from '../../core/policy/policy-file.ts';
import { policyStoreContract } from '../../ports/policy-store.contract.ts';
import type { PolicyStore } from '../../ports/policy-store.ts';
import { FaultyFiles, systemError } from '../files/faults.testing.ts';
import { filePolicyStore } from './filesystem.ts';
import type { ReadPolicy } from './policy-text.ts';

let reads = 0;
const readPolicy: ReadPolicy = (text, file) => {
  reads += 1;
  return readYaml(text, file, policyFileSchema);
};

async function makeFolders() {
  const root = await mkdtemp(path.join(os.tmpdir(), 'duragent-policy-'));
  const dataDir = path.join(root, 'data');
  await mkdir(dataDir);
  const agent = (name: string) => ({ name, home: path.join(root, 'agents', name) });
  const files = {
    workspace: () => path.join(dataDir, 'policy.yaml'),
    agent: (name: string) => path.join(agent(name).home, 'policy.yaml'),
    local: (name: string) => path.join(dataDir, 'agents', name, 'policy.local.yaml'),
  };
  return { root, dataDir, agent, files };
}

async function put(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, text);
}

policyStoreContract('policies in files', async () => {
  const { root, dataDir, agent, files } = await makeFolders();
  return {
    open: () => filePolicyStore({ dataDir, readPolicy }),
    agent,
    async write(which, name, text) {
      const file = files[which](name);
      if (text === null) await rm(file);
      else await put(file, text);
    },
    dispose: () => rm(root, { recursive: true }),
  };
});

let folders: Awaited<ReturnType<typeof makeFolders>>;
let disk: FaultyFiles;
let store: PolicyStore;
let local: string;
beforeEach(async () => {
  folders = await makeFolders();
  disk = new FaultyFiles();
  store = filePolicyStore({ dataDir: folders.dataDir, readPolicy, files: disk });
  local = folders.files.local('echo');
  reads = 0;
});
afterEach(async () => {
  expect(disk.opened.size).toBe(0);
  await rm(folders.root, { recursive: true });
});
const load = () => store.load(folders.agent('echo'));
const add = (rule: string) => store.allowAlways(folders.agent('echo'), rule);
async function allowed(): Promise<string[]> {
  const { policies } = await load();
  if (policies === null) throw new Error('the policies do not load');
  const { workspace, agent, local: own } = policies;
  return [workspace, agent, own].flatMap((each) => each?.allow.map(({ text }) => text) ?? []);
}
const decide = async (command: string) =>
  evaluatePolicy(await load(), { kind: 'bash', command }).decision;

describe('the local file', () => {
  test('is made with the first rule: for the owner alone, and nothing else is left', async () => {
    await load();
    expect(await readdir(folders.dataDir)).toEqual([]);
    await add('bash:git log --oneline');
    await add("bash:echo '*' 'a: b'");
    await add('*:*secret*');
    expect(await readFile(local, 'utf8')).toBe(
      [
        '# What people chose to allow always. Remove a line to be asked again.',
        '',
        'allow:',
        '  - bash:git log --oneline',
        `  - "bash:echo '*' 'a: b'"`,
        '  - "*:*secret*"',
        '',
      ].join('\n'),
    );
    expect((await stat(local)).mode & 0o777).toBe(0o600);
    expect((await stat(path.dirname(local))).mode & 0o777).toBe(0o700);
    expect(await readdir(path.dirname(local))).toEqual(['policy.local.yaml']);
  });

  test('is written durably, with the folders that were made for it', async () => {
    await add('bash:ls');
    const order = disk.calls
      .filter(({ name }) => ['sync', 'rename', 'mkdir'].includes(name))
      .map(({ name, file }) => `${name} ${file}`);
    expect(order).toEqual([
      'mkdir echo',
      'sync agents',
      'sync data',
      'sync policy.local.yaml.tmp',
      'rename policy.local.yaml',
      'sync echo',
    ]);
  });

  test('keeps the comments and the order of what people wrote', async () => {
    await put(
      local,
      `# Ours.
mode: ask # for now

allow:
  # Reading is fine.
  - 'bash:git log *'   # any log
  - "bash:ls"

  # Nothing else.
deny: [ 'bash:rm *' ] # never
# The end.
`,
    );
    await add('bash:date');
    expect(await readFile(local, 'utf8')).toBe(`# Ours.
mode: ask # for now

allow:
  # Reading is fine.
  - 'bash:git log *' # any log
  - "bash:ls"
  - bash:date
  # Nothing else.
deny: [ 'bash:rm *' ] # never

# The end.
`);
    expect(await decide('date')).toBe('allow');
    expect(await decide('rm x')).toBe('deny');
  });

  test.each([
    ['nothing', ''],
    ['comments only', '# Later.\n'],
    ['an empty list', 'allow: []\n'],
    ['a list that is not there', 'allow:\n'],
    ['another key', 'mode: ask # yes\n'],
    ['a list on one line', 'allow: ["bash:ls", "bash:id"] # x\n'],
    ['a document that begins', '---\nallow:\n- bash:ls\n'],
    ['an anchor', 'deny: &a ["bash:rm"]\nnotify: *a\n'],
  ])('may hold %s', async (_, text) => {
    await put(local, text);
    const before = await allowed();
    await add('bash:date -u');
    expect(await allowed()).toEqual([...before, 'bash:date -u']);
    const written = await readFile(local, 'utf8');
    for (const comment of text.match(/#.*/g) ?? []) expect(written).toContain(comment);
  });

  test('is left alone where a rule cannot be added', async () => {
    const text = 'deny: []\nnotify: &a []\nallow: *a\n';
    await put(local, text);
    await expect(add('bash:ls')).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('write it under "allow" yourself: "bash:ls"'),
    });
    expect(await readFile(local, 'utf8')).toBe(text);
  });

  test('counts as a person saved it, though a rule came meanwhile', async () => {
    await put(local, 'allow: ["bash:ls"]\n');
    const { mkdir: make } = disk;
    disk.mkdir = async (...args) => {
      disk.mkdir = make;
      await writeFile(local, 'allow: ["bash:id"]\n');
      return make.apply(disk, args);
    };
    await add('bash:date');
    expect(await allowed()).toEqual(['bash:id', 'bash:date']);
  });

  test.each(['EIO', 'ENOSPC'])(
    'whatever call fails (%s), is the old or the new one',
    async (code) => {
      await add('bash:a');
      const before = await readFile(local, 'utf8');
      const expected = code === 'EIO' ? 'storage_failed' : 'storage_full';
      let failures = 0;
      for (let nth = 1, isDone = false; !isDone; nth += 1) {
        await writeFile(local, before);
        store = filePolicyStore({ dataDir: folders.dataDir, readPolicy, files: disk });
        await load();
        let seen = 0;
        disk.fault = () => {
          seen += 1;
          return seen === nth ? systemError(code) : undefined;
        };
        const result = await add('bash:b').catch((error: unknown) => error);
        isDone = seen < nth;
        disk.fault = () => undefined;
        if (result instanceof Error) {
          failures += 1;
          const isUnread = (result as { code?: string }).code === 'config_invalid';
          if (!isUnread) expect(result).toMatchObject({ code: expected });
        }
        expect([['bash:a'], ['bash:a', 'bash:b']]).toContainEqual(await allowed());
        await add('bash:c');
        expect((await allowed()).at(-1)).toBe('bash:c');
        expect(await readdir(path.dirname(local))).toEqual(['policy.local.yaml']);
      }
      expect(failures).toBeGreaterThan(3);
    },
  );

  test('is not written through a link', async () => {
    const elsewhere = path.join(folders.root, 'elsewhere');
    await mkdir(elsewhere);
    await mkdir(path.join(folders.dataDir, 'agents'));
    await symlink(elsewhere, path.dirname(local));
    await expect(add('bash:ls')).rejects.toMatchObject({ code: 'config_invalid' });
    expect(await readdir(elsewhere)).toEqual([]);
  });

  test('is no file outside of the data directory, whatever the agent is called', async () => {
    for (const name of ['..', '../x', '', 'A', 'a/b', '.']) {
      const agent = { name, home: folders.root };
      await expect(store.allowAlways(agent, 'bash:ls')).rejects.toMatchObject({
        code: 'config_invalid',
      });
      expect((await store.load(agent)).policies).toBeNull();
    }
    expect(await readdir(folders.dataDir)).toEqual([]);
  });
});

describe('files that people edit', () => {
  test('are read again only when they changed', async () => {
    await put(folders.files.workspace(), 'allow: ["bash:ls"]\n');
    await put(folders.files.agent('echo'), 'allow: ["bash:id"]\n');
    await load();
    const first = reads;
    for (let turn = 0; turn < 5; turn += 1) await load();
    expect(reads).toBe(first);
    await put(folders.files.agent('echo'), 'allow: ["bash:pwd"]\n');
    expect(await allowed()).toEqual(['bash:ls', 'bash:pwd']);
    expect(reads).toBe(first + 1);
  });

  test('count though the edit kept their size and their time', async () => {
    const file = folders.files.workspace();
    const time = new Date('2026-01-01T00:00:00Z');
    for (const rule of ['bash:aa', 'bash:bb', 'bash:cc', 'bash:dd']) {
      await put(file, `allow: ["${rule}"]\n`);
      await utimes(file, time, time);
      expect(await allowed()).toEqual([rule]);
    }
  });

  test('are looked at again when what was read is no longer fresh', async () => {
    store = filePolicyStore({ dataDir: folders.dataDir, readPolicy, files: disk, freshMs: 60_000 });
    const file = folders.files.workspace();
    await put(file, 'allow: ["bash:ls"]\n');
    expect(await allowed()).toEqual(['bash:ls']);
    await put(file, 'allow: ["bash:id"]\n');
    expect(await allowed()).toEqual(['bash:ls']);
    await add('bash:date');
    expect(await allowed()).toEqual(['bash:ls', 'bash:date']);

    store = filePolicyStore({ dataDir: folders.dataDir, readPolicy, files: disk, freshMs: 50 });
    await put(file, 'allow: ["bash:pwd"]\n');
    expect(await allowed()).toEqual(['bash:pwd', 'bash:date']);
    await put(file, 'allow: ["bash:id"]\n');
    await expect.poll(allowed, { timeout: 5000 }).toEqual(['bash:id', 'bash:date']);
  });

  test('are forgotten beyond those that may be kept', async () => {
    store = filePolicyStore({ dataDir: folders.dataDir, readPolicy, files: disk, cacheSize: 3 });
    for (const name of ['a', 'b', 'c']) {
      await put(folders.files.agent(name), `allow: ["bash:${name}"]\n`);
      const loaded = await store.load(folders.agent(name));
      expect(loaded.policies?.agent?.allow.map(({ text }) => text)).toEqual([`bash:${name}`]);
    }
    expect(reads).toBe(3);
  });

  test.each([
    ['a link', (file: string) => symlink('elsewhere.yaml', file), 'this is a symbolic link'],
    ['a folder', (file: string) => mkdir(file), 'this is no plain file'],
    [
      'a pipe',
      async (file: string) => void execFileSync('sh', ['-c', 'mkfifo "$0"', file]),
      'this is no plain file',
    ],
    [
      'something binary',
      (file: string) => writeFile(file, Buffer.from([0xff, 0xfe, 0x00])),
      'the file is not UTF-8 text; save it as UTF-8',
    ],
    [
      'too much',
      (file: string) => writeFile(file, Buffer.alloc(257 * 1024, '#')),
      'the file is larger than 256 KiB; make it smaller',
    ],
    ['broken YAML', (file: string) => writeFile(file, 'allow: [\n'), ''],
    ['a YAML bomb', (file: string) => writeFile(file, bomb()), ''],
    ['an unknown mode', (file: string) => writeFile(file, 'mode: everything\n'), 'mode: expected'],
  ])('deny everything when there is %s', async (_, make, message) => {
    await put(folders.files.agent('echo'), 'mode: dangerous\n');
    expect(await decide('ls')).toBe('allow');
    await make(folders.files.workspace());
    const loaded = await load();
    expect(loaded.policies).toBeNull();
    if (loaded.policies !== null) return;
    expect(loaded.faults[0]?.message).toContain(message);
    expect(loaded.faults[0]?.file).toBe(folders.files.workspace());
    const verdict = evaluatePolicy(loaded, { kind: 'bash', command: 'ls' });
    expect(verdict).toMatchObject({ decision: 'deny', always: null });
    expect(verdict.reason).toContain(folders.files.workspace());
    await rm(folders.files.workspace(), { recursive: true });
    expect(await decide('ls')).toBe('allow');
  });

  test.each(['EACCES', 'EIO', 'EMFILE'])(
    'deny everything when reading fails (%s)',
    async (code) => {
      await put(folders.files.workspace(), 'mode: dangerous\n');
      disk.fault = ({ name }) => (name === 'open' ? systemError(code) : undefined);
      expect(await decide('ls')).toBe('deny');
      disk.fault = () => undefined;
      expect(await decide('ls')).toBe('allow');
      const { lstat } = disk;
      disk.lstat = () => Promise.reject(systemError(code));
      expect(await decide('ls')).toBe('deny');
      disk.lstat = lstat;
      expect(await decide('ls')).toBe('allow');
    },
  );
});

/** Few lines that stand for many rules. */
function bomb(): string {
  const lines = ['a: &a ["bash:ls", "bash:ls"]'];
  for (const [index, name] of Array.from('bcdefgh').entries()) {
    const before = 'abcdefg'.charAt(index);
    lines.push(`${name}: &${name} [${Array(9).fill(`*${before}`).join(', ')}]`);
  }
  return `${lines.join('\n')}\nallow: *h\n`;
}
