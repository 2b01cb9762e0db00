import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { skillFiles } from './skill-files.ts';

let root: string;
let dir: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'duragent-skill-'));
  dir = path.join(root, 'pdf');
  for (const folder of ['references/deep', 'scripts', 'other']) {
    await mkdir(path.join(dir, folder), { recursive: true });
  }
  await writeFile(path.join(root, 'secret'), 'secret');
  await writeFile(path.join(dir, 'secret'), 'secret');
  await writeFile(path.join(dir, 'SKILL.md'), 'skill');
  await writeFile(path.join(dir, 'references/deep/a.md'), 'Käse');
  await writeFile(path.join(dir, 'scripts/b.sh'), 'b');
  await writeFile(path.join(dir, 'other/c.md'), 'secret');
});
afterEach(() => rm(root, { recursive: true }));

it('reads a skill and what belongs to it', async () => {
  expect(await skillFiles.read(dir, 'SKILL.md')).toEqual({ ok: true, text: 'skill' });
  expect(await skillFiles.read(dir, 'references/deep/a.md')).toEqual({ ok: true, text: 'Käse' });
  expect(await skillFiles.read(dir, './scripts/b.sh')).toEqual({ ok: true, text: 'b' });
  expect(await skillFiles.list(dir)).toEqual(['references/deep/a.md', 'scripts/b.sh']);
});

it.each([
  '',
  '.',
  'secret',
  '../secret',
  'other/c.md',
  'references',
  'references/',
  'references/..',
  'references/../secret',
  'references/../../secret',
  'scripts/../../pdf/secret',
  '/etc/hostname',
  'references/no.md',
  'references/deep',
  'references/a\0',
  'scripts/out',
  'scripts/up/secret',
  'scripts/b.sh/x',
])('does not read %j', async (file) => {
  await symlink(path.join(root, 'secret'), path.join(dir, 'scripts', 'out'));
  await symlink(root, path.join(dir, 'scripts', 'up'));
  expect(await skillFiles.read(dir, file)).toEqual({ ok: false, reason: expect.any(String) });
});

it('neither lists nor follows what links lead to', async () => {
  await symlink(root, path.join(dir, 'assets'));
  await symlink(path.join(root, 'secret'), path.join(dir, 'scripts', 'out'));
  await symlink(dir, path.join(dir, 'references', 'loop'));
  expect(await skillFiles.list(path.join(dir, 'other'))).toEqual([]);
  expect((await skillFiles.list(dir)).filter((name) => !name.startsWith('assets'))).toEqual([
    'references/deep/a.md',
    'scripts/b.sh',
  ]);
  expect(await skillFiles.read(dir, 'assets/secret')).toEqual({
    ok: false,
    reason: "it is outside of the skill's folder",
  });
});

it('says of what is no text, too large or a pipe that it is not read', async () => {
  await writeFile(path.join(dir, 'scripts/bin'), Buffer.from([0xff]));
  await writeFile(path.join(dir, 'scripts/big'), 'x'.repeat(256 * 1024 + 1));
  // Node has no call for it.
  execFileSync('mkfifo', [path.join(dir, 'scripts/pipe')]);
  const reasons = ['bin', 'big', 'pipe'].map((name) => skillFiles.read(dir, `scripts/${name}`));
  expect(await Promise.all(reasons)).toEqual([
    { ok: false, reason: 'it is not text' },
    { ok: false, reason: 'it is larger than 256 KiB' },
    { ok: false, reason: 'it is no plain file' },
  ]);
});

it('lists no more than it may', async () => {
  for (let n = 0; n < 250; n += 1) await writeFile(path.join(dir, 'references', `${n}.md`), '');
  expect(await skillFiles.list(dir)).toHaveLength(200);
});
