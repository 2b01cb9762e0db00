import { once } from 'node:events';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import type { OutboxPage, ReloadReport } from '@duragent/protocol';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { approvalIn, approvalsOf, calling, decide, idle, toolAgent } from '../support/consent.ts';
import { type Server, Workspace } from '../support/duragent.ts';
import { eventsOf, readLog, settledFaults } from '../support/session-log.ts';
import { until } from '../support/until.ts';

/** The first wait between two tries is 5 s, and there are several starts of a server. */
vi.setConfig({ testTimeout: 90_000 });

const SECRET = `whsec_${Buffer.from('canary-of-the-webhook-secret-5f2').toString('base64')}`;
const HIDDEN_PATH = 'canary-in-the-path-91c7';

interface Received {
  path: string;
  headers: http.IncomingHttpHeaders;
  body: string;
}

/** Somebody who is told things, at one port, whether or not they listen there. */
class Receiver {
  readonly port: number;
  readonly received: Received[] = [];
  /** null: it takes a request and never answers. */
  status: number | null = 204;
  #server: http.Server | null = null;

  private constructor(port: number) {
    this.port = port;
  }

  /** One that does not listen yet, at a port that is free. */
  static async reserve(): Promise<Receiver> {
    const server = http.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    return new Receiver(port);
  }

  async listen(): Promise<void> {
    this.#server = http.createServer((request, response) => {
      text(request).then(
        (body) => {
          this.received.push({ path: request.url ?? '', headers: request.headers, body });
          if (this.status !== null) response.writeHead(this.status).end('words of the receiver');
        },
        // A request that is cut is none.
        () => undefined,
      );
    });
    this.#server.listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async close(): Promise<void> {
    this.#server?.closeAllConnections();
    this.#server?.close();
    if (this.#server?.listening) await once(this.#server, 'close');
  }
}

let workspace: Workspace;
let receiver: Receiver;
beforeEach(async () => {
  receiver = await Receiver.reserve();
  workspace = await Workspace.create({ helper: toolAgent(['notify_user']) });
  workspace.env['OPS_SECRET'] = SECRET;
  workspace.env['OPS_URL'] = `http://127.0.0.1:${receiver.port}/${HIDDEN_PATH}`;
});
afterEach(async () => {
  await workspace.close();
  await receiver.close();
});

const configured = (...names: readonly string[]): string => {
  const outgoing = names.map(
    (name) => `{ name: ${name}, url: "\${OPS_URL}/${name}", secret: "\${OPS_SECRET}" }`,
  );
  return `default_agent: helper
reload: { enabled: false }
delivery: { on_uncertain: never }
logs: { level: trace }
webhooks: { allow_private: true, outgoing: [${outgoing.join(', ')}] }
`;
};

/** The server's own answer to `duragent outbox list`. */
async function outbox(): Promise<OutboxPage['deliveries']> {
  const run = workspace.run(['outbox', 'list', '-o', 'json']);
  expect(await run.exit()).toMatchObject({ code: 0 });
  return (JSON.parse(run.stdout) as OutboxPage).deliveries;
}

/** Lets an agent tell a webhook something, and allows it. @returns its session. */
async function tell({ api }: Server, text: string, name: string): Promise<string> {
  const { session } = await api.createSession();
  await api.say(session, calling('notify_user', { text, chats: [`webhook:${name}`] }));
  const open = await approvalIn(api, session);
  expect(open).toMatchObject({
    shown: `Tell webhook:${name}:\n${text}`,
    reason: expect.stringContaining(`it writes to webhook:${name}`),
  });
  await decide(api, open, 'allow_once');
  await idle(api, session);
  return session;
}

/** The function of docs/webhooks.md, as readers copy it. */
async function documentedVerify() {
  const page = await readFile(path.join(import.meta.dirname, '../../docs/webhooks.md'), 'utf8');
  const [, code = ''] = /```js\n([\s\S]*?)```/.exec(page) ?? [];
  const file = path.join(workspace.dir, 'verify.mjs');
  await writeFile(file, code);
  const { verify } = (await import(pathToFileURL(file).href)) as {
    verify: (headers: object, body: string, secret: string, now?: number) => boolean;
  };
  return verify;
}

