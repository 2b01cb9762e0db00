import { chmod, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DuragentError } from '@duragent/protocol';
import { afterEach, describe, expect, test } from 'vitest';
import { needs } from '../../../../../test/support/needs.ts';
import { processesWith, ran, sandboxContract, uniqueSleep } from '../../ports/sandbox.contract.ts';
import type { SandboxReport } from '../../ports/sandbox.ts';
import { baseEnv, testSandboxHarness } from './testing.ts';

type Harness = Awaited<ReturnType<typeof testSandboxHarness>>;

const harnesses: Harness[] = [];
afterEach(async () => {
  for (const harness of harnesses.splice(0)) await harness.dispose();
});

async function open(options: Partial<Parameters<typeof testSandboxHarness>[0]>): Promise<Harness> {
  const harness = await testSandboxHarness({ mode: 'auto', baseEnv, ...options });
  harnesses.push(harness);
  return harness;
}

function bash({ sandbox, workspace }: Harness, command: string, more: object = {}) {
  const argv = ['bash', '-c', command];
  const base = { cwd: workspace, env: {}, network: 'all' as const, timeoutMs: 20_000 };
  return sandbox.run({ argv, ...base, ...more }, { signal: new AbortController().signal });
}

/** A PATH with the programs of a test before all others. */
async function programs(scripts: Record<string, string>): Promise<{ PATH: string }> {
  const { root } = await open({ mode: 'trust' });
  for (const [name, script] of Object.entries(scripts)) {
    await writeFile(path.join(root, name), `#!/bin/sh\n${script}\n`);
    await chmod(path.join(root, name), 0o755);
  }
  return { PATH: `${root}:${process.env['PATH']}` };
}

const failing = 'echo "$0: no permissions to create a new namespace" >&2; exit 1';

describe.skipIf(!needs('bwrap'))('bubblewrap', () => {
  sandboxContract('runs commands', () => testSandboxHarness({ mode: 'bubblewrap', baseEnv }));

  test('proves itself and leaves nothing behind', async () => {
    const harness = await open({ mode: 'bubblewrap' });
    expect(await harness.sandbox.ready()).toEqual({
      level: 'bubblewrap',
      network: 'enforced',
      endsAll: true,
      description: expect.stringContaining('workspace only'),
      problems: [],
    });
    expect(await readdir(harness.dataDir)).toEqual([]);
    expect((await readdir(harness.root)).sort()).toEqual(['data', 'elsewhere', 'workspace']);
  });

  test('shows an agent its own folder, which it cannot change', async () => {
    const harness = await open({});
    const home = path.join(harness.dataDir, 'agents/me');
    await mkdir(home, { recursive: true });
    await mkdir(path.join(harness.dataDir, 'agents/other'));
    await writeFile(path.join(home, 'SOUL.md'), 'a soul');
    const command = `cat ${home}/SOUL.md; ls ${harness.dataDir}/agents; echo x > ${home}/new || echo refused`;
    const { head } = ran(await bash(harness, command, { readable: [home, '/missing'] }));
    expect(head).toMatch(/^a soulme\n/);
    expect(head).toMatch(/refused\n$/);
  });

  test('starts no command outside of the workspace', async () => {
    const harness = await open({});
    await symlink(harness.elsewhere, path.join(harness.workspace, 'link'));
    for (const cwd of ['/', harness.elsewhere, harness.dataDir, `${harness.workspace}/link`]) {
      expect(await bash(harness, 'pwd', { cwd })).toEqual({
        end: 'not_started',
        reason: expect.stringContaining('not in the workspace'),
      });
    }
    const writable = [harness.elsewhere];
    expect(await bash(harness, 'echo x > y', { cwd: harness.elsewhere, writable })).toMatchObject({
      exitCode: 0,
    });
    expect(await readdir(harness.elsewhere)).toEqual(['y']);
  });

  test('starts no command in a hidden folder of the workspace', async () => {
    const harness = await open({});
    const hidden = path.join(harness.workspace, 'hidden');
    await mkdir(hidden);
    const inner = await open({ places: { workspace: harness.workspace, dataDir: hidden } });
    const outcome = await bash(inner, 'pwd', { cwd: hidden });
    expect(outcome).toMatchObject({ end: 'not_started' });
  });

  test('serves a workspace that is a whole home, without its secrets', async () => {
    const { workspace: home, dataDir } = await open({});
    await mkdir(path.join(home, '.config/gcloud'), { recursive: true });
    await writeFile(path.join(home, '.config/gcloud/key'), 'canary-cloud');
    await writeFile(path.join(home, '.netrc'), 'canary-netrc');
    await writeFile(path.join(home, 'notes'), 'the notes');
    const harness = await open({ places: { workspace: home, dataDir, homes: [home] } });
    const cwd = home;
    const read = 'cat notes .netrc .config/gcloud/key; mv .config c; cat c/gcloud/key';
    const { head } = ran(await bash(harness, read, { cwd }));
    expect(head).toContain('the notes');
    expect(head).not.toContain('canary');
    await writeFile(path.join(home, '.pgpass'), 'canary-later');
    expect(ran(await bash(harness, 'cat .pgpass', { cwd })).head).not.toContain('canary');
  });

  test.each([
    ['the whole machine', () => '/', 'the whole machine'],
    ['the data directory', (dataDir: string) => dataDir, 'data directory'],
    ['in /proc', () => '/proc', '/proc'],
    ['not there', (dataDir: string) => `${dataDir}/missing`, 'there is no folder'],
  ])('refuses a workspace that is %s', async (_, workspaceOf, why) => {
    const { dataDir } = await open({});
    const workspace = workspaceOf(dataDir);
    for (const mode of ['bubblewrap', 'auto'] as const) {
      const harness = await open({ mode, places: { workspace, dataDir } });
      await expect(harness.sandbox.ready()).rejects.toThrow(why);
      expect(await bash(harness, 'true')).toMatchObject({
        end: 'not_started',
        reason: expect.stringContaining(why),
      });
    }
  });
});

