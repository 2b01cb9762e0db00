import { once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { until } from '../../../../../test/support/until.ts';
import type { ToolServer } from '../../ports/tool-server.ts';
import { systemClock } from '../clock/system.ts';
import type { ToolServerLimits } from './limits.ts';
import { mcpServers } from './mcp.ts';

const never = new AbortController().signal;

type Message = { id?: number; method?: string; params?: Record<string, unknown> };
/** What is done with one message; `undefined`: what a good server does. */
type Behaviour = (
  message: Message,
  response: ServerResponse,
  request: IncomingMessage,
) => boolean | undefined;

let servers: Server[];
let opened: ToolServer[];
let logged: unknown[];
beforeEach(() => {
  servers = [];
  opened = [];
  logged = [];
});
afterEach(async () => {
  await Promise.all(opened.map((server) => server.close()));
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }
});

async function listen(onRequest: RequestListener, port = 0): Promise<string> {
  const server = createServer(onRequest).listen(port, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A server that does well what `behaviour` leaves to it. */
function scripted(behaviour: Behaviour): RequestListener {
  return (request, response) => {
    void (async () => {
      if (request.method !== 'POST') {
        if (behaviour({ method: request.method ?? '' }, response, request) === true) return;
        response.writeHead(405).end();
        return;
      }
      const message = JSON.parse(await text(request)) as Message;
      if (behaviour(message, response, request) === true) return;
      if (message.id === undefined) {
        response.writeHead(202).end();
        return;
      }
      reply(response, message, goodResult(message));
    })();
  };
}

function goodResult({ method, params }: Message): object {
  switch (method) {
    case 'initialize':
      return {
        protocolVersion: '2025-11-25',
        capabilities: { tools: {} },
        serverInfo: { name: 'scripted', version: '1' },
      };
    case 'tools/list':
      return { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] };
    default:
      return { content: [{ type: 'text', text: JSON.stringify(params?.['arguments']) }] };
  }
}

function reply(response: ServerResponse, { id }: Message, result: object): void {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ jsonrpc: '2.0', id, result }));
}

function open(
  url: string,
  limits: Partial<ToolServerLimits> = {},
  headers: Record<string, string> = {},
): ToolServer {
  const log = (fields: object, words: string) => void logged.push({ fields, words });
  const server = mcpServers({
    clock: systemClock,
    log: { debug: log, info: log, warn: log },
    version: '0',
    baseEnv: {},
    spawnServer: () => Promise.reject(new Error('nothing is to be started')),
    fetch,
    limits: { endMs: 200, backoffMs: 1, maxBackoffMs: 2, startBackoffMs: 0, ...limits },
  }).open({ agent: 'a', name: 'web', place: { type: 'url', url, headers } });
  opened.push(server);
  return server;
}

const call = (server: ToolServer, timeoutMs = 20_000) =>
  server.call('echo', { a: 1 }, { signal: never, timeoutMs });
const answer = { outcome: 'ok', content: '{"a":1}', truncated: false };

