import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { approvalIn, calling, decide, idle, toolAgent } from '../support/consent.ts';
import { type Server, Workspace } from '../support/duragent.ts';
import { eventsOf, readLog } from '../support/session-log.ts';

let workspace: Workspace;
let server: Server;
beforeAll(async () => {
  workspace = await Workspace.create({
    one: toolAgent(['memory', 'web']),
    two: toolAgent(['memory']),
    asks: toolAgent(['web']),
  });
  await writeFile(
    path.join(workspace.dataDir, 'agents', 'one', 'policy.yaml'),
    'mode: dangerous\n',
  );
  server = await workspace.serve();
});
afterAll(async () => {
  await workspace.close();
});

/** Calls a tool in a session of its own. @returns its result. */
async function called(agent: string, tool: string, args: object) {
  const { session } = await server.api.createSession({ agent });
  await server.api.ask(session, calling(tool, args));
  const { events } = await readLog(workspace.sessionDir(session));
  const [result] = eventsOf(events, 'tool_finished');
  if (!result) throw new Error('nothing was called');
  return result;
}

test('what an agent remembers it recalls in another session, and another agent does not', async () => {
  const told = await called('one', 'remember', { text: 'The key lies under the green mat.' });
  expect(told.outcome).toBe('ok');
  await server.run.kill('SIGKILL');
  server = await workspace.serve();
  const { content } = await called('one', 'recall', { query: 'green mat' });
  expect(content).toContain('The key lies under the green mat.');
  const { content: other } = await called('two', 'recall', { query: 'green mat' });
  expect(other).not.toContain('The key lies');
});

test('the web tool reaches nothing of this machine, whatever it is called', async () => {
  let requests = 0;
  const secret = createServer((_, response) => {
    requests += 1;
    response.end('inside');
  });
  await new Promise<void>((resolve) => void secret.listen(0, '127.0.0.1', resolve));
  const { port } = secret.address() as AddressInfo;
  try {
    const names = [
      '127.0.0.1',
      'localhost',
      '[::1]',
      '0x7f000001',
      '127.1',
      '[::ffff:7f00:1]',
      '0',
    ];
    for (const name of names) {
      const result = await called('one', 'web', {
        action: 'fetch',
        url: `http://${name}:${port}/`,
      });
      expect([name, result.outcome]).toEqual([name, 'error']);
      expect(result.content).not.toContain('inside');
    }
    const own = await called('one', 'web', { action: 'fetch', url: `${server.url}/version` });
    expect(own.outcome).toBe('error');
    expect(requests).toBe(0);
  } finally {
    await new Promise((resolve) => void secret.close(resolve));
  }
});

test('a fetch is asked about unless a rule allows it', async () => {
  const { session } = await server.api.createSession({ agent: 'asks' });
  const url = 'http://192.0.2.1/\u202egpj.exe';
  await server.api.say(session, calling('web', { action: 'fetch', url }));
  const open = await approvalIn(server.api, session);
  expect(open).toMatchObject({ tool: 'web', agent: 'asks' });
  expect(open.shown).toContain('192.0.2.1');
  await decide(server.api, open, 'deny');
  await idle(server.api, session);
});
