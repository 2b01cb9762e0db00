import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { readSources, type Source } from './support/imports.ts';
import { checkSource, importersOf, type Table } from './support/rooms.ts';

/** Node modules that reach outside of the process, or measure time. */
const outside = [
  'node:fs',
  'node:net',
  'node:http',
  'node:https',
  'node:http2',
  'node:tls',
  'node:dgram',
  'node:dns',
  'node:child_process',
  'node:worker_threads',
  'node:cluster',
  'node:sqlite',
  'node:readline',
  'node:process',
];
const timers = ['setTimeout', 'setInterval', 'setImmediate', 'AbortSignal.timeout'];
const clocks = ['Date.now', 'Date()', 'new Date()', 'performance'];

/** Who may import whom. What is in no list of a row may not be imported there. */
const table: Table = {
  rows: [
    {
      room: 'protocol-node',
      files: 'protocol/src/node*',
      allowed: ['protocol', 'protocol-node', 'node:*', 'npm:ndjson'],
      forbidden: [],
    },
    {
      room: 'protocol',
      files: 'protocol/src',
      allowed: ['protocol', 'npm:zod'],
      forbidden: ['node:*'],
    },
    {
      room: 'core',
      files: 'apps/server/src/core',
      allowed: ['core', 'protocol', 'npm:zod', 'npm:marked', 'npm:croner'],
      forbidden: ['node:*'],
      never: ['async', 'await', 'process', 'crypto', 'Math.random', ...clocks, ...timers],
    },
    {
      room: 'ports',
      files: 'apps/server/src/ports',
      allowed: ['ports', 'protocol'],
      types: ['core', 'npm:zod'],
      forbidden: ['node:*'],
    },
    {
      room: 'runtime',
      files: 'apps/server/src/runtime',
      allowed: ['runtime', 'core', 'ports', 'protocol', 'npm:zod', 'node:*'],
      forbidden: [...outside, 'node:timers'],
      never: timers,
    },
    {
      room: 'adapters/*',
      files: 'apps/server/src/adapters/*',
      // What adapters share of the file system is no adapter itself.
      allowed: ['adapters/{own}', 'adapters/files', 'ports', 'protocol', 'protocol-node'].concat([
        'node:*',
        'npm:*',
      ]),
      types: ['core'],
      forbidden: ['npm:koa', 'npm:@koa', 'npm:commander', 'node:process'],
    },
    {
      room: 'http',
      files: 'apps/server/src/http',
      allowed: ['http', 'runtime', 'protocol', 'npm:koa', 'npm:@koa/router', 'npm:zod', 'node:*'],
      types: ['core', 'ports'],
      forbidden: ['node:fs', 'node:child_process', 'node:process'],
    },
    {
      room: 'config',
      files: 'apps/server/src/config',
      allowed: ['config', 'core', 'protocol', 'npm:yaml', 'npm:zod'].concat(
        ['node:crypto', 'node:fs', 'node:os', 'node:path', 'node:process', 'node:url', 'node:util'],
        // For `isIP`: it judges what was written and connects nowhere.
        ['node:net'],
      ),
      forbidden: [],
    },
    {
      room: 'server',
      files: 'apps/server/src/main*',
      allowed: ['server', 'core', 'ports', 'runtime', 'adapters', 'http', 'config'].concat([
        'apps/server/package.json',
        'protocol',
        'protocol-node',
        'node:*',
        'npm:*',
      ]),
      forbidden: ['node:process'],
    },
    {
      room: 'cli',
      files: 'apps/cli/src',
      allowed: ['cli', 'apps/cli/package.json', 'protocol', 'protocol-node', 'server'].concat([
        'node:*',
        'npm:commander',
        'npm:marked',
        'npm:@clack/prompts',
      ]),
      forbidden: [],
    },
    {
      // How a gateway is built is no part of it.
      room: 'gateway-scripts',
      files: 'gateways/*/scripts',
      allowed: ['scripts', 'node:*', 'npm:*'],
      forbidden: [],
    },
    ...Object.entries({
      loopback: [],
      telegram: ['npm:grammy'],
      discord: ['npm:discord.js'],
      slack: ['npm:@slack'],
    }).map(([name, library]) => ({
      room: `gateways/${name}`,
      files: `gateways/${name}`,
      allowed: [`gateways/${name}`, 'protocol', 'protocol-node', 'node:*', ...library].concat([
        'npm:marked',
        'npm:pino',
      ]),
      forbidden: [],
      // Its standard output is the line to the server.
      never: ['console.log', 'console.info', 'console.debug', 'console.table', 'console.dir'],
    })),
  ],
  onlyIn: [
    { use: 'process.env', under: ['apps/server'], rooms: ['config'] },
    {
      use: 'fetch',
      under: ['protocol', 'apps', 'gateways'],
      rooms: [
        'adapters/language-model',
        'adapters/tool-server',
        'cli/client',
        'gateways/loopback',
        'gateways/telegram',
        'gateways/discord',
        'gateways/slack',
      ],
    },
  ],
  packages: {
    '@duragent/protocol': 'protocol/src/index.ts',
    '@duragent/protocol/node': 'protocol/src/node.ts',
    '@duragent/server': 'apps/server/src/main.ts',
    duragent: 'apps/cli/src/main.ts',
    '@duragent/gateway-*': 'gateways/*/src/main.ts',
  },
};

