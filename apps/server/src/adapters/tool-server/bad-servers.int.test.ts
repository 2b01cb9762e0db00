import { readFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { javascriptOf } from '../../../../../test/support/javascript.ts';
import { until } from '../../../../../test/support/until.ts';
import type { ToolServer } from '../../ports/tool-server.ts';
import { systemClock } from '../clock/system.ts';
import type { ToolServerLimits } from './limits.ts';
import { mcpServers } from './mcp.ts';
import { spawnInGroups } from './server-process.ts';

const script = javascriptOf(new URL('scripted-server.testing.ts', import.meta.url));
const never = new AbortController().signal;

/** Short enough for a test, long enough for a busy machine. */
const quick: Partial<ToolServerLimits> = {
  endMs: 300,
  termMs: 200,
  backoffMs: 1,
  maxBackoffMs: 2,
  startBackoffMs: 1,
  maxStartsPerMinute: 1000,
};

let dir: string;
let file: string;
let opened: ToolServer[];
let pids: number[];
let logged: { fields: object; text: string }[];
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'duragent-mcp-'));
  file = path.join(dir, 'seen');
  opened = [];
  pids = [];
  logged = [];
});
afterEach(async () => {
  await Promise.all(opened.map((server) => server.close()));
  const left = pids.filter(isAlive);
  for (const pid of left) process.kill(-pid, 'SIGKILL');
  await rm(dir, { recursive: true });
  expect(left).toEqual([]);
});

function open(
  behaviour: string,
  limits: Partial<ToolServerLimits> = {},
  env: Record<string, string> = {},
): ToolServer {
  const log = (fields: object, text: string) => void logged.push({ fields, text });
  const spawnAny = spawnInGroups(() => () => undefined);
  const server = mcpServers({
    clock: systemClock,
    log: { debug: log, info: log, warn: log },
    version: '0',
    baseEnv: { ...process.env, SERVER_CANARY: 'must-not-be-handed-on' },
    spawnServer: async (argv, options) => {
      const child = await spawnAny(argv, options);
      pids.push(child.pid);
      return child;
    },
    fetch: () => Promise.reject(new Error('nothing is to be fetched')),
    limits: { ...quick, ...limits },
  }).open({
    agent: 'a',
    name: 'bad',
    place: { type: 'command', argv: [process.execPath, script, behaviour, file], cwd: dir, env },
  });
  opened.push(server);
  return server;
}

const call = (server: ToolServer, text = 'hello', timeoutMs = 20_000) =>
  server.call('echo', { text }, { signal: never, timeoutMs });

/** The lines that the server has noted. */
function seen(): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean);
  } catch {
    return [];
  }
}

describe('a server that is started', () => {
  test('runs only when it is needed', async () => {
    open('good');
    expect(pids).toEqual([]);
  });

  test('lists its tools once, also for many that ask at once', async () => {
    const server = open('good');
    const lists = await Promise.all([1, 2, 3].map(() => server.tools({ signal: never })));
    expect(lists.map(({ tools }) => tools.map(({ name }) => name))).toEqual(
      [1, 2, 3].map(() => ['echo', 'other']),
    );
    await server.tools({ signal: never });
    expect(seen().filter((line) => line.startsWith('tools/list'))).toHaveLength(1);
    expect(pids).toHaveLength(1);
  });

  test('gets an environment from a list, and its own', async () => {
    let env: Readonly<Record<string, string>> = {};
    const server = mcpServers({
      clock: systemClock,
      log: { debug: () => undefined, info: () => undefined, warn: () => undefined },
      version: '0',
      baseEnv: { PATH: '/bin', HOME: '/root', OPENAI_API_KEY: 'canary', LD_PRELOAD: 'x' },
      spawnServer: async (_, options) => {
        ({ env } = options);
        throw new Error('not today');
      },
      fetch,
      limits: quick,
    }).open({
      agent: 'a',
      name: 's',
      place: { type: 'command', argv: ['x'], cwd: '/', env: { TOKEN: 'own' } },
    });
    expect((await server.tools({ signal: never })).fault).toContain('not today');
    expect(env).toEqual({ PATH: '/bin', HOME: '/root', TOKEN: 'own' });
  });

  test('is ended when nobody calls it, keeps its tools, and is started by the next call', async () => {
    const server = open('good', { idleMs: 50 });
    const { tools } = await server.tools({ signal: never });
    await until('it has ended', () => !pids.some(isAlive));
    expect((await server.tools({ signal: never })).tools).toBe(tools);
    expect(pids).toHaveLength(1);
    expect(await call(server)).toMatchObject({ outcome: 'ok', content: 'said hello' });
    expect(pids).toHaveLength(2);
  });

  test('is not ended while a call is open', async () => {
    const server = open('hangs-at-call', { idleMs: 20 });
    const result = await call(server, 'x', 300);
    expect(result.outcome).toBe('timed_out');
    expect(pids).toHaveLength(1);
  });

  test.each(['stubborn', 'leaves-a-child'])(
    '%s: when it is closed nothing of it is left',
    async (behaviour) => {
      const server = open(behaviour);
      await server.tools({ signal: never });
      const child = Number(seen()[0]?.split(' ')[1]);
      expect(isAlive(child)).toBe(true);
      await server.close();
      expect(pids.some(isAlive)).toBe(false);
      await until('its child is gone', () => !isAlive(child));
    },
  );
});

