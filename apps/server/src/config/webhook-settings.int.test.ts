import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Config, loadConfig } from './load-config.ts';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
/** One that stands in the file itself. */
const WRITTEN = `whsec_${'A'.repeat(32)}`;

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(path.join(tmpdir(), 'duragent-webhooks-'));
});
afterEach(() => rm(cwd, { recursive: true, force: true }));

async function load(yaml: string, env: Record<string, string> = {}): Promise<Config> {
  await writeFile(path.join(cwd, 'duragent.yaml'), yaml);
  return await loadConfig({ cwd, env, home: cwd });
}

const outgoing = (entries: readonly string[], more = ''): string =>
  `webhooks: { ${more}outgoing: [${entries.map((entry) => `{ ${entry} }`).join(', ')}] }`;
const entry = ({ name = 'ops', url = 'https://ops.example/hook', secret = SECRET } = {}): string =>
  `name: ${name}, url: "${url}", secret: "${secret}"`;

describe('webhooks', () => {
  test('are none unless the file says so', async () => {
    const { webhooks, warnings } = await load('');
    expect(webhooks).toEqual({ allowPrivate: false, outgoing: [] });
    expect(warnings).toEqual([]);
  });

  test('are read in order, their secrets from the environment, and no log shows these', async () => {
    const env = {
      OPS_SECRET: SECRET,
      CRM_URL: 'https://crm.example/services/T0/B1',
      CRM: 'https://crm.example',
    };
    const config = await load(
      outgoing([
        entry({ secret: '${OPS_SECRET}' }),
        entry({ name: 'crm', url: '${CRM_URL}' }),
        entry({ name: 'bare', url: '${CRM}', secret: WRITTEN }),
      ]),
      env,
    );
    expect(config.webhooks.outgoing).toEqual([
      { name: 'ops', url: 'https://ops.example/hook', secret: SECRET },
      { name: 'crm', url: env.CRM_URL, secret: SECRET },
      { name: 'bare', url: env.CRM, secret: WRITTEN },
    ]);
    expect(config.secrets).toEqual(
      expect.arrayContaining([SECRET, WRITTEN, env.CRM_URL, 'https://ops.example/hook']),
    );
    expect(config.secrets).not.toContain(env.CRM);
    expect(config.warnings).toEqual([]);
  });

  test('may be private where the file allows it', async () => {
    const hosts = ['http://127.0.0.1:8000/', 'http://[fd00::1]/', 'http://hub.lan/'];
    const entries = hosts.map((url, index) => entry({ name: `n${index}`, url }));
    const { webhooks } = await load(outgoing(entries, 'allow_private: true, '));
    expect(webhooks).toMatchObject({ allowPrivate: true });
    expect(webhooks.outgoing.map(({ url }) => url)).toEqual(hosts);
  });

  test.each([
    ['a host of this machine', entry({ url: 'http://localhost:80/' }), 'webhooks.allow_private'],
    ['a loopback address', entry({ url: 'http://127.1/' }), 'a loopback address; write webhooks'],
    ['a private address', entry({ url: 'http://[fd00::1]/' }), 'a private address; write webhooks'],
    ['no URL', entry({ url: 'ops.example' }), 'url: This is no URL'],
    ['another protocol', entry({ url: 'ftp://ops.example/' }), 'url: ftp: URLs cannot be fetched'],
    ['a password', entry({ url: 'https://a:canary@ops.example/' }), 'user name or password'],
    ['a port of another protocol', entry({ url: 'https://ops.example:25/' }), 'Port 25 belongs'],
    ['a bad name', entry({ name: 'O_ps' }), 'name: a name is 1 to 63 of a-z'],
    ['a short secret', entry({ secret: 'whsec_canary' }), 'secret: expected whsec_ and 24 to 64'],
    ['no secret', 'name: ops, url: "https://ops.example/"', 'secret is missing'],
    ['an unknown key', `${entry()}, events: []`, 'unknown key "events"'],
  ])('with %s are a fault that names its place', async (_, text, message) => {
    const fault: unknown = await load(outgoing([text])).catch((error: unknown) => error);
    expect(String(fault)).toMatch(/duragent\.yaml:1:\d+: /);
    expect(String(fault)).toContain(message);
    expect(String(fault)).not.toContain('canary');
    expect(String(fault)).not.toContain(SECRET);
  });

  test('of one name, and more than a hundred, are faults', async () => {
    await expect(load(outgoing([entry(), entry()]))).rejects.toThrow('a webhook "ops" above');
    const many = Array.from({ length: 101 }, (_, index) => entry({ name: `n${index}` }));
    await expect(load(outgoing(many))).rejects.toThrow('webhooks.outgoing: must be at most 100');
  });

  test('take their name from gateways', async () => {
    await expect(load('gateways: { external: [{ name: webhook, command: x }] }')).rejects.toThrow(
      '"webhook" is the server\'s own; choose another name',
    );
  });

  test('that come in are checked and have no effect yet', async () => {
    const { warnings } = await load(
      'webhooks: { endpoints: [{ name: a, agent: b, verify: token, secret: 0123456789abcdef }] }',
    );
    expect(warnings).toEqual([expect.stringContaining('webhooks.endpoints is checked but')]);
  });
});
