import { mkdtemp, readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isAlive, workspaceOf } from './find-server.ts';
import { startServer } from './start-server.ts';

const { signal } = new AbortController();
let dataDir: string;

/** Stands for the server: one holds the directory, others end with 73. */
const script = `
  import { mkdirSync, openSync, writeFileSync } from 'node:fs';
  import { createServer } from 'node:http';
  const [,, dir, workspace, mode] = process.argv;
  writeFileSync(dir + '/pid-' + process.pid, '');
  console.error('server starts', process.argv.slice(5).join(' '));
  if (mode === 'broken') { console.error('\\x1b[31mduragent.yaml:3:1: unknown key'); process.exit(78); }
  try { openSync(dir + '/held', 'wx'); } catch { console.error('locked'); process.exit(73); }
  if (mode === 'silent') setTimeout(() => {}, 60_000);
  else setTimeout(() => {
    const server = createServer((_, response) => response.end(JSON.stringify({ workspace, instance: 'i' + process.pid })));
    server.listen(0, '127.0.0.1', () => {
      mkdirSync(dir + '/run', { recursive: true });
      writeFileSync(dir + '/token', 'a-token');
      writeFileSync(dir + '/run/server.json', JSON.stringify({
        pid: process.pid, host: 'here', started_at: new Date().toISOString(), url: 'http://127.0.0.1:' + server.address().port,
        version: '0.1.0', workspace, instance: 'i' + process.pid, token_file: dir + '/token', ephemeral: 300 }));
    });
  }, 150);
`;

beforeEach(async () => {
  dataDir = await realpath(await mkdtemp(join(tmpdir(), 'duragent-start-')));
  await writeFile(join(dataDir, 'server.mjs'), script);
});
afterEach(async () => {
  const marks = (await readdir(dataDir)).filter((name) => name.startsWith('pid-'));
  for (const pid of marks.map((name) => Number(name.slice('pid-'.length)))) {
    if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  }
  await rm(dataDir, { recursive: true, maxRetries: 10 });
});

async function start(mode: string, patienceMs?: number) {
  const command = [
    process.execPath,
    join(dataDir, 'server.mjs'),
    dataDir,
    await workspaceOf(dataDir),
    mode,
  ] as const;
  const args = ['--ephemeral', '300'];
  return await startServer({
    dataDir,
    args,
    command: [...command],
    cwd: dataDir,
    env: process.env,
    signal,
    patienceMs,
  });
}

describe('startServer', () => {
  it('returns when the server is ready, and leaves it running with a log of its own', async () => {
    const { server, started } = await start('good');
    expect(started).toBe(true);
    expect(server.address.token).toBe('a-token');
    expect(isAlive(server.file.pid)).toBe(true);
    const log = join(dataDir, 'logs', 'server.log');
    expect(await readFile(log, 'utf8')).toContain('server starts serve --ephemeral 300');
    expect((await stat(log)).mode & 0o777).toBe(0o600);
  });

  it('of several at once, all find the one that won', async () => {
    const all = await Promise.all([start('good'), start('good'), start('good')]);
    expect(new Set(all.map(({ server }) => server.file.pid)).size).toBe(1);
    expect(all.filter(({ started }) => started)).toHaveLength(1);
    // The others find it locked in their own time; the directory is theirs until then.
    const log = join(dataDir, 'logs', 'server.log');
    const ended = async () => (await readFile(log, 'utf8')).split('locked\n').length - 1;
    await expect.poll(ended, { timeout: 15_000 }).toBeGreaterThanOrEqual(2);
  });

  it('fails as the server failed, with the end of its log, cleaned', async () => {
    const failure = start('broken');
    await expect(failure).rejects.toMatchObject({ code: 'config_invalid' });
    await expect(failure).rejects.toThrow('duragent.yaml:3:1: unknown key');
    await expect(failure).rejects.not.toThrow('\x1b');
  });

  it('gives up on one that is not ready in time, and says where to look', async () => {
    const failure = start('silent', 400);
    await expect(failure).rejects.toMatchObject({ code: 'no_server' });
    await expect(failure).rejects.toThrow(join(dataDir, 'logs', 'server.log'));
  });
});
