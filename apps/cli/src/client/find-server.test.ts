import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startFakeServer, type FakeServer } from './fake-server.ts';
import { findServer, isAlive, workspaceOf } from './find-server.ts';

let dataDir: string;
let server: FakeServer | null = null;
const { signal } = new AbortController();

beforeEach(async () => {
  dataDir = await realpath(await mkdtemp(join(tmpdir(), 'duragent-find-')));
  await mkdir(join(dataDir, 'run'));
  await writeFile(join(dataDir, 'token'), 'the-token\n');
});
afterEach(async () => {
  await server?.close();
  server = null;
  await rm(dataDir, { recursive: true });
});

async function writeServerFile(fields: Record<string, unknown>): Promise<void> {
  const file = {
    pid: process.pid,
    host: hostname(),
    started_at: new Date().toISOString(),
    url: 'http://127.0.0.1:9',
    version: '0.1.0',
    workspace: await workspaceOf(dataDir),
    instance: 'one',
    token_file: join(dataDir, 'token'),
    ephemeral: null,
    ...fields,
  };
  await writeFile(join(dataDir, 'run', 'server.json'), JSON.stringify(file));
}

async function listen(body: unknown, status = 200): Promise<string> {
  server = await startFakeServer((_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  return server.url;
}

/** The id of a process that has ended. */
function deadPid(): number {
  return spawnSync(process.execPath, ['--version']).pid;
}

describe('findServer', () => {
  it('finds none where no server wrote about itself, or not as one', async () => {
    expect(await findServer(dataDir, { signal })).toEqual({ state: 'none' });
    await writeFile(join(dataDir, 'run', 'server.json'), '{"pid":');
    expect(await findServer(dataDir, { signal })).toEqual({ state: 'none' });
    await writeFile(join(dataDir, 'run', 'server.json'), '{"pid":"x"}');
    expect(await findServer(dataDir, { signal })).toEqual({ state: 'none' });
  });

  it('finds the server of the workspace, with its token', async () => {
    const url = await listen({ workspace: await workspaceOf(dataDir), instance: 'one' });
    await writeServerFile({ url });
    expect(await findServer(dataDir, { signal })).toMatchObject({
      state: 'up',
      ready: true,
      address: { url, token: 'the-token' },
    });
  });

  it('knows the workspace by its real path', async () => {
    const link = `${dataDir}-link`;
    await symlink(dataDir, link);
    try {
      const expected = createHash('sha256').update(dataDir).digest('hex').slice(0, 16);
      expect(await workspaceOf(link)).toBe(expected);
    } finally {
      await rm(link);
    }
  });

  it('says that it is not ready while it starts or stops', async () => {
    const url = await listen({ workspace: await workspaceOf(dataDir), instance: 'one' }, 503);
    await writeServerFile({ url });
    expect(await findServer(dataDir, { signal })).toMatchObject({ state: 'up', ready: false });
  });

  it('refuses a server of another workspace', async () => {
    await writeServerFile({
      url: await listen({ workspace: '0123456789abcdef', instance: 'one' }),
    });
    await expect(findServer(dataDir, { signal })).rejects.toMatchObject({
      code: 'wrong_workspace',
    });
  });

  it('takes a stale file of a dead process for that, also when its port went to something else', async () => {
    await writeServerFile({ pid: deadPid() });
    expect(await findServer(dataDir, { signal })).toMatchObject({ state: 'dead' });
    await writeServerFile({ pid: deadPid(), url: await listen('<html>hello</html>') });
    expect(await findServer(dataDir, { signal })).toMatchObject({ state: 'dead' });
  });

  it('takes a later server of the workspace at the same port for another one', async () => {
    const url = await listen({ workspace: await workspaceOf(dataDir), instance: 'two' });
    await writeServerFile({ pid: deadPid(), url });
    expect(await findServer(dataDir, { signal })).toMatchObject({ state: 'dead' });
  });

  it('takes a process that began after the file was written, or elsewhere, for another one', async () => {
    await writeServerFile({ started_at: '2026-01-01T00:00:00.000Z' });
    expect(await findServer(dataDir, { signal })).toMatchObject({ state: 'dead' });
    await writeServerFile({ host: 'another-machine' });
    expect(await findServer(dataDir, { signal })).toMatchObject({ state: 'dead' });
  });

  it('takes the file that came along with a copied directory for none', async () => {
    const url = await listen({ workspace: '0123456789abcdef', instance: 'one' });
    await writeServerFile({ workspace: '0123456789abcdef', url });
    expect(await findServer(dataDir, { signal })).toEqual({ state: 'none' });
  });

  it('says that a living process does not answer', async () => {
    await writeServerFile({});
    expect(await findServer(dataDir, { signal })).toMatchObject({ state: 'silent' });
  });

  it.runIf(process.platform === 'linux')(
    'takes a process that only waits to be reaped for dead',
    async () => {
      // A shell that became another program never reaps its child, if that outlived the shell.
      const parent = spawn('sh', ['-c', 'sleep 0.3 & echo $!; exec sleep 60'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      try {
        const [chunk] = (await once(parent.stdout, 'data')) as [Buffer];
        const pid = Number(chunk.toString());
        const deadline = Date.now() + 5_000;
        while (isAlive(pid)) {
          expect(Date.now()).toBeLessThan(deadline);
          await setImmediate();
        }
        expect(process.kill(pid, 0)).toBe(true);
      } finally {
        parent.kill('SIGKILL');
        await once(parent, 'exit');
      }
    },
  );

  it('says where the token should be when it is missing, and not what it is', async () => {
    const url = await listen({ workspace: await workspaceOf(dataDir), instance: 'one' });
    await writeServerFile({ url, token_file: join(dataDir, 'nowhere') });
    await expect(findServer(dataDir, { signal })).rejects.toMatchObject({ code: 'unauthorized' });
  });
});
