import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { AccessList, GatewayView, OutboxPage, ReloadReport } from '@duragent/protocol';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Server, Workspace } from '../support/duragent.ts';
import { until } from '../support/until.ts';

/** Each story runs many commands, on a machine that may be busy. */
vi.setConfig({ testTimeout: 90_000 });

let workspace: Workspace;
beforeEach(async () => {
  workspace = await Workspace.create({
    open: 'model: echo\naccess: { dm: { policy: open } }',
    shy: 'model: echo',
  });
});
afterEach(() => workspace.close());

/** One entry of `gateways.external`: the loopback gateway, which writes where it listens beside duragent.yaml. */
function loopback(name: string, config: Record<string, string> = {}): string {
  const all = { port: '0', url_file: path.join(workspace.dir, `${name}.url`), ...config };
  const keys = Object.entries(all).map(([key, value]) => `${key}: ${value}`);
  return `    - { name: ${name}, command: duragent-gateway-loopback, config: { ${keys.join(', ')} } }`;
}

/** A gateway in one file: it speaks for a person once, and refuses what it is to post while `refuse` is there. */
const refusing = `#!/usr/bin/env node
import { appendFileSync, existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
const say = (line) => process.stdout.write(JSON.stringify(line) + '\\n');
process.stderr.write('the refusing gateway is here\\n');
createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  const { type, request_id, content } = command;
  if (type === 'configure') {
    say({ type: 'ready', gateway: 'refusing', version: '1', protocol: 'v1', capabilities: ['ack'] });
    const sender = { id: '5', display_name: 'Ann', is_bot: false };
    say({
      type: 'message_received', event_id: 'e1', message_id: 'u1', edited: false, chat_id: 'c1', sender,
      content: { text: 'Are you there?' },
      routing: { channel: 'refusing', chat_type: 'dm', chat_id: 'c1', sender_id: '5' },
      mentions_bot: false, reply_to_bot: false, timestamp: new Date().toISOString(), metadata: {},
    });
  } else if (type === 'ping') {
    say({ type: 'pong', request_id, uptime_seconds: 1, connected: true });
  } else if (type === 'shutdown') {
    process.exit(0);
  } else if (type === 'send_message' && existsSync('refuse')) {
    say({ type: 'command_error', request_id, code: 'blocked', message: 'Ann blocked the bot.' });
  } else if (type === 'send_message') {
    appendFileSync('posted', content + '\\n');
    say({ type: 'command_ok', request_id, message_id: 'm1' });
  }
}).on('close', () => process.exit(0));
`;

function write(name: string, text: string): Promise<void> {
  return writeFile(path.join(workspace.dir, name), text);
}

async function configure(gateways: string[], rest = 'default_agent: open'): Promise<void> {
  const list = gateways.length === 0 ? ' []' : `\n${gateways.join('\n')}`;
  await workspace.configure(`${rest}\ngateways:\n  external:${list}\n`);
}

/** Runs a command to its end. */
async function duragent(...args: string[]) {
  const run = workspace.run(args);
  const { code } = await run.exit();
  return { code, out: run.stdout, err: run.stderr };
}

async function gateways({ api }: Server): Promise<Map<string, GatewayView>> {
  const { body } = await api.get<{ gateways: GatewayView[] }>('/admin/gateways');
  return new Map(body.gateways.map((one) => [one.name, one]));
}

async function ready(server: Server, ...names: string[]): Promise<Map<string, number | null>> {
  return await until(`${names.join(', ')} are ready`, async () => {
    const all = await gateways(server);
    const isReady = names.every((name) => all.get(name)?.state === 'ready');
    return isReady && new Map([...all.values()].map(({ name, pid }) => [name, pid]));
  }).then((pids) => pids || new Map());
}

/** Where a loopback gateway listens. */
async function urlOf(name: string): Promise<string> {
  const text = await readFile(path.join(workspace.dir, `${name}.url`), 'utf8');
  return (JSON.parse(text) as { url: string }).url;
}

