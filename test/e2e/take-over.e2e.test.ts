import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Workspace } from '../support/duragent.ts';

const TAKES_OVER = 'Taking over from the background server';

let workspace: Workspace;
let other: Workspace;
beforeEach(async () => {
  workspace = await Workspace.create();
  other = await Workspace.create();
});
afterEach(async () => {
  await workspace.close();
  await other.close();
});

/** Changes what the last server wrote about itself. */
async function rewriteServerFile(fields: Record<string, unknown>): Promise<void> {
  const file = path.join(workspace.dataDir, 'run', 'server.json');
  const written = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  await writeFile(file, JSON.stringify({ ...written, ...fields }));
}

test('a server that a client started makes room for one that is to stay, which has its sessions', async () => {
  const first = await workspace.serve(['--port', '0', '--ephemeral', '300']);
  const { session } = await first.api.createSession();
  await first.api.ask(session, 'hello');
  const second = await workspace.serve();
  expect(second.run.stderr).toContain(`${TAKES_OVER} (process ${first.run.pid})`);
  expect((await first.run.exit()).code).toBe(0);
  expect((await second.api.call('GET', `/api/v1/sessions/${session}`)).status).toBe(200);
});

test('what a killed one left makes no difference to the next', async () => {
  const first = await workspace.serve(['--port', '0', '--ephemeral', '300']);
  await first.run.kill('SIGKILL');
  const second = await workspace.serve();
  expect(second.run.stderr).not.toContain(TAKES_OVER);
  expect((await second.api.call('GET', '/readyz')).status).toBe(200);
});

test('a server of another workspace that answers at its address is named, and left alone', async () => {
  const first = await workspace.serve(['--port', '0', '--ephemeral', '300']);
  await first.run.kill('SIGKILL');
  const foreign = await other.serve();
  const { url } = foreign;
  await rewriteServerFile({ url, pid: foreign.run.pid, started_at: new Date().toISOString() });
  const refused = workspace.run(['serve', '--port', '0']);
  expect((await refused.exit()).code).toBe(69);
  expect(refused.stderr).toContain(`What answers at ${url} is not the server of`);
  // The file says of one that was to stay no more than its lock does.
  await rewriteServerFile({ ephemeral: null });
  await workspace.serve();
  expect((await foreign.api.call('GET', '/readyz')).status).toBe(200);
});