describe.skipIf(!needs('bwrap'))('a link in the workspace', () => {
  test.each(['file', 'folder/file'])('to what may not be changed is refused: %s', async (name) => {
    const { workspace, elsewhere, dataDir } = await open({});
    await writeFile(path.join(elsewhere, 'file'), '');
    const [first = ''] = name.split('/');
    const target = name === 'file' ? path.join(elsewhere, 'file') : elsewhere;
    await symlink(target, path.join(workspace, first));
    for (const places of [
      { workspace, dataDir, readOnly: [path.join(workspace, name)] },
      ...(name === 'file' ? [] : [{ workspace, dataDir: path.join(workspace, first) }]),
    ]) {
      const harness = await open({ mode: 'auto', places });
      expect(await bash(harness, 'true', { cwd: workspace })).toMatchObject({
        end: 'not_started',
        reason: expect.stringContaining('is a link'),
      });
    }
  });

  test('to anything else is none of its business', async () => {
    const { workspace, elsewhere, dataDir } = await open({});
    await symlink(elsewhere, path.join(workspace, 'folder'));
    const readOnly = [path.join(elsewhere, 'file')];
    const harness = await open({ mode: 'auto', places: { workspace, dataDir, readOnly } });
    ran(await bash(harness, 'true', { cwd: workspace }));
  });
});

describe.skipIf(process.platform !== 'linux')('trust with namespaces', () => {
  sandboxContract('runs commands', () => testSandboxHarness({ mode: 'trust', baseEnv }));

  test('tells once what came of its self-test', async () => {
    const told: SandboxReport[] = [];
    const harness = await open({ mode: 'trust', onProven: (report) => told.push(report) });
    expect(told).toEqual([]);
    await Promise.all([bash(harness, 'true'), bash(harness, 'true')]);
    expect(told).toEqual([await harness.sandbox.ready()]);
  });

  test('says what it is, and ends all where the machine can', async () => {
    const { sandbox } = await open({ mode: 'trust' });
    const report = await sandbox.ready();
    expect(report).toMatchObject({ level: 'trust' });
    expect(report.description).toContain('all rights');
    expect(report.problems.length === 0).toBe(report.endsAll);
  });
});

describe('trust with process groups', () => {
  sandboxContract('runs commands', () =>
    testSandboxHarness({ mode: 'trust', platform: 'darwin', baseEnv }),
  );

  test('says what it cannot do', async () => {
    const harness = await open({ mode: 'auto', platform: 'darwin' });
    const report = await harness.sandbox.ready();
    expect(report).toMatchObject({ level: 'trust', network: 'open', endsAll: false });
    expect(report.problems).toEqual([
      'only Linux has bubblewrap',
      expect.stringContaining('may go on after its call'),
    ]);
    expect(await bash(harness, 'true', { network: 'none' })).toEqual({
      end: 'not_started',
      reason: expect.stringContaining('no network'),
    });
  });

  test('is not held up by what left its process group', async () => {
    const harness = await open({ mode: 'trust', platform: 'darwin' });
    const sleep = uniqueSleep();
    const command = `setsid sleep ${sleep} & sleep 0.05; echo done`;
    try {
      expect(ran(await bash(harness, command)).head).toBe('done\n');
    } finally {
      for (const pid of processesWith(sleep)) process.kill(pid, 'SIGKILL');
    }
  });
});

describe('the mode', () => {
  test('auto is trust with a warning where bubblewrap does not work', async () => {
    const env = await programs({ bwrap: failing });
    const { sandbox } = await open({ mode: 'auto', baseEnv: env });
    const report = await sandbox.ready();
    expect(report.level).toBe('trust');
    expect(report.problems.join()).toContain('no permissions to create a new namespace');
    expect(report.problems.join()).toContain('unprivileged_userns_clone');
  });

  test('auto is trust with a warning where bubblewrap lets secrets through', async () => {
    // It drops all options up to the program's own.
    const env = await programs({ bwrap: 'until [ "$1" = -- ]; do shift; done; shift; exec "$@"' });
    const { sandbox, root, dataDir } = await open({ mode: 'auto', baseEnv: env });
    const report = await sandbox.ready();
    expect(report.level).toBe('trust');
    const problems = report.problems.join();
    expect(problems).toContain(`could write to ${root}`);
    expect(problems).toContain('could read from the data directory');
    expect(problems).toContain('without network reached a port');
    expect((await readdir(root)).sort()).toEqual(['data', 'elsewhere', 'workspace']);
    expect(await readdir(dataDir)).toEqual([]);
  });

  test('bubblewrap is never silently trust', async () => {
    const env = await programs({ bwrap: failing });
    const harness = await open({ mode: 'bubblewrap', baseEnv: env });
    const ready = harness.sandbox.ready();
    await expect(ready).rejects.toThrow(DuragentError);
    await expect(ready).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('does not work here'),
    });
    expect(await bash(harness, 'true')).toMatchObject({ end: 'not_started' });
    const place = { cwd: harness.workspace, env: {}, network: 'all' as const };
    expect(await harness.sandbox.wrap(['true'], place)).toEqual({ fault: expect.any(String) });
  });

  test('bubblewrap is refused at once where there is none', async () => {
    await expect(open({ mode: 'bubblewrap', platform: 'darwin' })).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('only Linux'),
    });
  });
});
