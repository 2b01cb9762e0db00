import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Workspace } from '../support/duragent.ts';
import { until } from '../support/until.ts';

let workspace: Workspace;
beforeEach(async () => {
  workspace = await Workspace.create();
});
afterEach(async () => {
  await workspace.close();
});

/** The contents of all files but the logs, which the first server writes. `LOCK` is only read: this process holds none. */
async function contents(): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const entries = await readdir(workspace.dataDir, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    const file = path.join(entry.parentPath, entry.name);
    const name = path.relative(workspace.dataDir, file);
    if (name.startsWith('logs/')) continue;
    const bytes = entry.isFile() ? await readFile(file) : '';
    found[name] = createHash('sha256').update(bytes).digest('hex');
  }
  return found;
}

test('a second server is turned back with 73, told of the first, and changes nothing', async () => {
  const first = await workspace.serve();
  await first.api.ask((await first.api.createSession()).session, 'hello');
  const before = await contents();
  const second = workspace.run(['serve', '--port', '0']);
  const { code, afterMs } = await second.exit();
  expect(code).toBe(73);
  // Within a second of its start, which is from sources here.
  expect(afterMs).toBeLessThan(3_000);
  expect(second.stderr).toContain(String(first.run.pid));
  expect(second.stderr).toContain(first.url);
  expect(second.stderr).toContain('duragent serve stop');
  expect(second.stdout).toBe('');
  expect(await contents()).toEqual(before);
  expect((await first.api.call('GET', '/readyz')).status).toBe(200);
});

test('of 20 servers that start on a fresh directory at one instant, one wins', async () => {
  const runs = Array.from({ length: 20 }, () => workspace.run(['serve', '--port', '0']));
  const ended = () => runs.filter((run) => !run.isRunning);
  await until('19 have ended', () => ended().length >= 19, 60_000);
  const winner = runs.find((run) => run.isRunning);
  expect(winner).toBeDefined();
  const { api } = await workspace.ready(winner!);
  expect((await api.call('GET', '/readyz')).status).toBe(200);
  for (const run of ended()) {
    expect(await run.exit()).toMatchObject({ code: 73 });
    expect(run.stderr).toContain('in use by');
    expect(run.stdout).toBe('');
  }
  expect(await readFile(path.join(workspace.dataDir, 'EPOCH'), 'utf8')).toBe('1\n');
}, 60_000);

test('after kill -9 the next one starts at once, with the next epoch', async () => {
  for (const epoch of [1, 2, 3]) {
    const { run, api } = await workspace.serve();
    expect(await readFile(path.join(workspace.dataDir, 'EPOCH'), 'utf8')).toBe(`${epoch}\n`);
    expect((await api.call('GET', '/readyz')).status).toBe(200);
    await run.kill('SIGKILL');
  }
});
