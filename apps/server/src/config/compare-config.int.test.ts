import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { compareConfigs } from './compare-config.ts';
import { type Config, loadConfig } from './load-config.ts';

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(path.join(tmpdir(), 'duragent-compare-'));
});
afterEach(() => rm(cwd, { recursive: true, force: true }));

async function load(yaml: string): Promise<Config> {
  await writeFile(path.join(cwd, 'duragent.yaml'), yaml);
  return await loadConfig({ cwd, env: {}, home: cwd });
}

async function compare(before: string, next: string) {
  const started = await load(before);
  return compareConfigs(await load(next), { started, applied: started });
}

test('what is the same has not changed, however it is written', async () => {
  expect(await compare('', 'server: { port: 8080 }\ndelivery: { ttl: 1440m }')).toEqual({
    live: [],
    restart: [],
  });
});

test.each([
  ['default_agent: a', 'default_agent'],
  ['routes: [{ match: {}, agent: a }]', 'routes'],
  ['gateways: { external: [{ name: a, command: b }] }', 'gateways.external'],
  ['webhooks: { allow_private: true }', 'webhooks.allow_private'],
  [
    'webhooks: { outgoing: [{ name: a, url: https://a.example/, secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw }] }',
    'webhooks.outgoing',
  ],
  ['gateways: { cli: { enabled: false } }', 'gateways.cli.enabled'],
  ['delivery: { ttl: 1h }', 'delivery.ttl'],
  ['delivery: { mirror: false }', 'delivery.mirror'],
  ['delivery: { on_uncertain: never }', 'delivery.on_uncertain'],
  ['session: { on_disconnect: pause }', 'session.on_disconnect'],
  ['session: { max_background_runtime: 1h }', 'session.max_background_runtime'],
  ['models: { retry: { attempts: 1 } }', 'models.retry.attempts'],
  ['models: { prices: { "openai/x": { input: 1, output: 2 } } }', 'models.prices'],
  ['budget: { session_usd: 1 }', 'budget.session_usd'],
  ['budget: { day_usd: 0 }', 'budget.day_usd'],
  ['budget: { sender_day_usd: 1 }', 'budget.sender_day_usd'],
  ['server: { api_token: canary-0123456789 }', 'server.api_token'],
  ['server: { hosts: [a.lan] }', 'server.hosts'],
  ['admin: { enabled: false }', 'admin.enabled'],
  ['logs: { level: debug }', 'logs.level'],
])('%s can hold at once', async (yaml, key) => {
  expect(await compare('', yaml)).toEqual({ live: [key], restart: [] });
});

test.each([
  ['server: { host: 0.0.0.0 }', 'server.host'],
  ['server: { port: 9000 }', 'server.port'],
  ['data_dir: other', 'data_dir'],
  ['timezone: UTC', 'timezone'],
  ['agents: { static: { path: x } }', 'agents.static.path'],
  ['services: { artifacts: { path: x } }', 'services.artifacts.path'],
  ['models: { max_concurrent: 2 }', 'models.max_concurrent'],
  ['logs: { format: json }', 'logs.format'],
  ['allow_network_fs: true', 'allow_network_fs'],
])('%s needs a restart', async (yaml, key) => {
  const { live, restart } = await compare('', yaml);
  expect(live).toEqual([]);
  expect(restart).toContain(key);
});

test('what needs a restart is named until it is, also when it is no longer new', async () => {
  const started = await load('');
  const applied = await load('timezone: UTC\ndefault_agent: a');
  const next = await load('timezone: UTC\ndefault_agent: b');
  expect(compareConfigs(next, { started, applied })).toEqual({
    live: ['default_agent'],
    restart: ['timezone'],
  });
});

test('no value is told, only keys', async () => {
  const secret = 'canary-0123456789';
  const changes = await compare(
    '',
    `gateways: { external: [{ name: a, command: b, config: { token: ${secret} } }] }`,
  );
  expect(JSON.stringify(changes)).not.toContain(secret);
});
