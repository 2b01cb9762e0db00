import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Workspace } from '../support/duragent.ts';
import { startModelServer, type ModelServer } from '../support/model-server.ts';

/** Values that exist nowhere else: wherever one is found, it leaked. */
const canaries = {
  ANTHROPIC_API_KEY: 'sk-ant-canary-5f2e9b1c7d',
  OPENAI_API_KEY: 'sk-oai-canary-8a4d6e0f3b',
  OPENROUTER_API_KEY: 'sk-or-canary-1c9b7e5a2d',
  DURAGENT_API_TOKEN: 'api-token-canary-6d3f8e2a',
  DURAGENT_ADMIN_TOKEN: 'admin-token-canary-9e1b4c7f',
  DURAGENT_AGENT_OWN_API_KEY: 'sk-own-canary-2b8d5f0e6a',
  OTHER_SECRET: 'other-canary-7c0a3e9d1f',
};

let model: ModelServer;
let workspace: Workspace;
beforeEach(async () => {
  model = await startModelServer();
  const url = `${model.url}/v1`;
  const agent = (provider: string): string =>
    `model: { provider: ${provider}, name: m, base_url: "${url}" }`;
  workspace = await Workspace.create({
    anthropic: agent('anthropic'),
    openai: agent('openai'),
    openrouter: agent('openrouter'),
    own: agent('openai-compatible'),
  });
});
afterEach(async () => {
  await workspace.close();
  await model.close();
});

test('no key and no token is in any output, log, session or answer', async () => {
  let isRefusing = false;
  model.respond = ({ headers }) => {
    if (!isRefusing) return { type: 'answer' };
    // A provider that repeats the key in its refusal.
    const key = String(headers['x-api-key'] ?? headers.authorization).replace('Bearer ', '');
    return { type: 'status', status: 401, message: `the key ${key} is wrong` };
  };
  Object.assign(workspace.env, canaries);
  await workspace.configure('default_agent: openai\nlogs: { level: trace }\n');
  const { api, run } = await workspace.serve();
  const told: string[] = [];

  for (const name of ['anthropic', 'openai', 'openrouter', 'own']) {
    const { session } = await api.createSession({ agent: name });
    told.push(JSON.stringify(await api.ask(session, 'hello')));
    isRefusing = true;
    const refused = await api.stream(session, 'again');
    await refused.until('its end', () => refused.of('turn_finished').length > 0);
    told.push(JSON.stringify(refused.frames));
    refused.close();
    isRefusing = false;
  }
  expect(model.requests).toHaveLength(8);
  // The truth outside: the keys were used, each with its own provider.
  const used = model.requests.map(({ headers }) => JSON.stringify(headers));
  for (const name of [
    'ANTHROPIC_API_KEY',
    'OPENAI_API_KEY',
    'OPENROUTER_API_KEY',
    'DURAGENT_AGENT_OWN_API_KEY',
  ] as const) {
    expect(used.filter((headers) => headers.includes(canaries[name]))).toHaveLength(2);
  }

  for (const token of [canaries.DURAGENT_API_TOKEN, canaries.DURAGENT_ADMIN_TOKEN, 'wrong']) {
    for (const route of ['/sessions', '/agents', '/agents/own/spec', '/nothing']) {
      told.push((await api.get(route, { token })).text);
    }
    const inUrl = `/api/v1/sessions?token=${canaries.DURAGENT_API_TOKEN}`;
    told.push((await api.call('GET', inUrl, { token })).text);
    told.push((await api.post('/sessions', `{"agent": `, { token })).text);
  }
  for (const args of [
    ['serve'],
    ['serve', 'status'],
    ['sessions'],
    ['agent', 'list'],
    ['run', '-vv', 'hello'],
    ['sessions', '--server', api.url, '--token', canaries.DURAGENT_API_TOKEN, '-vv'],
    ['session', 'show', 'nothing', '--token', canaries.DURAGENT_API_TOKEN, '-vv'],
  ]) {
    const command = workspace.run(args);
    await command.exit();
    told.push(command.stdout, command.stderr);
  }
  const token = await workspace.token();
  expect(await run.kill('SIGTERM')).toMatchObject({ code: 0 });
  // A configuration that is wrong is told without its values.
  await workspace.configure('server: { api_token: [ "${OTHER_SECRET}" ] }\n');
  const wrong = workspace.run(['serve', '--port', '0'], { DURAGENT_ADMIN_TOKEN: 'short-canary' });
  expect(await wrong.exit()).toMatchObject({ code: 78 });
  told.push(wrong.stdout, wrong.stderr, run.stdout, run.stderr);

  const secrets = [...Object.values(canaries), 'short-canary', token];
  for (const secret of secrets) {
    expect(told.filter((text) => text.includes(secret))).toEqual([]);
  }
  for (const name of await readdir(workspace.dataDir, { recursive: true })) {
    const file = path.join(workspace.dataDir, name);
    const found = await stat(file);
    if (!found.isFile()) continue;
    const text = await readFile(file, 'latin1');
    const leaked = secrets.filter((secret) => text.includes(secret));
    expect([name, leaked]).toEqual([name, name === 'auth/token' ? [token] : []]);
    // Whatever the program wrote is its owner's only.
    if (!name.startsWith('agents')) expect([name, found.mode & 0o077]).toEqual([name, 0]);
  }
});