test('what a webhook is owed arrives, whoever is down meanwhile, and under one id', async () => {
  await workspace.configure(configured('ops'));
  const first = await workspace.serve();
  const said = 'It is **built** ✓';
  const session = await tell(first, said, 'ops');

  // Nobody is there: it is owed, and the outbox says why.
  const [waiting] =
    (await until('its first try is over', async () => {
      const owed = await outbox();
      return owed[0]?.state === 'owed' && owed[0].attempt > 1 ? owed : null;
    })) ?? [];
  expect(waiting).toMatchObject({
    session,
    gateway: 'webhook',
    chat_id: 'ops',
    code: 'not_connected',
    message: 'It could not be reached (ECONNREFUSED).',
    preview: said,
    retry_at: expect.any(String),
  });

  // It takes the next try and does not answer: the server is killed before it could.
  receiver.status = null;
  await receiver.listen();
  await until('the next try arrives', () => receiver.received.length === 1, 60_000);
  expect(receiver.received[0]?.headers['webhook-id']).toBe(waiting?.out);
  await first.run.kill();

  // So it does again, and the server is stopped: it does not wait for the answer.
  const second = await workspace.serve();
  await until('it is sent again', () => receiver.received.length === 2);
  expect(await second.run.kill('SIGTERM')).toMatchObject({ code: 0 });

  receiver.status = 204;
  const third = await workspace.serve();
  await until('it is sent once more', () => receiver.received.length === 3);
  await until('nothing is owed', async () => (await outbox()).length === 0);

  const [cut, ...copies] = receiver.received;
  for (const copy of copies) {
    expect(copy.headers['webhook-id']).toBe(waiting?.out);
    expect(copy.body).toBe(cut?.body);
    expect(copy.path).toBe(`/${HIDDEN_PATH}/ops`);
  }
  expect(JSON.parse(cut?.body ?? '')).toMatchObject({
    specversion: '1.0',
    id: waiting?.out,
    source: `/sessions/${session}`,
    type: 'duragent.notification',
    data: { session, agent: 'helper', text: said },
  });
  const verify = await documentedVerify();
  for (const { headers, body } of receiver.received) {
    expect(verify(headers, body, SECRET)).toBe(true);
    expect(verify(headers, `${body} `, SECRET)).toBe(false);
    expect(verify(headers, body, SECRET, Date.now() + 400_000)).toBe(false);
    expect(verify({ ...headers, 'webhook-signature': 'v1,AAAA' }, body, SECRET)).toBe(false);
  }

  expect(await third.run.kill('SIGTERM')).toMatchObject({ code: 0 });
  expect(receiver.received).toHaveLength(3);
  const { events } = await readLog(workspace.sessionDir(session));
  expect(settledFaults(events)).toEqual([]);
  const ends = eventsOf(events, 'delivery_finished').map(
    ({ outcome, error }) => `${outcome} ${error?.code ?? ''}`,
  );
  // On a slow machine more than one try finds nobody there.
  expect(ends.slice(0, -3)).toContain('failed not_connected');
  expect(ends.slice(-3)).toEqual(['uncertain interrupted', 'uncertain interrupted', 'delivered ']);
  await expectNoSecrets([first, second, third]);
});

/** Nothing that the servers said or kept has the secret, or where the webhook is. */
async function expectNoSecrets(servers: readonly Server[]): Promise<void> {
  const canaries = [SECRET, SECRET.slice(6), HIDDEN_PATH, 'words of the receiver'];
  for (const { run } of servers) {
    for (const canary of canaries) expect(run.stdout + run.stderr).not.toContain(canary);
  }
  for (const name of await readdir(workspace.dataDir, { recursive: true })) {
    const file = path.join(workspace.dataDir, name);
    if (!(await stat(file)).isFile()) continue;
    const kept = await readFile(file, 'latin1');
    expect([name, canaries.filter((canary) => kept.includes(canary))]).toEqual([name, []]);
  }
}

test('webhooks come and go with the configuration, and one that is gone is left alone', async () => {
  await receiver.listen();
  await workspace.configure(configured());
  const server = await workspace.serve();
  const { api } = server;
  const { session } = await api.createSession();
  await api.say(session, calling('notify_user', { text: 'hi', chats: ['webhook:ops'] }));
  await idle(api, session);
  expect(await approvalsOf(api, session)).toEqual([]);
  const faults = async () => {
    const { events } = await readLog(workspace.sessionDir(session));
    return eventsOf(events, 'tool_finished').map(({ content }) => content);
  };
  expect(await faults()).toEqual([
    expect.stringContaining('There is no webhook named ops. There is none.'),
  ]);

  await workspace.configure(configured('ops', 'crm'));
  const { body: report } = await api.post<ReloadReport>('/admin/reload');
  expect(report.applied).toEqual(['webhooks.outgoing']);
  await tell(server, 'one', 'crm');
  await until('it is there', () => receiver.received.length === 1);
  expect(receiver.received[0]?.path).toBe(`/${HIDDEN_PATH}/crm`);

  // The receiver wants nothing more: what it is told is dead, and nobody asks again.
  receiver.status = 410;
  await tell(server, 'two', 'ops');
  const [gone] =
    (await until('it is dead', async () => {
      const all = await outbox();
      return all[0]?.state === 'dead' ? all : null;
    })) ?? [];
  expect(gone).toMatchObject({ chat_id: 'ops', code: 'gone' });
  receiver.status = 204;
  const retried = workspace.run(['outbox', 'retry', gone?.out ?? '']);
  expect(await retried.exit()).toMatchObject({ code: 0 });
  await until('it is dead again', async () => {
    const [one] = await outbox();
    return one?.state === 'dead' && one.attempt > (gone?.attempt ?? 0);
  });
  expect(receiver.received).toHaveLength(2);
  expect(server.run.stderr.match(/a webhook is gone \(410\)/g)).toHaveLength(1);

  // Its configuration changes: it is tried again.
  await workspace.configure(configured('ops').replace('/ops"', '/ops?v=2"'));
  await api.post('/admin/reload');
  const again = workspace.run(['outbox', 'retry', gone?.out ?? '']);
  expect(await again.exit()).toMatchObject({ code: 0 });
  await until('nothing is owed', async () => (await outbox()).length === 0);
  expect(receiver.received.at(-1)?.path).toBe(`/${HIDDEN_PATH}/ops?v=2`);
  expect(receiver.received.at(-1)?.headers['webhook-id']).toBe(gone?.out);
  await expectNoSecrets([server]);
});