/**
 * The one shape of the gateways: what each has in `src/`, tests apart. What one of them is made of
 * may stand in a folder of its name.
 */
const gatewayFiles = ['format.ts', 'gateway.ts', 'inbound.ts', 'main.ts', 'outbound.ts'];

const server = 'apps/server/src';
const sources = readSources(path.join(import.meta.dirname, '..'));

describe('the repository', () => {
  test('imports only what the table allows', () => {
    expect(sources.length).toBeGreaterThan(0);
    expect(sources.flatMap((source) => checkSource(table, source))).toEqual([]);
  });

  test('has one file of the command that imports the server', () => {
    expect(serverImporters(sources).length).toBeLessThanOrEqual(1);
  });

  test('has gateways of one shape', () => {
    expect(misshapenGateways(sources)).toEqual([]);
  });
});

/** Plants one line in a file that keeps to the table otherwise. */
function plant(file: string, text: string): string[] {
  return checkSource(table, { path: file, text: `export const before = 1;\n${text}\n` });
}

describe('the checker lets through', () => {
  test.each([
    ['protocol/src/gateway/media.ts', `import { z } from 'zod'; export * from '../events.ts';`],
    ['protocol/src/node.ts', `import { spawn } from 'node:child_process'; import './lines.ts';`],
    ['protocol/src/node.ts', `import ndjson from 'ndjson';`],
    ['protocol/src/node.ts', `import { Requests } from './node/requests.ts';`],
    ['protocol/src/node/requests.ts', `import 'node:stream'; import '../connection.ts';`],
    [`${server}/core/schedule.ts`, `import { Cron } from 'croner'; new Date(0).getTime();`],
    [`${server}/core/split.ts`, `import { lexer } from 'marked'; import './session/state.ts';`],
    [`${server}/core/policy.ts`, `export const f = (event: { process: string }) => event.process;`],
    [`${server}/ports/gateway.ts`, `import type { Turn } from '../core/session/state.ts';`],
    [`${server}/ports/gateway.ts`, `import { type Turn } from '../core/session/state.ts';`],
    [`${server}/runtime/hub.ts`, `import { decide } from '../core/session/decide.ts';`],
    [`${server}/runtime/hub.ts`, `import { randomUUID } from 'node:crypto'; Date.now();`],
    [`${server}/adapters/clock/system.ts`, `import type { Clock } from '../../ports/clock.ts';`],
    [`${server}/adapters/clock/system.ts`, `setTimeout(() => {}, 1);`],
    [`${server}/adapters/session-store/files.ts`, `import { open } from './append.ts';`],
    [`${server}/adapters/session-store/files.ts`, `import { open } from 'node:fs/promises';`],
    [`${server}/adapters/inbox/filesystem.ts`, `import { flags } from '../files/files.ts';`],
    [`${server}/adapters/language-model/ai-sdk.ts`, `await import('@ai-sdk/openai'); fetch('/');`],
    [`${server}/http/app.ts`, `import Koa from 'koa'; import Router from '@koa/router';`],
    [`${server}/http/routes/events.ts`, `import type { SessionLog } from '../../ports/store.ts';`],
    [`${server}/config/load.ts`, `import { parseDocument } from 'yaml'; process.env['HOME'];`],
    [`${server}/main.ts`, `import { systemClock } from './adapters/clock/system.ts';`],
    [`${server}/runtime/actor.test.ts`, `import { memory } from '../adapters/x/memory.ts';`],
    [
      `${server}/runtime/actor.test.ts`,
      `import { expect } from 'vitest'; setTimeout(() => {}, 1);`,
    ],
    [`${server}/ports/session-store.contract.ts`, `import fc from 'fast-check'; await 1;`],
    [`${server}/ports/x.test.ts`, `import { needs } from '../../../../test/support/needs.ts';`],
    [`${server}/adapters/x/y.int.test.ts`, `import { suite } from '../../ports/x.contract.ts';`],
    ['apps/cli/src/client/client.ts', `await fetch('http://127.0.0.1:8080/healthz');`],
    ['apps/cli/src/commands/serve.ts', `import { serve } from '@duragent/server';`],
    ['apps/cli/src/main.ts', `import manifest from '../package.json' with { type: 'json' };`],
    ['gateways/telegram/src/gateway.ts', `import { Bot } from 'grammy'; globalThis.fetch;`],
    ['gateways/slack/src/gateway.ts', `import { App } from '@slack/bolt'; console.error('x');`],
    ['apps/cli/scripts/build.ts', `import { build } from 'rolldown'; process.env['CI'];`],
  ])('%s: %s', (file, text) => {
    expect(plant(file, text)).toEqual([]);
  });
});