describe('a server at a URL', () => {
  test('that answers in JSON is called', async () => {
    expect(await call(open(await listen(scripted(() => undefined))))).toEqual(answer);
  });

  test('is sent the headers of its place, and name and password of its URL', async () => {
    const seen: unknown[] = [];
    const url = await listen(
      scripted((_, __, { headers }) => void seen.push([headers.authorization, headers['x-key']])),
    );
    const withUser = url.replace('://', '://ann:p%40ss@');
    expect(await call(open(withUser, {}, { 'x-key': 'k' }))).toEqual(answer);
    const basic = `Basic ${Buffer.from('ann:p@ss').toString('base64')}`;
    expect(seen.length).toBeGreaterThan(1);
    expect(seen.every((it) => JSON.stringify(it) === JSON.stringify([basic, 'k']))).toBe(true);
  });

  test('that nobody listens at is a fault without its secrets', async () => {
    const url = await listen(() => undefined);
    servers[0]?.closeAllConnections();
    servers[0]?.close();
    servers = [];
    const server = open(
      `${url}/mcp/path-secret?key=query-secret`,
      {},
      { 'x-key': 'header-secret' },
    );
    const { fault } = await server.tools({ signal: never });
    expect(fault).toContain('ECONNREFUSED');
    expect(await call(server)).toMatchObject({ outcome: 'error' });
    expect(JSON.stringify([fault, logged])).not.toMatch(/path-secret|query-secret|header-secret/);
  });

  test('that says our secrets is not quoted with them', async () => {
    const url = await listen((request, response) => {
      response.writeHead(500);
      response.end(`cannot serve ${request.url ?? ''} with ${String(request.headers['x-key'])}`);
    });
    const server = open(
      `${url}/mcp/path-secret?key=query-secret`,
      {},
      { 'x-key': 'header-secret' },
    );
    const { fault } = await server.tools({ signal: never });
    expect(fault).toContain('HTTP 500');
    expect(JSON.stringify([fault, logged])).not.toMatch(/path-secret|query-secret|header-secret/);
  });

  test('that refuses us says what to check', async () => {
    const url = await listen((_, response) => void response.writeHead(401).end());
    expect((await open(url).tools({ signal: never })).fault).toContain('check the credentials');
  });

  test('that redirects elsewhere is not followed', async () => {
    let elsewhere = 0;
    const other = await listen((_, response) => {
      elsewhere += 1;
      response.end();
    });
    for (const status of [301, 302, 307, 308]) {
      const url = await listen((_, response) => {
        response.writeHead(status, { location: `${other}/mcp` }).end();
      });
      expect((await open(url).tools({ signal: never })).fault).not.toBeNull();
    }
    expect(elsewhere).toBe(0);
  });

  test('that does not answer the handshake is a fault after the deadline', async () => {
    const server = open(await listen(() => undefined), { handshakeMs: 100 });
    expect((await server.tools({ signal: never })).fault).toContain('within 0.1 s');
  });

  test('that is closed says goodbye once', async () => {
    const methods: string[] = [];
    const url = await listen(
      scripted((message, response, request) => {
        methods.push(request.method ?? '');
        if (message.method === 'initialize') response.setHeader('mcp-session-id', 's1');
        return undefined;
      }),
    );
    const server = open(url);
    await call(server);
    await server.close();
    await server.close();
    expect(methods.filter((method) => method === 'DELETE')).toHaveLength(1);
  });

  test('that has forgotten us is greeted anew, and called once', async () => {
    let sessions = 0;
    let calls = 0;
    const url = await listen(
      scripted((message, response, request) => {
        if (message.method === 'initialize') {
          sessions += 1;
          response.setHeader('mcp-session-id', `s${sessions}`);
          return undefined;
        }
        if (message.method !== 'tools/call') return undefined;
        if (request.headers['mcp-session-id'] === 's1' && calls > 0) {
          response.writeHead(404).end();
          return true;
        }
        calls += 1;
        return undefined;
      }),
    );
    const server = open(url);
    expect(await call(server)).toEqual(answer);
    expect(await call(server)).toEqual(answer);
    expect([sessions, calls]).toEqual([2, 2]);
  });

  test('that always refuses calls is an error', async () => {
    const url = await listen(
      scripted(({ method }, response) => {
        if (method !== 'tools/call') return undefined;
        response.writeHead(404).end();
        return true;
      }),
    );
    expect(await call(open(url))).toMatchObject({
      outcome: 'error',
      content: expect.stringContaining('was not called'),
    });
  });

  test('whose connection ends during a call is an error at once, and is not called again', async () => {
    for (const headers of [{}, { 'content-type': 'text/event-stream' }]) {
      let calls = 0;
      const url = await listen(
        scripted(({ method }, response) => {
          if (method !== 'tools/call') return undefined;
          calls += 1;
          if ('content-type' in headers) {
            response.writeHead(200, headers);
            response.write(': wait\n\n');
            setImmediate(() => response.destroy());
          } else {
            response.destroy();
          }
          return true;
        }),
      );
      expect((await call(open(url))).outcome).toBe('error');
      expect(calls).toBe(1);
    }
  });

  test('whose stream ends without an answer is an error at once', async () => {
    const url = await listen(
      scripted(({ method }, response) => {
        if (method !== 'tools/call') return undefined;
        response.writeHead(200, { 'content-type': 'text/event-stream' }).end(': nothing\n\n');
        return true;
      }),
    );
    expect(await call(open(url))).toMatchObject({
      outcome: 'error',
      content: expect.stringContaining('ended before the answer'),
    });
  });

  test.each(['application/json', 'text/event-stream'])(
    'that answers without end in %s is not read to the end',
    async (type) => {
      let sent = 0;
      const url = await listen(
        scripted(({ method }, response) => {
          if (method !== 'tools/call') return undefined;
          response.writeHead(200, { 'content-type': type });
          response.write(type === 'application/json' ? '"' : 'data: ');
          const chunk = Buffer.alloc(1024 * 1024, 'x');
          Readable.from(
            (function* () {
              for (let at = 0; at < 100; at += 1) {
                sent += chunk.length;
                yield chunk;
              }
            })(),
          ).pipe(response);
          return true;
        }),
      );
      expect((await call(open(url))).outcome).toBe('error');
      expect(sent).toBeLessThan(60 * 1024 * 1024);
    },
  );

  test('whose stream floods us is left', async () => {
    const url = await listen(
      scripted(({ method }, response) => {
        if (method !== 'tools/call') return undefined;
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        const event = `data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"x"}}\n\n`;
        Readable.from(
          (function* () {
            for (;;) yield event.repeat(1000);
          })(),
        ).pipe(response);
        return true;
      }),
    );
    expect(await call(open(url))).toMatchObject({
      outcome: 'error',
      content: expect.stringContaining('floods us'),
    });
  });

  test('whose stream of changes ends at once is not asked again at once', async () => {
    let streams = 0;
    const url = await listen(
      scripted(({ method }, response) => {
        if (method !== 'GET') return undefined;
        streams += 1;
        response.writeHead(200, { 'content-type': 'text/event-stream' }).end('retry: 0\n\n');
        return true;
      }),
    );
    const server = open(url, { backoffMs: 100, maxBackoffMs: 60_000 });
    await server.tools({ signal: never });
    await until('it was asked again', () => streams >= 2);
    for (let at = 0; at < 20; at += 1) expect(await call(server)).toEqual(answer);
    expect(streams).toBeLessThan(6);
  });

  test('that answers in no way that is known is an error', async () => {
    const url = await listen(
      scripted(({ method }, response) => {
        if (method !== 'tools/call') return undefined;
        response.writeHead(200, { 'content-type': 'text/html' }).end('<html>');
        return true;
      }),
    );
    expect((await call(open(url))).outcome).toBe('error');
  });

  test('that speaks only the newest version is called in it', async () => {
    const handler = createMcpHandler(
      () => {
        const server = new McpServer({ name: 'newest', version: '1' });
        server.registerTool(
          'echo',
          { description: 'Says it', inputSchema: z.object({ a: z.number() }) },
          ({ a }) => ({ content: [{ type: 'text', text: `got ${a}` }] }),
        );
        return server;
      },
      { legacy: 'reject' },
    );
    const url = await listen((request, response) => {
      void (async () => {
        const headers = new Headers(
          Object.entries(request.headers).map(([name, value]): [string, string] => [
            name,
            String(value),
          ]),
        );
        const body = request.method === 'POST' ? { body: await text(request) } : {};
        const given = await handler.fetch(
          new Request(`http://${headers.get('host') ?? ''}${request.url ?? ''}`, {
            method: request.method ?? 'GET',
            headers,
            ...body,
          }),
        );
        response.writeHead(given.status, Object.fromEntries(given.headers));
        if (given.body === null) response.end();
        else Readable.fromWeb(given.body).pipe(response);
      })();
    });
    const server = open(url);
    const { tools, fault } = await server.tools({ signal: never });
    expect(fault).toBeNull();
    expect(tools).toMatchObject([{ name: 'echo', description: 'Says it' }]);
    expect(await call(server)).toEqual({ outcome: 'ok', content: 'got 1', truncated: false });
  });
});
