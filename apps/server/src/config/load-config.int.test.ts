import { DuragentError } from '@duragent/protocol';
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configFileSchema } from './config-schema.ts';
import { loadConfig, type ConfigFlags } from './load-config.ts';
import { readYaml } from './yaml-file.ts';

const REPOSITORY = new URL('../../../../', import.meta.url).pathname;

let root: string;
let cwd: string;
let home: string;

beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'duragent-config-')));
  cwd = join(root, 'work');
  home = join(root, 'home');
  await mkdir(cwd);
  await mkdir(home);
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function write(path: string, text: string): Promise<string> {
  const file = join(root, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
  return file;
}

const load = (flags: ConfigFlags = {}, env: Record<string, string> = {}) =>
  loadConfig({ cwd, home, env, flags });

async function errorOf(flags: ConfigFlags = {}, env: Record<string, string> = {}) {
  const error = await load(flags, env).catch((cause: unknown) => cause);
  if (error instanceof DuragentError) return error;
  throw new Error('the configuration was taken');
}

describe('the file', () => {
  const places = [
    'work/duragent.yaml',
    'work/duragent.yml',
    'work/.duragent/duragent.yaml',
    'home/.config/duragent/duragent.yaml',
    'home/.config/duragent/duragent.yml',
  ];

  it('is the first that exists of the known places', async () => {
    for (const [index, place] of places.toReversed().entries()) {
      const file = await write(place, `server: { port: ${9000 + index} }`);
      expect(await load()).toMatchObject({ file, port: 9000 + index });
    }
  });

  it('is passed over where it is empty, unless it was asked for', async () => {
    const file = await write('work/.duragent/duragent.yaml', 'server: { port: 9001 }');
    const empty = await write('work/duragent.yaml', '');
    expect(await load()).toMatchObject({ file, port: 9001 });
    expect(await load({ config: 'duragent.yaml' })).toMatchObject({ file: empty, port: 8080 });
  });

  it.each([
    ['work/duragent.yaml', 'work'],
    ['work/.duragent/duragent.yaml', 'work'],
    ['home/.config/duragent/duragent.yaml', 'work'],
  ])('at %s leaves the workspace of commands to be %s', async (place, workspace) => {
    await write(place, 'timezone: UTC');
    expect((await load()).sandbox.workspace).toBe(join(root, workspace));
    const file = await write(place, 'sandbox: { workspace: .. }');
    expect((await load()).sandbox.workspace).toBe(join(file, '../..'));
  });

  it('reserves the places that another start would read instead', async () => {
    const [first, second, third] = places.slice(0, 3).map((place) => join(root, place));
    expect((await load()).reservedFiles).toEqual([first, second, third]);
    await write('home/.config/duragent/duragent.yaml', 'timezone: UTC');
    expect((await load()).reservedFiles).toEqual([first, second, third]);
    await write('work/.duragent/duragent.yaml', 'timezone: UTC');
    expect((await load()).reservedFiles).toEqual([first, second]);
    await write('work/duragent.yaml', 'timezone: UTC');
    expect((await load()).reservedFiles).toEqual([]);
  });

  it('is the one that was typed, else the one of DURAGENT_CONFIG', async () => {
    await write('work/duragent.yaml', 'server: { port: 9000 }');
    const typed = await write('else/a.yaml', 'server: { port: 9001 }');
    const named = await write('home/b.yml', 'server: { port: 9002 }');
    expect(await load({ config: '../else/a.yaml' }, { DURAGENT_CONFIG: named })).toMatchObject({
      file: typed,
      port: 9001,
    });
    expect(await load({}, { DURAGENT_CONFIG: '~/b.yml' })).toMatchObject({
      file: named,
      port: 9002,
    });
  });

  it('is not needed, unless that is asked for', async () => {
    expect(await load()).toMatchObject({ file: null, workspaceRoot: cwd, warnings: [] });
    expect((await errorOf({ requireConfig: true })).message).toContain('there is no duragent.yaml');
  });

  it('that was asked for has to be there and YAML by name', async () => {
    const missing = await errorOf({ config: 'no.yaml' });
    expect(missing.code).toBe('config_invalid');
    expect(missing.message).toContain('--config: there is no file');
    await write('work/a.json', '{}');
    const wrong = await errorOf({}, { DURAGENT_CONFIG: 'a.json' });
    expect(wrong.code).toBe('config_invalid');
    expect(wrong.message).toContain('not named .yaml or .yml');
  });

  it('that cannot be read is an error', async () => {
    await mkdir(join(cwd, 'duragent.yaml'));
    expect((await errorOf()).message).toBe('duragent.yaml:1:1: this is not a regular file');
    await writeFile(join(root, 'bytes.yaml'), Buffer.from([0x61, 0x3a, 0x20, 0xff]));
    const error = await errorOf({ config: '../bytes.yaml' });
    expect(error.message).toContain('bytes.yaml:1:1: the file is not UTF-8 text');
  });

  it('of 257 KiB is an error', async () => {
    await write('work/duragent.yaml', '#'.repeat(257 * 1024));
    expect((await errorOf()).message).toBe(
      'duragent.yaml:1:1: the file is larger than 256 KiB; make it smaller',
    );
  });
});

describe('a value', () => {
  const flag = {
    port: '1001',
    host: 'flag',
    dataDir: 'flag',
    apiToken: 'f'.repeat(16),
    adminToken: 'F'.repeat(16),
  };
  const env = {
    DURAGENT_PORT: '1002',
    DURAGENT_HOST: 'env',
    DURAGENT_DATA_DIR: 'env',
    DURAGENT_API_TOKEN: 'e'.repeat(16),
    DURAGENT_ADMIN_TOKEN: 'E'.repeat(16),
  };
  const file = [
    'data_dir: file',
    'server: { port: 1003, host: file, api_token: yyyyyyyyyyyyyyyy }',
    'admin: { token: YYYYYYYYYYYYYYYY }',
  ].join('\n');
  const rows = [
    [flag, env, true, 1001, 'flag', 'f', 'F'],
    [flag, {}, true, 1001, 'flag', 'f', 'F'],
    [flag, env, false, 1001, 'flag', 'f', 'F'],
    [{}, env, true, 1002, 'env', 'e', 'E'],
    [{}, env, false, 1002, 'env', 'e', 'E'],
    [{}, {}, true, 1003, 'file', 'y', 'Y'],
  ] as const;

  it.each(rows)('comes from flag, environment, file in this order (%#)', async (...row) => {
    const [flags, variables, withFile, port, word, api, admin] = row;
    if (withFile) await write('work/duragent.yaml', file);
    expect(await load(flags, variables)).toMatchObject({
      port,
      portExplicit: port !== 1003,
      host: word,
      dataDir: join(cwd, word),
      apiToken: api.repeat(16),
      adminToken: admin.repeat(16),
    });
  });

  it('is the default where nothing says it', async () => {
    expect(await load()).toMatchObject({
      host: '127.0.0.1',
      port: 8080,
      portExplicit: false,
      dataDir: join(cwd, '.duragent'),
      sessionsPath: join(cwd, '.duragent', 'sessions'),
      agents: { path: join(cwd, '.duragent', 'agents'), cacheSize: 10_000 },
      apiToken: null,
      adminToken: null,
      httpEnabled: true,
      cliEnabled: true,
      requestTimeoutMs: 300_000,
      session: { onDisconnect: 'continue', maxBackgroundMs: 1_800_000, outputBufferSize: 1000 },
      models: { retries: 3, maxConcurrent: 16, ollamaHost: 'http://127.0.0.1:11434' },
      timezone: null,
      gateways: [],
      routes: [],
    });
  });

  it.each([
    ['DURAGENT_PORT', '80a'],
    ['DURAGENT_PORT', '65536'],
    ['DURAGENT_PORT', '-1'],
    ['DURAGENT_PORT', '1e3'],
    ['DURAGENT_PORT', ''],
    ['DURAGENT_HOST', 'a b'],
    ['DURAGENT_HOST', 'http://x'],
    ['DURAGENT_DATA_DIR', ''],
    ['DURAGENT_API_TOKEN', 'canary-3b'],
    ['DURAGENT_ADMIN_TOKEN', ''],
    ['OLLAMA_HOST', 'host:99999'],
  ])('of an invalid variable is refused: %s=%j', async (name, value) => {
    const error = await errorOf({}, { [name]: value });
    expect(error.code).toBe('config_invalid');
    expect(error.message).toMatch(new RegExp(`^${name}: .*; correct the variable or unset it$`));
    expect(error.message).not.toContain('canary');
  });

  it.each([
    { port: '80a' },
    { port: 70_000 },
    { host: 'a b' },
    { adminToken: 'short' },
    { dataDir: '' },
  ])('of an invalid flag is a usage error: %j', async (flags) => {
    expect((await errorOf(flags)).code).toBe('usage');
  });

  it('that is wrong is reported with all others, files first', async () => {
    await write('work/duragent.yaml', 'server:\n  prot: 1\n  port: x\n');
    const error = await errorOf({}, { DURAGENT_PORT: 'x', DURAGENT_HOST: '' });
    expect(error.message.split('\n')).toEqual([
      'duragent.yaml:2:3: unknown key "prot"; did you mean "port"?',
      'duragent.yaml:3:9: server.port: expected a port from 0 to 65535',
      'DURAGENT_HOST: it is set and empty; correct the variable or unset it',
      'DURAGENT_PORT: expected a port from 0 to 65535; correct the variable or unset it',
    ]);
    expect(error.details['faults']).toMatchObject([
      { file: 'duragent.yaml', line: 2, column: 3 },
      { file: 'duragent.yaml', line: 3, column: 9 },
    ]);
  });
});

describe('.env beside the file', () => {
  it('is read and never overrides', async () => {
    await write('else/duragent.yaml', 'server: { api_token: "${TOKEN}" }');
    await write(
      'else/.env',
      'TOKEN=from-dotenv-000000\nDURAGENT_PORT=1004\nDURAGENT_HOST=dotenv\n',
    );
    const config = await load({ config: '../else/duragent.yaml' }, { DURAGENT_PORT: '1005' });
    expect(config).toMatchObject({
      apiToken: 'from-dotenv-000000',
      port: 1005,
      host: 'dotenv',
      portExplicit: true,
    });
  });

  it('elsewhere is not read', async () => {
    await write('work/.env', 'DURAGENT_PORT=1004\n');
    await write('else/duragent.yaml', '');
    expect((await load({ config: '../else/duragent.yaml' })).port).toBe(8080);
    expect((await load()).port).toBe(8080);
  });
});

describe('paths', () => {
  it('of the file start at its folder, and ~ is the home directory', async () => {
    await write('else/duragent.yaml', 'data_dir: ./d\nagents: { static: { path: ~/agents } }\n');
    expect(await load({ config: '../else/duragent.yaml' })).toMatchObject({
      workspaceRoot: join(root, 'else'),
      dataDir: join(root, 'else/d'),
      sessionsPath: join(root, 'else/d/sessions'),
      agents: { path: join(home, 'agents') },
    });
  });

  it('that were typed start where they were typed', async () => {
    await write('else/duragent.yaml', 'data_dir: ./d\n');
    const flags = { config: '../else/duragent.yaml', dataDir: './t', agentsDir: 'a' };
    expect(await load(flags)).toMatchObject({
      dataDir: join(cwd, 't'),
      agents: { path: join(cwd, 'a') },
    });
  });

  it.each([
    ['else/duragent.yaml', 'else/.duragent'],
    ['else/.duragent/duragent.yaml', 'else/.duragent'],
    ['home/.config/duragent/duragent.yaml', 'work/.duragent'],
  ])('with %s the data directory is %s', async (file, dataDir) => {
    await write(file, '');
    expect((await load({ config: join(root, file) })).dataDir).toBe(join(root, dataDir));
  });
});

describe('rules of the file', () => {
  it('server.port and gateways.http.port are one setting', async () => {
    await write('work/duragent.yaml', 'gateways: { http: { port: 9 } }');
    expect((await load()).port).toBe(9);
    await write('work/duragent.yaml', 'server: { port: 9 }\ngateways: { http: { port: 9 } }');
    expect((await load()).port).toBe(9);
    await write('work/duragent.yaml', 'server: { port: 9 }\ngateways: { http: { port: 8080 } }');
    expect((await errorOf()).message).toMatch(
      /^duragent\.yaml:2:21: gateways\.http\.port and server\.port/,
    );
  });

  it('a strict port is explicit', async () => {
    await write('work/duragent.yaml', 'server: { port_strict: true }');
    expect(await load()).toMatchObject({ port: 8080, portExplicit: true });
  });

  it('something has to be able to reach the server', async () => {
    await write(
      'work/duragent.yaml',
      'gateways: { http: { enabled: false }, cli: { enabled: false } }',
    );
    expect((await errorOf()).message).toMatch(
      /^duragent\.yaml:1:1: nothing could reach this server/,
    );
  });

  it('keys without effect and old names are warnings', async () => {
    const text = [
      'agents_dir: a',
      'metrics: { enabled: true, public: true }',
      'services: { memory: { path: .duragent/memory }, artifacts: { path: x } }',
    ];
    await write('work/duragent.yaml', text.join('\n'));
    expect((await load()).warnings).toEqual([
      'duragent.yaml:1:1: agents_dir is read; its name is now agents.static.path',
      'duragent.yaml:2:27: metrics.public is checked but has no effect in this version',
    ]);
  });
});

describe('gateways', () => {
  const file = [
    'gateways:',
    '  external:',
    '    - name: telegram',
    '      command: duragent-gateway-telegram',
    '      config: { bot_token: "${BOT_TOKEN}" }',
    '    - name: mine',
    '      command: ./gateways/mine.py',
    '      args: [-v, "2"]',
    '      env: { LEVEL: 5, LOUD: true, NAME: "${WHO:-me}" }',
    '      config: { rooms: [{ id: 1 }], on: true }',
    '      restart: never',
  ].join('\n');

  it('are as the file says, with absolute paths, filled in and in order', async () => {
    await write('else/duragent.yaml', file);
    const config = await load({ config: '../else/duragent.yaml' }, { BOT_TOKEN: '1:canary-4f' });
    expect(config.gateways).toEqual([
      {
        name: 'telegram',
        command: 'duragent-gateway-telegram',
        args: [],
        env: {},
        config: { bot_token: '1:canary-4f' },
        restart: 'on_failure',
      },
      {
        name: 'mine',
        command: join(root, 'else/gateways/mine.py'),
        args: ['-v', '2'],
        env: { LEVEL: '5', LOUD: 'true', NAME: 'me' },
        config: { rooms: [{ id: 1 }], on: true },
        restart: 'never',
      },
    ]);
    expect(config.warnings).toEqual([]);
  });

  it('that did not change are the same when it is loaded again', async () => {
    await write('work/duragent.yaml', file);
    const before = await load({}, { BOT_TOKEN: 'a' });
    await write('work/duragent.yaml', `# read again\n${file.replace('restart: never', '')}`);
    const after = await load({}, { BOT_TOKEN: 'a' });
    expect(after.gateways[0]).toEqual(before.gateways[0]);
    expect(after.gateways[1]).toEqual({ ...before.gateways[1], restart: 'on_failure' });
  });

  it.each([
    ['/opt/gw', '/opt/gw'],
    ['~/gw', '{home}/gw'],
    ['bin/gw', '{cwd}/bin/gw'],
    ['../gw', '{root}/gw'],
    ['gw', 'gw'],
    ['~gw', '~gw'],
  ])('are started by %s: %s', async (written, command) => {
    await write('work/duragent.yaml', external(`name: a, command: ${written}`));
    const filled = command.replace('{home}', home).replace('{cwd}', cwd).replace('{root}', root);
    expect((await load()).gateways[0]?.command).toBe(filled);
  });

  it.each([
    ['name: http, command: x', 'name: http', `"http" is the server's own; choose another name`],
    ['name: cli, command: x', 'name: cli', `"cli" is the server's own; choose another name`],
    ['name: Te le, command: x', 'Te le', 'gateways.external.0.name: a name is 1 to 63 of a-z'],
    ['name: a', '{ name', 'gateways.external.0.command is missing'],
    ['name: a, command: ""', '""', 'gateways.external.0.command: the command is empty'],
    ['name: a, command: "\\0"', '"', 'gateways.external.0.command: a null character cannot be'],
    ['name: a, command: x, args: ["\\0"]', '"', 'gateways.external.0.args.0: a null character'],
    ['name: a, command: x, env: { A: "\\0" }', '"', 'gateways.external.0.env.A: a null character'],
    ['name: a, command: x, env: { A: [] }', '[] }', 'gateways.external.0.env.A: expected text'],
    ['name: a, command: x, env: { A-B: x }', 'A-B', 'gateways.external.0.env.A-B: a variable is'],
    [
      'name: a, command: x, restart: often',
      'often',
      'gateways.external.0.restart: expected "always"',
    ],
    ['name: a, command: x, env: { NODE_OPTIONS: x }', 'NODE', 'NODE_OPTIONS changes which code'],
    ['name: a, command: x, env: { LD_PRELOAD: "" }', 'LD', 'LD_PRELOAD changes which code'],
    ['name: a, command: x, env: { A: b, BASH_ENV: x }', 'BASH', 'BASH_ENV changes which code'],
    ['name: a, command: x, commnd: y', 'commnd', 'unknown key "commnd"; did you mean "command"?'],
  ])('are refused: %s', async (gateway, where, fault) => {
    const text = external(gateway);
    await write('work/duragent.yaml', text);
    const error = await errorOf();
    expect(error.code).toBe('config_invalid');
    expect(error.message.split('\n')).toHaveLength(1);
    const found = `duragent.yaml:1:${text.indexOf(where) + 1}: ${fault}`;
    expect(error.message.slice(0, found.length)).toBe(found);
  });

  it('have one name each', async () => {
    await write('work/duragent.yaml', external('name: a, command: x', 'name: a, command: y'));
    expect((await errorOf()).message).toBe(
      'duragent.yaml:1:51: there is a gateway "a" above; choose another name',
    );
  });
});

const external = (...gateways: string[]): string =>
  `gateways: { external: [${gateways.map((gateway) => `{ ${gateway} }`).join(', ')}] }`;

describe("a gateway's secret", () => {
  const secretsOf = async (gateway: string, env: Record<string, string> = {}) => {
    await write('work/duragent.yaml', external(gateway));
    return (await load({}, env)).secrets;
  };

  it.each([
    ['a variable', 'config: { a: "${S}" }', ['from-the-variable']],
    ['a part of a text', 'config: { a: "Bearer ${S}!" }', ['from-the-variable']],
    ['anywhere below', 'config: { a: [{ b: "${S}" }] }', ['from-the-variable']],
    ['in the environment', 'env: { A: "${S}" }', ['from-the-variable']],
    ['in an argument', 'args: ["-x${S}"]', ['from-the-variable']],
    [
      'a variable before its default',
      'config: { a: "${S:-written-default}" }',
      ['from-the-variable'],
    ],
    ['under a key that says so', 'config: { bot_token: abcdefgh1 }', ['abcdefgh1']],
    ['anywhere below such a key', 'config: { auth: { user: [abcdefgh2] } }', ['abcdefgh2']],
    ['as a number', 'config: { password: 1234567890 }', ['1234567890']],
    ['in the environment by its name', 'env: { MY_API_KEY: abcdefgh3 }', ['abcdefgh3']],
    ['both', 'config: { token: "1:${S}" }', ['1:from-the-variable', 'from-the-variable']],
  ])('is kept out of logs: %s', async (_, rest, secrets) => {
    const env = { S: 'from-the-variable' };
    expect(await secretsOf(`name: a, command: x, ${rest}`, env)).toEqual(secrets);
  });

  it.each([
    ['a short text', 'config: { token: "${S}" }', { S: '1234567' }],
    ['a default', 'config: { a: "${S:-written-default}" }', {}],
    ['a text under a plain key', 'config: { language: american-english }', {}],
    [
      'a variable that says that it is none',
      'config: { a: "${HOME}/gateway" }',
      { HOME: '/home/bob' },
    ],
    ['an address', 'config: { api_root: "${S}" }', { S: 'http://127.0.0.1:8081' }],
  ])('is not: %s', async (_, rest, env) => {
    expect(await secretsOf(`name: a, command: x, ${rest}`, env)).toEqual([]);
  });

  it('is an address with a way in', async () => {
    for (const url of ['http://u:p@host:1/', 'https://hooks.example/T0/B0/x', 'http://host?k=1']) {
      expect(await secretsOf('name: a, command: x, env: { A: "${S}" }', { S: url })).toEqual([url]);
    }
  });

  it('elsewhere in the file is none of the gateways', async () => {
    await write('work/duragent.yaml', 'data_dir: "${S}"\n');
    expect((await load({}, { S: 'from-the-variable' })).secrets).toEqual([]);
  });

  it('among arguments is warned of', async () => {
    await write('work/duragent.yaml', external('name: a, command: x, args: [-v, "${BOT_TOKEN}"]'));
    expect((await load({}, { BOT_TOKEN: 'canary-77777' })).warnings).toEqual([
      'duragent.yaml:1:58: arguments can be read by everybody on this machine; put ${BOT_TOKEN} under config or env',
    ]);
  });
});

describe('routes', () => {
  it('are as the file says, in its order', async () => {
    await mkdir(join(cwd, '.duragent/agents/a'), { recursive: true });
    const text = [
      external('name: telegram, command: x'),
      'routes:',
      '  - match: { gateway: telegram, chat_type: dm, chat_id: "1", sender_id: "2", thread_id: "3" }',
      '    agent: a',
      '  - { match: {}, agent: a }',
    ];
    await write('work/duragent.yaml', text.join('\n'));
    const config = await load();
    expect(config.routes).toEqual([
      {
        match: {
          gateway: 'telegram',
          chatType: 'dm',
          chatId: '1',
          senderId: '2',
          threadId: '3',
        },
        agent: 'a',
      },
      { match: {}, agent: 'a' },
    ]);
    expect(config.warnings).toEqual([]);
  });

  it('to nowhere are warnings', async () => {
    await mkdir(join(cwd, 'agents/a'), { recursive: true });
    await write('work/agents/file', '');
    const text = [
      external('name: telegram, command: x'),
      'agents: { static: { path: agents } }',
      'routes:',
      '  - { match: { gateway: slack }, agent: a }',
      '  - { match: { chat_id: "telegram:-100", sender_id: "matrix:1" }, agent: a }',
      '  - { match: {}, agent: gone }',
      '  - { match: {}, agent: file }',
    ];
    await write('work/duragent.yaml', text.join('\n'));
    const gone = (agent: string): string =>
      `there is no agent "${agent}" in ${cwd}/agents; what matches is dropped until there is`;
    expect((await load()).warnings).toEqual([
      'duragent.yaml:4:16: there is no gateway "slack" under gateways.external, so this matches nothing',
      `duragent.yaml:5:16: ids of routes are the platform's own; write "-100", and "telegram" as gateway`,
      `duragent.yaml:6:18: ${gone('gone')}`,
      `duragent.yaml:7:18: ${gone('file')}`,
    ]);
  });

  it('to agents of a folder that was typed are looked for there', async () => {
    await mkdir(join(cwd, 'typed/a'), { recursive: true });
    await write('work/duragent.yaml', 'routes: [{ match: {}, agent: a }]');
    expect((await load({ agentsDir: 'typed' })).warnings).toEqual([]);
    expect((await load()).warnings).toHaveLength(1);
  });

  it.each([
    ['match: { chat_id: -100 }, agent: a', 'expected text, found a number; write it in quotes'],
    ['match: { chat_id: "" }, agent: a', 'an empty id matches nothing'],
    ['match: { gateway: "*" }, agent: a', 'a name is 1 to 63'],
    ['match: { chat_type: private }, agent: a', 'expected "dm" or "group" or "channel"'],
    ['match: { chatid: "1" }, agent: a', 'unknown key "chatid"; did you mean "chat_id"?'],
    ['agent: a', 'routes.0.match is missing'],
    ['match: {}', 'routes.0.agent is missing'],
  ])('are refused: %s', async (route, fault) => {
    await write('work/duragent.yaml', `routes: [{ ${route} }]`);
    expect((await errorOf()).message).toContain(fault);
  });
});

it('delivery is as the file says, and as usual where it says nothing', async () => {
  expect((await load()).delivery).toEqual({
    streaming: 'edit',
    onUncertain: 'resend_marked',
    mirror: true,
    ttlMs: 86_400_000,
  });
  const text = 'delivery: { streaming: draft, on_uncertain: never, mirror: false, ttl: 1h }';
  await write('work/duragent.yaml', text);
  expect(await load()).toMatchObject({
    delivery: { streaming: 'draft', onUncertain: 'never', mirror: false, ttlMs: 3_600_000 },
    warnings: [],
  });
});

it('budgets and prices are as the file says, and none where it says nothing', async () => {
  const none = { sessionUsd: null, dayUsd: null, senderDayUsd: null };
  expect(await load()).toMatchObject({ budget: none, models: { prices: {} } });
  const text = [
    'models:',
    '  prices:',
    '    "openrouter/x/y": { input: 1, output: 2, cache_read: 0.1 }',
    'budget: { day_usd: 5, sender_day_usd: 0.25 }',
  ];
  await write('work/duragent.yaml', text.join('\n'));
  const { budget, models, warnings } = await load();
  expect(budget).toEqual({ sessionUsd: null, dayUsd: 5, senderDayUsd: 0.25 });
  expect(models.prices).toEqual({
    'openrouter/x/y': { input: 1, output: 2, cacheRead: 0.1, cacheWrite: 1.25 },
  });
  expect(warnings).toEqual([]);
});

it.each([
  ['gpt-5: { input: 1, output: 1 }', '3:5', 'write <provider>/<name>, such as'],
  ['openai/x: { input: 1 }', '3:15', 'models.prices.openai/x.output is missing'],
  ['openai/x: { input: -1, output: 1 }', '3:24', 'must be at least 0'],
  ['openai/x: { input: 1, output: 1, cach_read: 1 }', '3:38', 'did you mean "cache_read"?'],
])('the price %s is a fault at its place', async (price, place, fault) => {
  await write('work/duragent.yaml', `models:\n  prices:\n    ${price}`);
  const { message } = await errorOf();
  expect(message).toContain(`duragent.yaml:${place}: `);
  expect(message).toContain(fault);
});

describe('keys of models', () => {
  it('come from the environment, also per agent; empty is none', async () => {
    const config = await load(
      {},
      {
        ANTHROPIC_API_KEY: 'a',
        OPENAI_API_KEY: '',
        DURAGENT_AGENT_MY_BOT_API_KEY: 'b',
      },
    );
    expect(config.models.keys).toEqual({ anthropic: 'a', openai: null, openrouter: null });
    expect(config.models.agentKey('my-bot')).toBe('b');
    expect(config.models.agentKey('other')).toBeNull();
  });
});

describe("this repository's duragent.yaml", () => {
  it('loads without a warning', async () => {
    const config = await loadConfig({ cwd: REPOSITORY, home, env: {} });
    expect(config).toMatchObject({ defaultAgent: 'assistant', warnings: [] });
    expect(config.dataDir).toBe(join(REPOSITORY, '.duragent'));
  });

  it('holds every key there is, with its default', async () => {
    const text = await readFile(join(REPOSITORY, 'duragent.yaml'), 'utf8');
    const reading = readYaml(text, 'duragent.yaml', configFileSchema);
    if (!reading.ok) throw new Error(JSON.stringify(reading.faults));
    const { value } = reading;
    const standard = configFileSchema.parse({});
    const missing: string[] = [];
    const walk = (map: object, path: string[]): void => {
      for (const [key, below] of Object.entries(map)) {
        if (reading.at([...path, key], '') === null) missing.push([...path, key].join('.'));
        if (below !== null && typeof below === 'object' && !Array.isArray(below)) {
          walk(below as object, [...path, key]);
        }
      }
    };
    walk(standard, []);
    expect(missing).toEqual([]);
    expect(value).toEqual({
      ...standard,
      data_dir: '.duragent',
      default_agent: 'assistant',
      agents: { ...standard.agents, static: { ...standard.agents.static, path: './agents' } },
    });
  });
});
