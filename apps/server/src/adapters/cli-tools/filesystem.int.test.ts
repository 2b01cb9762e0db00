import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cliToolFiles } from './filesystem.ts';

let root: string;
beforeEach(async () => {
  root = await realpath(await mkdtemp(path.join(tmpdir(), 'cli-tools-')));
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function put(file: string, text: string, mode = 0o644): Promise<string> {
  const full = path.join(root, file);
  await mkdir(path.dirname(full), { recursive: true });
  await writeFile(full, text);
  await chmod(full, mode);
  return full;
}

async function putTool(name: string, readme: string | null = 'What it is for.'): Promise<void> {
  await put(`tools/${name}/run.sh`, '#!/bin/sh\n', 0o755);
  if (readme !== null) await put(`tools/${name}/README.md`, readme);
}

const find = (freshMs = 0) => cliToolFiles({ freshMs }).find(path.join(root, 'tools'));

describe('in a folder of tools', () => {
  test('each folder with an executable run* and a README is one, by name', async () => {
    await putTool('b-tool');
    await putTool('a_tool');
    await put('tools/a_tool/schema.json', '{"type":"object"}');
    await put('tools/lib/helper.sh', '#!/bin/sh\n', 0o755);
    await put('tools/file', 'no folder');
    expect(await find()).toEqual([
      {
        name: 'a_tool',
        reading: {
          ok: true,
          program: {
            path: `${root}/tools/a_tool/run.sh`,
            folder: `${root}/tools/a_tool`,
            readme: { file: `${root}/tools/a_tool/README.md`, text: 'What it is for.' },
            schema: { file: `${root}/tools/a_tool/schema.json`, text: '{"type":"object"}' },
            stamp: expect.stringMatching(/^[0-9a-f]{64}$/),
          },
        },
      },
      { name: 'b-tool', reading: expect.objectContaining({ ok: true }) },
    ]);
  });

  test('none is found where there is no folder', async () => {
    expect(await find()).toEqual([]);
  });

  test('what is not executable is passed over', async () => {
    await putTool('x');
    await put('tools/x/run-notes.txt', 'notes');
    expect(await find()).toMatchObject([
      { reading: { program: { path: `${root}/tools/x/run.sh` } } },
    ]);
  });

  test.each([
    ['no README', () => putTool('x', null), 'README.md', 'there is no README.md beside it'],
    ['no executable', () => put('tools/x/run.sh', '').then(() => undefined), 'run.sh', 'chmod +x'],
    [
      'a link out of its folder',
      async () => {
        await put('elsewhere', '#!/bin/sh', 0o755);
        await mkdir(path.join(root, 'tools/x'), { recursive: true });
        await symlink(path.join(root, 'elsewhere'), path.join(root, 'tools/x/run'));
      },
      'run',
      'leads out of',
    ],
    [
      'a README that leads out of its folder',
      async () => {
        await putTool('x', null);
        await symlink('/etc/hostname', path.join(root, 'tools/x/README.md'));
      },
      'README.md',
      'leads out of',
    ],
    [
      'a named pipe as README',
      async () => {
        await putTool('x', null);
        await promisify(execFile)('mkfifo', [path.join(root, 'tools/x/README.md')]);
      },
      'README.md',
      'no plain file',
    ],
    ['a huge README', () => putTool('x', 'x'.repeat(65_537)), 'README.md', 'larger than 64 KiB'],
    [
      'a README that is not text',
      async () => {
        await putTool('x', null);
        await writeFile(path.join(root, 'tools/x/README.md'), Buffer.from([0xff, 0xfe, 0x00]));
      },
      'README.md',
      'save it as UTF-8',
    ],
  ])('one with %s is none, and the file is named', async (_, make, file, reason) => {
    await make();
    expect(await find()).toEqual([
      {
        name: 'x',
        reading: {
          ok: false,
          file: `${root}/tools/x/${file}`,
          reason: expect.stringContaining(reason),
        },
      },
    ]);
  });

  test('a link to a folder is none, and a name that no tool can have is said', async () => {
    await putTool('good');
    await symlink(path.join(root, 'tools/good'), path.join(root, 'tools/alias'));
    await putTool('bad name');
    expect(await find()).toMatchObject([
      { name: 'bad name', reading: { ok: false, reason: expect.stringContaining('rename') } },
      { name: 'good', reading: { ok: true } },
    ]);
  });

  test('more than 64 are left out, which is said', async () => {
    for (let i = 10; i < 76; i += 1) await putTool(`t${i}`);
    const found = await find();
    expect(found).toHaveLength(65);
    expect(found.filter(({ reading }) => reading.ok)).toHaveLength(64);
    expect(found.at(-1)).toMatchObject({ reading: { reason: expect.stringContaining('64') } });
  });
});

test('the stamp changes with the program, its README and its schema', async () => {
  await putTool('x');
  const stamps = new Set<string>();
  const look = async (): Promise<void> => {
    const [tool] = await find();
    if (tool?.reading.ok) stamps.add(tool.reading.program.stamp);
  };
  await look();
  await look();
  expect(stamps.size).toBe(1);
  await put('tools/x/run.sh', '#!/bin/sh\nrm -rf .\n', 0o755);
  await look();
  await put('tools/x/README.md', 'Another.');
  await look();
  await put('tools/x/schema.json', '{}');
  await look();
  expect(stamps.size).toBe(4);
});

test('what was found holds for a moment, unless it is asked for anew', async () => {
  const files = cliToolFiles({ freshMs: 60_000 });
  const folder = path.join(root, 'tools');
  expect(await files.find(folder)).toEqual([]);
  await putTool('x');
  expect(await files.find(folder)).toEqual([]);
  expect(await files.find(folder, { fresh: true })).toHaveLength(1);
  expect(await files.find(folder)).toHaveLength(1);
});

describe('a program that an agent names', () => {
  test('has the README beside it, or the one that is named', async () => {
    await put('bin/x.sh', '#!/bin/sh', 0o755);
    await put('bin/README.md', 'beside');
    await put('docs/x.md', 'named');
    const files = cliToolFiles();
    expect(await files.read(root, './bin/x.sh', null)).toMatchObject({
      program: { folder: `${root}/bin`, readme: { text: 'beside' } },
    });
    expect(await files.read(root, 'bin/x.sh', './docs/x.md')).toMatchObject({
      program: { readme: { text: 'named' } },
    });
  });

  test.each([
    ['bin/none.sh', null, 'bin/none.sh', 'there is no such file'],
    ['bin', null, 'bin', 'no plain file'],
    ['../../../bin/sh', null, '../../../bin/sh', 'leads out of'],
    ['bin/x.sh', './none.md', 'none.md', 'there is no such file'],
    ['bin/x.sh', '../../../etc/hostname', '../../../etc/hostname', 'leads out of'],
    ['bin/\0', null, 'bin/\0', 'cannot be read'],
  ])('is refused for %j with %j', async (command, readme, file, reason) => {
    await put('bin/x.sh', '#!/bin/sh', 0o755);
    expect(await cliToolFiles().read(root, command, readme)).toEqual({
      ok: false,
      file: path.join(root, file),
      reason: expect.stringContaining(reason),
    });
  });
});