/** Says something to the bot, as somebody in a chat of a loopback gateway. */
async function speak(name: string, body: object): Promise<void> {
  const { status } = await fetch(new URL('/messages', await urlOf(name)), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(status).toBeLessThan(300);
}

async function postsIn(name: string, chat: string): Promise<string[]> {
  const reply = await fetch(new URL(`/chats/${chat}/messages`, await urlOf(name)));
  const { messages } = (await reply.json()) as { messages: { text: string; preview: boolean }[] };
  return messages.filter(({ preview }) => !preview).map(({ text }) => text);
}

describe('gateways', () => {
  test('are listed, restarted alone, and show their logs', async () => {
    await configure([loopback('one'), loopback('two')]);
    const server = await workspace.serve();
    const before = await ready(server, 'one', 'two');
    const listed = await duragent('gateway', 'list');
    expect(listed.code).toBe(0);
    expect(listed.out).toMatch(/^one +ready .*loopback/m);
    expect((await duragent('gateway', 'restart', 'one')).code).toBe(0);
    const after = await until('one has another process', async () => {
      const pids = await ready(server, 'one', 'two');
      return pids.get('one') !== before.get('one') && pids;
    });
    expect(after && after.get('two')).toBe(before.get('two'));
    const logs = await duragent('gateway', 'logs', 'one');
    expect(logs.out).toContain('the loopback gateway listens');
    expect((await duragent('gateway', 'logs', 'three')).err).toContain('one, two');
  });

  test('that cannot be started are no success of a restart', async () => {
    await configure(['    - { name: gone, command: duragent-gateway-gone }']);
    await workspace.serve();
    const restarted = await duragent('gateway', 'restart', 'gone');
    expect(restarted.code).toBe(1);
    expect(restarted.err).toContain('gone does not run (fatal)');
    expect(restarted.err).toContain('duragent-gateway-gone');
    expect(restarted.err).not.toContain('Restarted');
  });

  test('have their chats found: the API and attach know which session one shows', async () => {
    await configure([loopback('one')]);
    const server = await workspace.serve();
    await ready(server, 'one');
    await speak('one', { chat_id: 'c1', sender: 'ann', text: 'Hello' });
    await until('it is answered', async () => (await postsIn('one', 'c1')).length === 1);
    const { body } = await server.api.get<{ session: string }>('/chats/one/c1');
    const view = await server.api.session(body.session);
    expect(view).toMatchObject({
      status: 'active',
      chats: [{ gateway: 'one', chat_id: 'c1', chat_type: 'dm', peer: 'ann' }],
    });
    const unknown = await duragent('attach', 'one:c2', '--read-only');
    expect(unknown.code).toBe(1);
    expect(unknown.err).toContain('one:c1');
    const shown = await duragent('attach', 'one:c1', '--read-only');
    expect(shown.code).toBe(0);
    expect(shown.out + shown.err).toContain('ann (one): Hello');
    const list = await duragent('sessions', '--gateway', 'one', '-o', 'json');
    expect(JSON.parse(list.out)).toHaveLength(1);
  });
});

describe('a reload', () => {
  test('starts, stops and restarts exactly the gateways that changed', async () => {
    await configure([loopback('keep'), loopback('change'), loopback('gone')]);
    const server = await workspace.serve();
    const before = await ready(server, 'keep', 'change', 'gone');
    await configure([
      loopback('keep'),
      loopback('change', { max_length: '500' }),
      loopback('fresh'),
    ]);
    const { body } = await server.api.post<ReloadReport>('/admin/reload');
    expect(body).toMatchObject({
      applied: ['gateways.external'],
      restart_needed: [],
      gateways: { started: ['fresh'], stopped: ['gone'], restarted: ['change'] },
    });
    const after = await ready(server, 'keep', 'change', 'fresh');
    expect([...after.keys()].sort()).toEqual(['change', 'fresh', 'keep']);
    expect(after.get('keep')).toBe(before.get('keep'));
    expect(after.get('change')).not.toBe(before.get('change'));
    for (const name of ['gone', 'change']) {
      expect(() => process.kill(before.get(name) ?? -1, 0)).toThrow('ESRCH');
    }
    expect((await duragent('serve', 'reload')).out).toBe('Nothing has changed.\n');
  });

  test('of a broken file keeps the last good one and says why, until it is mended', async () => {
    await configure([loopback('keep')]);
    const server = await workspace.serve();
    const before = await ready(server, 'keep');
    await workspace.configure('default_agent: open\ngatewys: 1\n');
    const { code, err } = await duragent('serve', 'reload');
    expect(code).toBe(78);
    expect(err).toMatch(/duragent\.yaml:2:1: /);
    const probe = await server.api.call<object>('GET', '/readyz');
    expect(probe.status).toBe(200);
    expect(probe.body).toMatchObject({
      status: 'ready',
      reason: expect.stringMatching(/duragent\.yaml:2:1: /) as string,
    });
    const problem = await server.api.refused('POST', '/api/v1/admin/reload');
    expect(problem).toMatchObject({
      status: 409,
      code: 'config_invalid',
      faults: [{ line: 2, column: 1 }],
    });
    expect(await ready(server, 'keep')).toEqual(before);
    await configure([loopback('keep')]);
    expect((await duragent('serve', 'reload')).code).toBe(0);
    expect((await server.api.call('GET', '/readyz')).body).not.toHaveProperty('reason');
    expect(await ready(server, 'keep')).toEqual(before);
  });

  test('applies routes, tokens and settings at once, and names what needs a restart', async () => {
    const token = 'canary-reload-token-6tq2';
    await configure([loopback('one')]);
    const server = await workspace.serve();
    await ready(server, 'one');
    expect((await server.api.get('/sessions', { token })).status).toBe(401);
    await configure(
      [loopback('one')],
      [
        `server: { api_token: ${token}, max_connections: 77, hosts: [box.lan] }`,
        'default_agent: shy',
        'delivery: { ttl: 1h }',
        'logs: { level: debug }',
      ].join('\n'),
    );
    const pid = server.run.pid;
    process.kill(pid, 'SIGHUP');
    await until('the new token is known', async () => {
      return (await server.api.get('/sessions', { token })).status === 200;
    });
    const headers = { Host: 'box.lan' };
    expect((await server.api.get('/agents/shy', { headers })).body).toMatchObject({
      default: true,
    });
    expect((await server.api.createSession()).agent).toBe('shy');
    const { body } = await server.api.post<ReloadReport>('/admin/reload');
    expect(body).toMatchObject({ applied: [], restart_needed: ['server.max_connections'] });
    // Of what is secret only since the reload, too, nothing is logged.
    const log = await readFile(path.join(workspace.dataDir, 'logs/server.log'), 'utf8');
    expect(log).toContain('configuration reloaded');
    expect(log).not.toContain(token);
  });

  test('reaches a server without an Admin API by a signal', async () => {
    // Otherwise it may have read the file by itself before it is asked to.
    const unasked = 'reload: { enabled: false }';
    await configure([], `admin: { enabled: false }\n${unasked}`);
    const server = await workspace.serve();
    expect((await server.api.get('/admin/gateways')).status).toBe(404);
    await configure([loopback('late')], `admin: { enabled: true }\n${unasked}`);
    const { code, err } = await duragent('serve', 'reload');
    expect(code).toBe(0);
    expect(err).toContain('its log says');
    await until('the Admin API is there', async () => {
      return (await server.api.get('/admin/gateways')).status === 200;
    });
    await ready(server, 'late');
  });
});

describe('the outbox', () => {
  test('shows what a chat refused, until it is tried again or given up', async () => {
    const file = path.join(workspace.dir, 'refusing.mjs');
    await writeFile(file, refusing);
    await chmod(file, 0o755);
    await write('refuse', '');
    await configure(['    - { name: no, command: ./refusing.mjs }']);
    const server = await workspace.serve();
    const dead = await until('the answer is refused', async () => {
      const { body } = await server.api.get<OutboxPage>('/admin/outbox');
      return body.deliveries.find((one) => one.state === 'dead');
    });
    expect(dead).toMatchObject({
      gateway: 'no',
      chat_id: 'c1',
      code: 'blocked',
      message: 'Ann blocked the bot.',
    });
    const listed = await duragent('outbox', 'list');
    expect(listed.out).toContain('Ann blocked the bot.');
    expect(listed.out).toContain('Are you there?');
    const out = dead?.out ?? '';

    expect((await duragent('outbox', 'retry', out)).code).toBe(0);
    await until('it is refused again', async () => {
      const { body } = await server.api.get<OutboxPage>('/admin/outbox');
      return body.deliveries.some((one) => one.state === 'dead' && one.attempt === 2);
    });
    await rm(path.join(workspace.dir, 'refuse'));
    expect((await duragent('outbox', 'retry', out)).code).toBe(0);
    await until('it is posted', async () =>
      (await readFile(path.join(workspace.dir, 'posted'), 'utf8')).includes('Are you there?'),
    );
    await until('nothing is left', async () => {
      const { body } = await server.api.get<OutboxPage>('/admin/outbox');
      return body.deliveries.length === 0;
    });
    const again = await duragent('outbox', 'drop', out);
    expect(again.code).toBe(1);
    expect(again.err).toContain('may have been delivered');

    // What is dead may be given up too, and what is said of it in the session stays.
    await write('refuse', '');
    const { body } = await server.api.get<{ session: string }>('/chats/no/c1');
    await server.api.ask(body.session, 'And now?');
    const next = await until('its answer is refused', async () => {
      const page = await server.api.get<OutboxPage>(`/admin/outbox?session=${body.session}`);
      const all = page.body.deliveries;
      return all.length > 0 && all.every((one) => one.state === 'dead') && all;
    });
    const outs = (next || []).map((one) => one.out);
    expect((await duragent('outbox', 'drop', ...outs)).code).toBe(0);
    expect((await server.api.session(body.session)).dead).toBe(0);
    const logs = await duragent('gateway', 'logs', 'no');
    expect(logs.out).toContain('the refusing gateway is here');
  });
});

describe('a stranger', () => {
  test('is let in by the code that they were given, told so, and shut out again', async () => {
    await configure([loopback('one')], 'default_agent: shy');
    const server = await workspace.serve();
    await ready(server, 'one');
    await speak('one', { chat_id: 'c1', sender: { id: 'ann', display_name: 'Ann' }, text: 'Hi' });
    const code = await until(
      'they are told a code',
      async () => /Your code is (\w{8})/.exec((await postsIn('one', 'c1')).join('\n'))?.[1],
    );
    const asked = await server.api.get<AccessList>('/admin/access');
    expect(asked.body.requests).toMatchObject([{ code, agent: 'shy', sender: 'one:ann' }]);
    expect((await duragent('access', 'list')).out).toContain(code);
    expect((await duragent('access', 'approve', 'AAAAAAAA')).code).toBe(1);
    const approved = await duragent('access', 'approve', (code ?? '').toLowerCase());
    expect(approved).toMatchObject({ code: 0 });
    expect(approved.err).toContain('one:ann');
    await until('they are told', async () =>
      (await postsIn('one', 'c1')).some((text) => text.includes('let in')),
    );
    await speak('one', { chat_id: 'c1', sender: 'ann', text: 'Now?' });
    await until('they are answered', async () =>
      (await postsIn('one', 'c1')).some((text) => text.includes('Now?')),
    );
    expect((await duragent('access', 'revoke', 'shy', 'one:ann')).code).toBe(0);
    await speak('one', { chat_id: 'c1', sender: 'ann', text: 'And now?' });
    expect((await server.api.get<AccessList>('/admin/access')).body.pairings).toEqual([]);
    expect((await postsIn('one', 'c1')).join('\n')).not.toContain('And now?');
  });
});

describe('a variable that only the server knows', () => {
  test('is not asked of the commands that speak with it', async () => {
    await configure([loopback('one', { token: '"${ONLY_THE_SERVER}"' })]);
    const env = { ONLY_THE_SERVER: 'a-token-of-the-loopback' };
    const server = await workspace.ready(workspace.run(['serve', '--port', '0'], env));
    await ready(server, 'one');
    const listed = await duragent('gateway', 'list');
    expect(listed).toMatchObject({ code: 0, out: expect.stringContaining('one') });
    expect(await server.run.kill('SIGTERM')).toMatchObject({ code: 0 });
  });
});

describe('a server that a client started', () => {
  test('stays while a gateway is configured', async () => {
    await configure([loopback('one')]);
    const run = workspace.run(['serve', '--port', '0', '--ephemeral', '1']);
    const server = await workspace.ready(run);
    await ready(server, 'one');
    // Without a gateway it would have ended by then.
    const startedAt = performance.now();
    await until('three seconds have passed', () => performance.now() - startedAt > 3_000);
    expect(run.isRunning).toBe(true);
    await configure([]);
    expect((await server.api.post('/admin/reload')).status).toBe(200);
    expect((await run.exit()).code).toBe(0);
  });
});
