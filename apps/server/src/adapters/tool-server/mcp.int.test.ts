import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll } from 'vitest';
import { until } from '../../../../../test/support/until.ts';
import { toolServerContract } from '../../ports/tool-server.contract.ts';
import { systemClock } from '../clock/system.ts';
import { mcpServers } from './mcp.ts';
import { type SpawnServer, spawnInGroups } from './server-process.ts';

/** The reference server, which others wrote. */
const everything = createRequire(import.meta.url).resolve(
  '@modelcontextprotocol/server-everything/dist/index.js',
);

function servers(spawnServer: SpawnServer) {
  const ignore = () => undefined;
  return mcpServers({
    clock: systemClock,
    log: { debug: ignore, info: ignore, warn: ignore },
    version: '0',
    baseEnv: process.env,
    spawnServer,
    fetch,
  });
}

toolServerContract('the reference server over stdio', async () => {
  const pids: number[] = [];
  const spawnAny = spawnInGroups(() => () => undefined);
  const server = servers(async (argv, options) => {
    const child = await spawnAny(argv, options);
    pids.push(child.pid);
    return child;
  }).open({
    agent: 'a',
    name: 'everything',
    place: { type: 'command', argv: [process.execPath, everything], cwd: '/', env: {} },
  });
  const isRunning = async () => pids.some(isAlive);
  return { server, isRunning, dispose: async () => {} };
});

let process_: ChildProcess;
let url: string;
beforeAll(async () => {
  const port = await freePort();
  process_ = spawn(process.execPath, [everything, 'streamableHttp'], {
    env: { PATH: process.env['PATH'], PORT: String(port) },
    stdio: 'ignore',
  });
  url = `http://127.0.0.1:${port}/mcp`;
  await until('the reference server listens', async () => (await fetch(url)).status === 400);
});
afterAll(async () => {
  process_.kill('SIGKILL');
  if (process_.exitCode === null && process_.signalCode === null) await once(process_, 'exit');
});

toolServerContract('the reference server over Streamable HTTP', async () => {
  let sessions = 0;
  const server = mcpServers({
    clock: systemClock,
    log: { debug: () => undefined, info: () => undefined, warn: () => undefined },
    version: '0',
    baseEnv: {},
    spawnServer: () => Promise.reject(new Error('nothing is to be started')),
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      if (init?.method === 'DELETE') sessions -= 1;
      else if (response.headers.has('mcp-session-id') && isHandshake(init)) sessions += 1;
      return response;
    },
  }).open({ agent: 'a', name: 'everything', place: { type: 'url', url, headers: {} } });
  return { server, isRunning: async () => sessions > 0, dispose: async () => {} };
});

function isHandshake(init: RequestInit | undefined): boolean {
  return typeof init?.body === 'string' && init.body.includes('"initialize"');
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server: Server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
