import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { calling, toolAgent } from '../support/consent.ts';
import { type Server, Workspace } from '../support/duragent.ts';
import { eventsOf, readLog } from '../support/session-log.ts';

const secrets = [
  '.env',
  '.env.production',
  '.ssh/id_ed25519',
  '.aws/credentials',
  'logs-of-others/session_x/1.jsonl',
  'things-of-others/art_x',
];

let workspace: Workspace;
let server: Server;
beforeAll(async () => {
  workspace = await Workspace.create({ keeper: toolAgent(['artifact']) });
  // Who works in their home, and keeps the sessions beside their files.
  workspace.env['HOME'] = workspace.dir;
  await workspace.configure(
    'services: { session: { path: ./logs-of-others }, artifacts: { path: ./things-of-others } }',
  );
  for (const name of [...secrets, 'report.md']) {
    await mkdir(path.join(workspace.dir, path.dirname(name)), { recursive: true });
    await writeFile(path.join(workspace.dir, name), 'x');
  }
  await writeFile(
    path.join(workspace.dataDir, 'agents', 'keeper', 'policy.yaml'),
    'mode: dangerous\n',
  );
  server = await workspace.serve();
});
afterAll(async () => {
  await workspace.close();
});

async function saved(file: string) {
  const { session } = await server.api.createSession({ agent: 'keeper' });
  await server.api.ask(session, calling('artifact', { action: 'save', path: file }));
  const folder = path.join(workspace.dir, 'logs-of-others', session);
  const [result] = eventsOf((await readLog(folder)).events, 'tool_finished');
  return result;
}

test('an artifact is made of a file of the workspace', async () => {
  expect(await saved('report.md')).toMatchObject({ outcome: 'ok' });
});

test.each(secrets)('%s, which no command can read, becomes no artifact', async (file) => {
  expect(await saved(file)).toMatchObject({
    outcome: 'error',
    content: expect.stringContaining('may not be read by agents'),
  });
});
