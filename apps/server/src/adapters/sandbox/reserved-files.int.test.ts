import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { needs } from '../../../../../test/support/needs.ts';
import type { Sandbox } from '../../ports/sandbox.ts';
import { openSandbox } from './open-sandbox.ts';
import { baseEnv, testFolder } from './testing.ts';

/** A sandbox whose workspace has none of the files that it reserves. */
async function openReserving(...names: string[]) {
  const { root, workspace } = await folders();
  return { sandbox: await opened('bubblewrap', root, workspace, names), workspace };
}

/** A workspace and a data directory beside it. */
async function folders() {
  const root = await testFolder();
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  const workspace = path.join(root, 'ws');
  await mkdir(workspace);
  await mkdir(path.join(root, 'data'));
  return { root, workspace };
}

/** @param workspace as the configuration calls it; the names are of files in it. `levels`: what it proved to be. */
async function opened(
  mode: 'auto' | 'bubblewrap',
  root: string,
  workspace: string,
  names: readonly string[],
  levels: string[] = [],
) {
  const dataDir = path.join(root, 'data');
  const none = { homes: [], envFolders: [], hidden: [], readOnly: [] };
  return await openSandbox({
    mode,
    places: {
      workspace,
      dataDir,
      ...none,
      reserved: names.map((name) => path.join(workspace, name)),
    },
    baseEnv,
    isRefusedVariable: () => false,
    onProven: ({ level }) => levels.push(level),
  });
}

async function bash(sandbox: Sandbox, cwd: string, script: string): Promise<void> {
  const outcome = await sandbox.run(
    { argv: ['bash', '-c', script], cwd, env: {}, network: 'none', timeoutMs: 10_000 },
    { signal: new AbortController().signal },
  );
  expect(outcome.end).toBe('exited');
}

describe.skipIf(!needs('bwrap'))('a file that is reserved', () => {
  test.each([
    'echo x > F',
    'echo x > g; mv -f g F',
    'rm -f F; echo x > F',
    'echo x > g; ln -f g F',
    'echo x > g; ln -sf g F',
    'mv F h; echo x > F',
    'mkdir -p F && echo x > F/y',
    'mv $(dirname F) gone; mkdir -p $(dirname F); echo x > F',
    'rm -rf $(dirname F); mkdir -p $(dirname F); echo x > F',
  ])('is not made by %s', async (script) => {
    const { sandbox, workspace } = await openReserving('duragent.yaml', '.duragent/duragent.yaml');
    for (const name of ['duragent.yaml', '.duragent/duragent.yaml']) {
      await bash(sandbox, workspace, script.replaceAll('F', name));
      expect(await readFile(path.join(workspace, name), 'utf8')).toBe('');
    }
    await sandbox[Symbol.asyncDispose]();
  });

  test('is taken away at the end, unless somebody has written to it', async () => {
    const { sandbox, workspace } = await openReserving('.env', 'duragent.yaml');
    await Promise.all([1, 2, 3].map(() => bash(sandbox, workspace, 'true')));
    expect(await readdir(workspace)).toEqual(['.env', 'duragent.yaml']);
    await writeFile(path.join(workspace, 'duragent.yaml'), 'timezone: UTC\n');
    await sandbox[Symbol.asyncDispose]();
    expect(await readdir(workspace)).toEqual(['duragent.yaml']);
  });

  test('cannot be read or changed where somebody has made it', async () => {
    const { sandbox, workspace } = await openReserving('.env');
    await writeFile(path.join(workspace, '.env'), 'KEY=1\n');
    await bash(sandbox, workspace, 'cp .env copy; echo x >> .env; rm -f .env');
    expect(await readdir(workspace)).toEqual(['.env']);
    expect(await readFile(path.join(workspace, '.env'), 'utf8')).toBe('KEY=1\n');
    await sandbox[Symbol.asyncDispose]();
    expect(await readdir(workspace)).toEqual(['.env']);
  });

  test('is the same where the configuration is reached through a link', async () => {
    const { root, workspace } = await folders();
    await symlink(root, path.join(root, 'alias'));
    const sandbox = await opened('bubblewrap', root, path.join(root, 'alias/ws'), ['.env']);
    await bash(sandbox, workspace, 'echo TOKEN=1 > .env');
    expect(await readFile(path.join(workspace, '.env'), 'utf8')).toBe('');
    await sandbox[Symbol.asyncDispose]();
    expect(await readdir(workspace)).toEqual([]);
  });

  test('is kept where somebody has made an empty one anew', async () => {
    const { sandbox, workspace } = await openReserving('.env');
    await bash(sandbox, workspace, 'true');
    await rm(path.join(workspace, '.env'));
    await writeFile(path.join(workspace, '.env'), '');
    await sandbox[Symbol.asyncDispose]();
    expect(await readdir(workspace)).toEqual(['.env']);
  });

  test('that cannot be made is a fault until it can, and never a reason for no sandbox', async () => {
    const { root, workspace } = await folders();
    await symlink('/nonexistent', path.join(workspace, '.env'));
    const levels: string[] = [];
    const sandbox = await opened('auto', root, workspace, ['.env'], levels);
    onTestFinished(() => sandbox[Symbol.asyncDispose]());
    const run = () =>
      sandbox.run(
        { argv: ['true'], cwd: workspace, env: {}, network: 'none', timeoutMs: 10_000 },
        { signal: new AbortController().signal },
      );
    expect(await run()).toMatchObject({
      end: 'not_started',
      reason: expect.stringContaining('.env cannot be kept from commands') as unknown,
    });
    await rm(path.join(workspace, '.env'));
    expect(await run()).toMatchObject({ end: 'exited', exitCode: 0 });
    expect(levels).toEqual(['bubblewrap']);
  });
});