describe('a server that cannot be started', () => {
  test('hangs: after the deadline its tools are none, with the reason', async () => {
    const server = open('hangs-at-handshake', { handshakeMs: 200 });
    const { tools, fault } = await server.tools({ signal: never });
    expect(tools).toEqual([]);
    expect(fault).toContain('did not answer within 0.2 s');
    expect(await call(server)).toMatchObject({
      outcome: 'error',
      content: expect.stringContaining('was not called'),
    });
  });

  test('does not exist: the reason is that of the system', async () => {
    const server = mcpServers({
      clock: systemClock,
      log: { debug: () => undefined, info: () => undefined, warn: () => undefined },
      version: '0',
      baseEnv: {},
      spawnServer: spawnInGroups(() => () => undefined),
      fetch,
    }).open({
      agent: 'a',
      name: 's',
      place: { type: 'command', argv: ['/no/such/program'], cwd: '/', env: {} },
    });
    expect((await server.tools({ signal: never })).fault).toContain('ENOENT');
  });

  test.each([
    ['ends-at-once', 'exit code 4; its last words: cannot find my settings'],
    ['crashes-at-handshake', 'exit code 5'],
    ['refuses-handshake', 'no'],
  ])('%s: the reason is told', async (behaviour, reason) => {
    const { tools, fault } = await open(behaviour).tools({ signal: never });
    expect(tools).toEqual([]);
    expect(fault).toContain(reason);
  });

  test('is not tried again at once', async () => {
    const server = open('ends-at-once', { startBackoffMs: 60_000 });
    await server.tools({ signal: never });
    const { fault } = await server.tools({ signal: never });
    expect(fault).toMatch(/cannot find my settings.*again in (60|59) s/);
    expect(pids).toHaveLength(1);
  });

  test('gives up soon when nobody waits any more', async () => {
    const stop = new AbortController();
    const server = open('hangs-at-handshake');
    const listing = server.tools({ signal: stop.signal });
    await until('it runs', () => pids.length > 0);
    stop.abort();
    expect(await listing).toMatchObject({ tools: [], fault: expect.any(String) });
  });

  test('is ended by closing while it starts', async () => {
    const server = open('hangs-at-handshake');
    const listing = server.tools({ signal: never });
    await until('it runs', () => pids.length > 0);
    await server.close();
    expect(pids.some(isAlive)).toBe(false);
    expect((await listing).tools).toEqual([]);
  });

  test('lists nothing in time: the fault says so', async () => {
    const server = open('hangs-at-list', { listMs: 100 });
    expect((await server.tools({ signal: never })).fault).toContain('cannot be listed');
  });

  test('lists nothing in time: it is not waited for again at once', async () => {
    const server = open('hangs-at-list', { listMs: 100, startBackoffMs: 60_000 });
    await server.tools({ signal: never });
    const { fault } = await server.tools({ signal: never });
    expect(fault).toMatch(/cannot be listed: did not answer.*again in (60|59) s/);
    expect(seen().filter((line) => line.startsWith('tools/list'))).toHaveLength(1);
  });

  test('lists nothing in time at first: it is asked again later, and then they are there', async () => {
    const server = open('hangs-at-first-list', { listMs: 100 });
    expect((await server.tools({ signal: never })).tools).toEqual([]);
    await until('it is asked again', async () => {
      const { tools, fault } = await server.tools({ signal: never });
      return fault === null && tools.length === 2;
    });
    expect(pids).toHaveLength(1);
  });
});