describe('the checker bites', () => {
  test.each([
    ['protocol/src/lines.ts', `import { Buffer } from 'node:buffer';`],
    ['protocol/src/lines.ts', `import fs from 'fs';`],
    ['protocol/src/lines.ts', `import { stdio } from './node.ts';`],
    ['protocol/src/lines.ts', `import { Requests } from './node/requests.ts';`],
    ['protocol/src/lines.ts', `import ndjson from 'ndjson';`],
    ['protocol/src/lines.ts', `import { serve } from '@duragent/server';`],
    ['protocol/src/lines.ts', `await fetch('/');`],
    ['protocol/src/node.ts', `import { serve } from '@duragent/server';`],
    ['protocol/src/node.ts', `import { main } from '@duragent/gateway-telegram';`],
    ['protocol/src/node.ts', `import { z } from 'zod';`],
    ['protocol/src/node/requests.ts', `import { z } from 'zod';`],

    [`${server}/core/context.ts`, `import path from 'node:path';`],
    [`${server}/core/context.ts`, `import type { Stats } from 'node:fs';`],
    [`${server}/core/context.ts`, `import { Hub } from '../runtime/hub.ts';`],
    [`${server}/core/context.ts`, `import type { Clock } from '../ports/clock.ts';`],
    [`${server}/core/context.ts`, `import yaml from 'yaml';`],
    [`${server}/core/context.ts`, `import { stdio } from '@duragent/protocol/node';`],
    [`${server}/core/context.ts`, `import { parse } from '../../../../protocol/src/lines.ts';`],
    [`${server}/core/context.ts`, `import { z } from '@duragent/protocol/src/lines.ts';`],
    [`${server}/core/context.ts`, `export async function f() {}`],
    [`${server}/core/context.ts`, `export const f = async () => {};`],
    [`${server}/core/context.ts`, `export const o = { async f() {} };`],
    [`${server}/core/context.ts`, `await f();`],
    [`${server}/core/context.ts`, `for await (const item of items) f(item);`],
    [`${server}/core/context.ts`, `Date.now();`],
    [`${server}/core/context.ts`, `f(globalThis.Date.now);`],
    [`${server}/core/context.ts`, `const { now } = Date;`],
    [`${server}/core/context.ts`, `new Date();`],
    [`${server}/core/context.ts`, `new Date;`],
    [`${server}/core/context.ts`, `Date();`],
    [`${server}/core/context.ts`, `performance.now();`],
    [`${server}/core/context.ts`, `Math.random();`],
    [`${server}/core/context.ts`, `Math['random']();`],
    [`${server}/core/context.ts`, `process.hrtime();`],
    [`${server}/core/context.ts`, `const { pid } = process;`],
    [`${server}/core/context.ts`, `crypto.randomUUID();`],
    [`${server}/core/context.ts`, `globalThis.crypto.randomUUID();`],
    [`${server}/core/context.ts`, `setTimeout(() => {}, 1);`],
    [`${server}/core/context.ts`, `const later = setInterval;`],
    [`${server}/core/context.ts`, `fetch('/');`],

    [`${server}/ports/clock.ts`, `import { decide } from '../core/session/decide.ts';`],
    [`${server}/ports/clock.ts`, `export * from '../core/session/state.ts';`],
    [`${server}/ports/clock.ts`, `import { system } from '../adapters/clock/system.ts';`],
    [`${server}/ports/clock.ts`, `import type { Hub } from '../runtime/hub.ts';`],
    [`${server}/ports/clock.ts`, `import type { Config } from '../config/config.ts';`],
    [`${server}/ports/clock.ts`, `import { setTimeout } from 'node:timers/promises';`],
    [`${server}/ports/clock.ts`, `import { suite } from './clock.contract.ts';`],
    [`${server}/ports/clock.ts`, `import { test } from 'vitest';`],

    [`${server}/runtime/hub.ts`, `import { system } from '../adapters/clock/system.ts';`],
    [
      `${server}/runtime/hub.ts`,
      `import type { Store } from '../adapters/session-store/files.ts';`,
    ],
    [`${server}/runtime/hub.ts`, `import { app } from '../http/app.ts';`],
    [`${server}/runtime/hub.ts`, `type Config = import('../config/config.ts').Config;`],
    [`${server}/runtime/hub.ts`, `import { serve } from '../main.ts';`],
    [`${server}/runtime/hub.ts`, `import fs from 'node:fs';`],
    [`${server}/runtime/hub.ts`, `import { open } from 'node:fs/promises';`],
    [`${server}/runtime/hub.ts`, `import { open } from 'fs/promises';`],
    [`${server}/runtime/hub.ts`, `import net from 'node:net';`],
    [`${server}/runtime/hub.ts`, `import http from 'node:http';`],
    [`${server}/runtime/hub.ts`, `import https from 'node:https';`],
    [`${server}/runtime/hub.ts`, `import { spawn } from 'node:child_process';`],
    [`${server}/runtime/hub.ts`, `await import('node:child_process');`],
    [`${server}/runtime/hub.ts`, `const { spawn } = require('node:child_process');`],
    [`${server}/runtime/hub.ts`, `import { setTimeout } from 'node:timers/promises';`],
    [`${server}/runtime/hub.ts`, `setTimeout(() => {}, 1);`],
    [`${server}/runtime/hub.ts`, `globalThis.setInterval(() => {}, 1);`],
    [`${server}/runtime/hub.ts`, `const { setTimeout: later } = globalThis;`],
    [`${server}/runtime/hub.ts`, `AbortSignal.timeout(1);`],
    [`${server}/runtime/hub.ts`, `process.env['HOME'];`],
    [`${server}/runtime/hub.ts`, `import pino from 'pino';`],
    [`${server}/runtime/tools/fetch.ts`, `await fetch('https://example.com');`],
    [`${server}/runtime/tools/load.ts`, `await import(name);`],

    [`${server}/adapters/clock/system.ts`, `import { Hub } from '../../runtime/hub.ts';`],
    [`${server}/adapters/clock/system.ts`, `import type { Hub } from '../../runtime/hub.ts';`],
    [`${server}/adapters/clock/system.ts`, `import { app } from '../../http/app.ts';`],
    [`${server}/adapters/clock/system.ts`, `import type { Config } from '../../config/config.ts';`],
    [`${server}/adapters/clock/system.ts`, `import { open } from '../session-store/append.ts';`],
    [`${server}/adapters/files/files.ts`, `import { open } from '../session-store/append.ts';`],
    [`${server}/adapters/inbox/filesystem.ts`, `import { seal } from '../session-store/files.ts';`],
    [`${server}/adapters/inbox/filesystem.ts`, `import { flags } from '../files-of-old/files.ts';`],
    [
      `${server}/adapters/clock/system.ts`,
      `import { decide } from '../../core/session/decide.ts';`,
    ],
    [`${server}/adapters/clock/system.ts`, `import Koa from 'koa';`],
    [`${server}/adapters/clock/system.ts`, `const { env } = process;`],
    [`${server}/adapters/clock/system.ts`, `import { env } from 'node:process';`],
    [`${server}/adapters/sandbox/bwrap.ts`, `fetch('/');`],

    [`${server}/http/app.ts`, `import { files } from '../adapters/session-store/files.ts';`],
    [`${server}/http/app.ts`, `import { decide } from '../core/session/decide.ts';`],
    [`${server}/http/app.ts`, `import { evolve } from '../core/session/evolve.ts';`],
    [`${server}/http/app.ts`, `import type { Config } from '../config/config.ts';`],
    [`${server}/http/app.ts`, `import express from 'express';`],
    [`${server}/http/app.ts`, `import fs from 'node:fs';`],
    [`${server}/http/app.ts`, `process.env.PORT;`],
    [`${server}/http/app.ts`, `globalThis.fetch('/');`],

    [`${server}/config/load.ts`, `import { Hub } from '../runtime/hub.ts';`],
    [`${server}/config/load.ts`, `import { files } from '../adapters/session-store/files.ts';`],
    [`${server}/config/load.ts`, `import { app } from '../http/app.ts';`],
    [`${server}/config/load.ts`, `import { spawn } from 'node:child_process';`],
    [`${server}/config/load.ts`, `import toml from 'toml';`],

    [`${server}/main.ts`, `import { main } from 'duragent';`],
    [`${server}/main.ts`, `import { main } from '@duragent/gateway-slack';`],
    [`${server}/main.ts`, `process.env.PORT;`],
    [`${server}/main.ts`, `fetch('/');`],
    [`${server}/stray.ts`, ``],
    ['apps/console/src/main.ts', ``],

    ['apps/cli/src/main.ts', `import { Hub } from '../../server/src/runtime/hub.ts';`],
    ['apps/cli/src/main.ts', `import { Hub } from '@duragent/server/runtime/hub';`],
    ['apps/cli/src/main.ts', `import yaml from 'yaml';`],
    ['apps/cli/src/main.ts', `import { main } from '@duragent/gateway-slack';`],
    ['apps/cli/src/commands/doctor.ts', `await fetch('/');`],

    ['gateways/telegram/src/gateway.ts', `import { serve } from '@duragent/server';`],
    ['gateways/telegram/src/gateway.ts', `import { run } from 'duragent';`],
    ['gateways/telegram/src/gateway.ts', `import { a } from '@duragent/gateway-slack';`],
    ['gateways/telegram/src/gateway.ts', `import { a } from '../../slack/src/format.ts';`],
    ['gateways/telegram/src/gateway.ts', `import { Client } from 'discord.js';`],
    ['gateways/telegram/src/gateway.ts', `console.log('hello');`],
    ['gateways/discord/src/gateway.ts', `import { App } from '@slack/bolt';`],
    ['gateways/discord/src/gateway.ts', `items.forEach(console.log);`],
    ['gateways/slack/src/gateway.ts', `import { Bot } from 'grammy';`],
    ['gateways/matrix/src/gateway.ts', ``],

    // Tests import more, but not everything.
    ['protocol/src/lines.test.ts', `import { serve } from '@duragent/server';`],
    [`${server}/core/context.test.ts`, `import { main } from 'duragent';`],
    ['gateways/slack/src/format.test.ts', `import { a } from '@duragent/gateway-discord';`],
  ])('%s: %s', (file, text) => {
    expect(plant(file, text)).not.toEqual([]);
  });

  test('at two files of the command that import the server', () => {
    const text = `import { serve } from '@duragent/server';`;
    const files = ['apps/cli/src/main.ts', 'apps/cli/src/commands/serve.ts'];
    expect(serverImporters(files.map((file) => ({ path: file, text })))).toEqual(files);
  });

  test('at a gateway of another shape', () => {
    const files = gatewayFiles.map((file) => ({ path: `gateways/slack/src/${file}`, text: '' }));
    const tests = { path: 'gateways/slack/src/format.test.ts', text: '' };
    expect(misshapenGateways([...files, tests])).toEqual([]);
    expect(misshapenGateways(files.slice(1))).toEqual(['slack']);
    const more = { path: 'gateways/slack/src/more.ts', text: '' };
    expect(misshapenGateways([...files, more])).toEqual(['slack']);
    const part = { path: 'gateways/slack/src/outbound/pace.ts', text: '' };
    expect(misshapenGateways([...files, part])).toEqual([]);
    const stray = { path: 'gateways/slack/src/more/pace.ts', text: '' };
    expect(misshapenGateways([...files, stray])).toEqual(['slack']);
  });

  test('and names file, line and what is wrong', () => {
    expect(plant(`${server}/core/policy.ts`, `import 'node:fs';`)).toEqual([
      `${server}/core/policy.ts:2: core never imports node:fs`,
    ]);
  });
});

function serverImporters(all: Source[]): string[] {
  return importersOf('@duragent/server', all).filter((file) => file.startsWith('apps/cli/src/'));
}

function misshapenGateways(all: Source[]): string[] {
  const files = new Map<string, string[]>();
  for (const source of all) {
    const match = /^gateways\/([^/]+)\/src\/(.+)$/.exec(source.path);
    if (match?.[1] === undefined || match[2] === undefined || match[2].endsWith('.test.ts'))
      continue;
    const [folder, inside] = match[2].split('/');
    if (inside !== undefined && gatewayFiles.includes(`${folder}.ts`)) continue;
    files.set(match[1], [...(files.get(match[1]) ?? []), match[2]]);
  }
  return [...files]
    .filter(([, names]) => names.sort().join() !== gatewayFiles.join())
    .map(([gateway]) => gateway);
}