describe('a call of a server', () => {
  test('that hangs is timed out, and the server is told to stop', async () => {
    const server = open('hangs-at-call');
    expect(await call(server, 'x', 50)).toMatchObject({ outcome: 'timed_out' });
    await until('it was told', () => seen().some((line) => line.includes('cancelled')));
  });

  test('that hangs is cancelled at once, and the server is told to stop', async () => {
    const stop = new AbortController();
    const server = open('hangs-at-call');
    const result = server.call('echo', {}, { signal: stop.signal });
    await until('it was called', () => seen().some((line) => line.startsWith('tools/call')));
    stop.abort();
    expect(await result).toMatchObject({ outcome: 'cancelled' });
    await until('it was told', () => seen().some((line) => line.includes('cancelled')));
  });

  test('that reports progress all the time is timed out in the end', async () => {
    const said: string[] = [];
    const server = open('reports-progress', { progressFactor: 3 });
    const result = await server.call(
      'echo',
      {},
      { signal: never, timeoutMs: 200, onProgress: (text) => said.push(text) },
    );
    expect(result).toMatchObject({
      outcome: 'timed_out',
      content: expect.stringContaining('0.6 s'),
    });
    expect(said[0]).toBe('still at it (1)');
  });

  test('that crashes is an error with its last words, and is not made again', async () => {
    const server = open('crashes-at-call');
    expect(await call(server)).toMatchObject({
      outcome: 'error',
      content: expect.stringMatching(/exit code 7; its last words: out of cheese.*may have done/),
    });
    expect(seen().filter((line) => line.startsWith('tools/call'))).toHaveLength(1);
  });

  test('works again after a crash', async () => {
    const server = open('crashes-once');
    expect((await call(server)).outcome).toBe('error');
    expect(await call(server)).toMatchObject({ outcome: 'ok', content: 'said hello' });
  });

  test('that crashes every time is refused after a while', async () => {
    const server = open('crashes-at-call', { maxStartsPerMinute: 3, backoffMs: 0 });
    const results = [];
    for (let at = 0; at < 5; at += 1) results.push(await call(server));
    expect(pids).toHaveLength(3);
    expect(results.at(-1)?.content).toMatch(/again in \d+ s/);
  });

  test('that ends after its answer is answered', async () => {
    expect(await call(open('answers-and-ends'))).toMatchObject({ content: 'last words' });
  });

  test.each(['wrong-ids', 'answers-twice', 'talks-between', 'asks-us', 'floods-stderr'])(
    '%s: it gets its answer all the same, and so does the next',
    async (behaviour) => {
      const server = open(behaviour);
      expect(await call(server)).toMatchObject({ outcome: 'ok', content: 'said hello' });
      expect(await call(server, 'you')).toMatchObject({ outcome: 'ok', content: 'said you' });
      expect(pids).toHaveLength(1);
    },
  );

  test('written byte by byte is read whole', async () => {
    expect(await call(open('byte-by-byte'))).toMatchObject({ content: 'said hello ✓' });
  });

  test('half a line and the end is an error', async () => {
    expect(await call(open('half-a-line-and-ends'))).toMatchObject({
      outcome: 'error',
      content: expect.stringContaining('exit code 0'),
    });
  });

  test('invalid JSON is no answer, and the server goes on', async () => {
    const server = open('invalid-json');
    expect(await call(server, 'x', 200)).toMatchObject({ outcome: 'timed_out' });
    expect(pids.every(isAlive)).toBe(true);
  });

  test.each([
    ['no-answer-at-all', 'no MCP answer'],
    ['too-huge-result', 'cannot be read: it is 209'],
    ['deep-result', 'nested deeper than 64 levels'],
    ['error-answer', 'text is needed'],
  ])('%s: is an error at once', async (behaviour, reason) => {
    const server = open(behaviour);
    const result = await call(server);
    expect(result).toMatchObject({ outcome: 'error', content: expect.stringContaining(reason) });
    expect(pids.every(isAlive)).toBe(true);
  });

  test('a huge result is cut, with a note', async () => {
    const { outcome, content, truncated } = await call(open('huge-result'));
    expect(outcome).toBe('ok');
    expect(truncated).toBe(true);
    expect(Buffer.byteLength(content)).toBeLessThan(1024 * 1024 + 200);
    expect(content.slice(-80)).toMatch(/ä\n\[cut: the result has 4\.2 MB/);
    expect(content).not.toContain('\uFFFD');
  });

  test.each([
    ['floods-notifications', 'floods us'],
    ['floods-text', 'floods us'],
    ['floods-long-lines', 'cannot be read'],
  ])('%s: the server is killed, and memory does not grow', async (behaviour, reason) => {
    const server = open(behaviour);
    await server.tools({ signal: never });
    const before = process.memoryUsage().rss;
    const result = await call(server);
    expect(result).toMatchObject({
      outcome: 'error',
      content: expect.stringContaining(reason),
    });
    await until('it is gone', () => !pids.some(isAlive));
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
    expect(JSON.stringify(logged)).toContain('floods us');
  });

  test('floods-requests: what waits for it to read stays bounded', async () => {
    expect((await call(open('floods-requests'))).outcome).toBe('error');
    await until('it is gone', () => !pids.some(isAlive));
  });

  test('an endless line is not kept', async () => {
    const server = open('floods-one-line');
    await server.tools({ signal: never });
    const before = process.memoryUsage().rss;
    expect((await call(server)).outcome).toBe('error');
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
  });

  test('a server that closes its stdout is ended', async () => {
    const server = open('closes-stdout', { drainMs: 50 });
    expect(await call(server)).toMatchObject({
      outcome: 'error',
      content: expect.stringContaining('closed its stdout'),
    });
    await until('it is gone', () => !pids.some(isAlive));
  });

  test('a server that does not read is ended', async () => {
    const server = open('does-not-read');
    await call(server, 'x', 100);
    const large = 'x'.repeat(1024 * 1024);
    for (let at = 0; at < 8; at += 1) await call(server, large, 50);
    expect(JSON.stringify(logged)).toContain('does not read');
    expect(pids.map(isAlive)).toEqual([false, true]);
  });

  test('more calls than may be open are refused', async () => {
    const server = open('hangs-at-call', { maxCalls: 2 });
    await server.tools({ signal: never });
    const stop = new AbortController();
    const options = { signal: stop.signal };
    const two = [server.call('echo', {}, options), server.call('echo', {}, options)];
    expect(await call(server)).toMatchObject({
      outcome: 'error',
      content: expect.stringContaining('2 calls are open'),
    });
    stop.abort();
    expect((await Promise.all(two)).map(({ outcome }) => outcome)).toEqual([
      'cancelled',
      'cancelled',
    ]);
  });

  test('what the operator set for it is in no error and no log', async () => {
    const secret = 'secret-of-the-operator';
    const server = open('floods-stderr', {}, { TOKEN: secret });
    const result = await call(server);
    await server.close();
    expect(JSON.stringify([result, logged])).not.toContain(secret);
    expect(JSON.stringify(logged)).toContain('[redacted] oops');
    expect(logged.length).toBeLessThan(60);
    expect(JSON.stringify(seen())).not.toContain('must-not-be-handed-on');
  });
});

describe('the results of a server', () => {
  test.each([
    ['{}', '', 'ok'],
    ['{"content":"text"}', null, 'error'],
    ['{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}', 'a\nb', 'ok'],
    ['{"isError":true,"content":[{"type":"text","text":"no"}]}', 'no', 'error'],
    [
      '{"content":[{"type":"audio","mimeType":"audio/wav","data":"AAAA"}]}',
      '[audio/wav, 3 bytes]',
      'ok',
    ],
    ['{"content":[{"type":"video","data":"AAAA"}, null, 7]}', null, 'ok'],
    ['{"structuredContent":{"a":1},"content":[]}', '{"a":1}', 'ok'],
  ])('%s', async (result, content, outcome) => {
    const got = await call(open('odd-results'), result);
    expect(got.outcome).toBe(outcome);
    if (content !== null) expect(got.content).toBe(content);
  });
});

describe('the tools of a server', () => {
  test('are asked for again after it said that they changed', async () => {
    const server = open('changes-tools');
    await server.tools({ signal: never });
    await call(server);
    await until('the new ones are known', async () => {
      const { tools } = await server.tools({ signal: never });
      return tools.map(({ name }) => name).join() === 'echo,new';
    });
  });

  test('are asked for again after it was started anew, before it is called', async () => {
    const server = open('changes-when-restarted');
    const first = await server.tools({ signal: never });
    await call(server);
    await until('it is gone', () => !pids.some(isAlive));
    const known = await server.tools({ signal: never });
    expect(known.tools).toBe(first.tools);
    const current = await server.tools({ signal: never, current: true });
    expect(current.tools[0]?.description).not.toBe(first.tools[0]?.description);
  });

  test('that cannot be offered are left out, and the log says which', async () => {
    const { tools, fault } = await open('bad-tools').tools({ signal: never });
    expect(fault).toBeNull();
    expect(tools.map(({ name }) => name)).toEqual([
      'good',
      'no-schema',
      'array-schema',
      '__proto__',
      'hints',
      'lies',
      'last',
    ]);
    const byName = new Map(tools.map((tool) => [tool.name, tool]));
    expect(byName.get('good')?.description).toBe('The tool good');
    expect(byName.get('no-schema')?.parameters).toEqual({ type: 'object' });
    expect(byName.get('array-schema')?.parameters).toEqual({ type: 'object' });
    expect(byName.get('hints')).toMatchObject({ readOnly: true, idempotent: true });
    expect(byName.get('lies')).toMatchObject({ readOnly: false, description: '' });
    const notes = logged.map(({ text }) => text).filter((text) => text.startsWith('tool server:'));
    expect(notes).toHaveLength(10);
  });

  test('are 128 at most', async () => {
    const { tools } = await open('many-tools').tools({ signal: never });
    expect(tools).toHaveLength(128);
  });

  test('do not come in more pages than are read', async () => {
    const server = open('endless-pages', { maxListPages: 5 });
    expect(await server.tools({ signal: never })).toEqual({ tools: [], fault: null });
    expect(seen().filter((line) => line.startsWith('page'))).toHaveLength(5);
    rmSync(file);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
