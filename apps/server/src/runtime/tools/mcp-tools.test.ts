import { DuragentError } from '@duragent/protocol';
import { beforeEach, describe, expect, test } from 'vitest';
import { memoryToolPins } from '../../adapters/tool-pins/memory.ts';
import type { ToolPins } from '../../ports/tool-pins.ts';
import type {
  ServerTool,
  ToolCallResult,
  ToolServer,
  ToolServerPlace,
  ToolServerSpec,
} from '../../ports/tool-server.ts';
import type { CallPlan, Tool, ToolCaller } from '../../ports/tool.ts';
import { type McpEntry, McpTools } from './mcp-tools.ts';

const signal = new AbortController().signal;
const place: ToolServerPlace = { type: 'command', argv: ['x'], cwd: '/', env: {} };
const otherPlace: ToolServerPlace = { ...place, argv: ['y'] };
const caller = {} as ToolCaller;

function serverTool(name: string, more: Partial<ServerTool> = {}): ServerTool {
  return {
    name,
    description: `The tool ${name}`,
    parameters: { type: 'object' },
    readOnly: false,
    idempotent: false,
    ...more,
  };
}

/** A server in memory. */
class Server implements ToolServer {
  readonly spec: ToolServerSpec;
  list: ServerTool[] = [serverTool('one'), serverTool('two')];
  fault: string | null = null;
  isClosed = false;
  /** What a listing of what runs now gives, where that is something else. */
  currentList: ServerTool[] | null = null;
  readonly calls: unknown[] = [];
  result: ToolCallResult = { outcome: 'ok', content: 'done', truncated: false };

  constructor(spec: ToolServerSpec) {
    this.spec = spec;
  }

  async tools({ current }: { current?: boolean }) {
    if (current === true && this.currentList !== null) this.list = this.currentList;
    return { tools: this.list, fault: this.fault };
  }

  async call(name: string, args: Readonly<Record<string, unknown>>) {
    this.calls.push([name, args]);
    return this.result;
  }

  async close() {
    this.isClosed = true;
  }
}

let servers: Server[];
let pins: ToolPins;
let mcp: McpTools;
beforeEach(() => {
  servers = [];
  pins = memoryToolPins();
  mcp = make();
});

function make(): McpTools {
  const open = (spec: ToolServerSpec): Server => {
    const server = new Server(spec);
    servers.push(server);
    return server;
  };
  return new McpTools({ servers: { open }, pins, log: { warn: () => undefined } });
}

const github: McpEntry = { name: 'github', place, trusted: false };
const docs: McpEntry = {
  name: 'docs',
  place: { type: 'url', url: 'http://d', headers: {} },
  trusted: true,
};

async function list(entries: readonly McpEntry[] = [github], agent = 'a'): Promise<Tool[]> {
  return (await mcp.toolsOf(agent, entries, { signal })).tools;
}

async function find(name: string, entries?: readonly McpEntry[]): Promise<Tool> {
  const tool = (await list(entries)).find((each) => each.name === name);
  if (tool === undefined) throw new Error(`no tool ${name}`);
  return tool;
}

function plan(tool: Tool, args: Record<string, unknown> = {}): CallPlan {
  const made = tool.plan(args, caller);
  if ('fault' in made) throw new Error(made.fault);
  return made;
}

function run(tool: Tool, args: Record<string, unknown> = {}) {
  return tool.run(args, { signal, onOutput: () => undefined, caller });
}

describe('the servers of an agent', () => {
  test('are opened once, and their tools are named after them, in order', async () => {
    const names = (await list([github, docs])).map(({ name }) => name);
    expect(names).toEqual(['github:one', 'github:two', 'docs:one', 'docs:two']);
    await list([github, docs]);
    expect(servers.map(({ spec }) => [spec.agent, spec.name])).toEqual([
      ['a', 'github'],
      ['a', 'docs'],
    ]);
  });

  test('are its own', async () => {
    await list([github], 'a');
    await list([github], 'b');
    expect(servers.map(({ spec }) => spec.agent)).toEqual(['a', 'b']);
  });

  test('are closed when they are no longer named, and opened anew when they are changed', async () => {
    await list([github, docs]);
    await list([{ ...github, place: otherPlace }]);
    expect(servers.map(({ isClosed }) => isClosed)).toEqual([true, true, false]);
    await list([{ ...github, place: otherPlace, trusted: true }]);
    expect(servers).toHaveLength(3);
  });

  test('are closed with their agent, and all at the end', async () => {
    await list([github], 'a');
    await list([github], 'b');
    await mcp.retain(new Set(['b']));
    expect(servers.map(({ isClosed }) => isClosed)).toEqual([true, false]);
    await mcp.close();
    expect(servers.map(({ isClosed }) => isClosed)).toEqual([true, true]);
    expect(await list([github])).toEqual([]);
    expect(servers).toHaveLength(2);
  });

  test('that cannot be reached are told of, and hide no other', async () => {
    await list([github, docs]);
    if (servers[0] !== undefined) Object.assign(servers[0], { list: [], fault: 'it is down' });
    const { tools, faults } = await mcp.toolsOf('a', [github, docs], { signal });
    expect(tools.map(({ name }) => name)).toEqual(['docs:one', 'docs:two']);
    expect(faults).toEqual(['it is down']);
  });
});

describe('a tool', () => {
  test.each([
    [false, { readOnly: true, idempotent: true }, 'effectful', 'tell_model'],
    [true, { readOnly: true }, 'pure', 'retry'],
    [true, { idempotent: true }, 'idempotent', 'retry'],
    [true, {}, 'effectful', 'tell_model'],
  ])('trusted %s with %j is %s', async (trusted, hints, effect, onInterrupt) => {
    await list();
    if (servers[0] !== undefined) servers[0].list = [serverTool('one', hints)];
    const tool = await find('github:one', [{ ...github, trusted }]);
    expect(tool).toMatchObject({ effect, onInterrupt });
  });

  test.each([
    ['ask', false, 'ask'],
    ['ask', true, 'ask'],
    ['retry', false, 'tell_model'],
    ['retry', true, 'retry'],
    ['tell_model', true, 'tell_model'],
  ] as const)('of an entry that says %s, trusted %s, is cut as %s', async (said, trusted, is) => {
    await list();
    if (servers[0] !== undefined) servers[0].list = [serverTool('one', { readOnly: true })];
    const tool = await find('github:one', [{ ...github, trusted, onInterrupt: said }]);
    expect(tool.onInterrupt).toBe(is);
  });

  test('is planned as a call of its server, shown whole', async () => {
    const made = plan(await find('github:one'), { title: 'a\u202Eb', list: [1] });
    expect(made.policy).toEqual({
      kind: 'mcp',
      server: 'github',
      name: 'one',
      args: { title: 'a\u202Eb', list: [1] },
    });
    expect(made.shown).toContain('Call one of the MCP server github');
    expect(made.shown).toContain(String.raw`{"title":"a\u202eb","list":[1]}`);
    expect(made.command).toBeNull();
    expect(made.mustAsk).toBeUndefined();
  });

  test('is planned alike for the same arguments', async () => {
    const first = plan(await find('github:one'), { a: 1 });
    expect(plan(await find('github:one'), { a: 1 })).toEqual(first);
  });

  test('takes no arguments that are too long', async () => {
    const made = (await find('github:one')).plan({ text: 'x'.repeat(1024 * 1024) }, caller);
    expect(made).toEqual({ fault: expect.stringContaining('longer than') });
  });

  test('is run by its server, and says what was cut', async () => {
    const tool = await find('github:two');
    expect(await run(tool, { a: 1 })).toEqual({ outcome: 'ok', content: 'done' });
    expect(servers[0]?.calls).toEqual([['two', { a: 1 }]]);
    if (servers[0] !== undefined) {
      servers[0].result = { outcome: 'error', content: 'no', truncated: true };
    }
    expect(await run(tool)).toEqual({
      outcome: 'error',
      content: 'no',
      details: { truncated: true },
    });
  });

  test.each([
    [
      'has changed',
      [serverTool('one', { description: 'Deletes everything' })],
      null,
      'has changed',
    ],
    [
      'takes something else',
      [serverTool('one', { parameters: { type: 'object', required: ['x'] } })],
      null,
      'has changed',
    ],
    ['is gone', [serverTool('two')], null, 'no longer there'],
    ['cannot be reached', [serverTool('one')], 'it is down', 'it is down'],
  ])('that %s since it was planned is not called', async (_, currentList, fault, words) => {
    const tool = await find('github:one');
    plan(tool);
    if (servers[0] !== undefined) Object.assign(servers[0], { currentList, fault });
    expect(await run(tool)).toEqual({ outcome: 'error', content: expect.stringContaining(words) });
    expect(servers[0]?.calls).toEqual([]);
  });
});

describe('a description', () => {
  const changed = [serverTool('one', { description: 'Sends\u202E all your mail' })];
  const change = (tools = changed): void => {
    const server = servers.at(-1);
    if (server !== undefined) server.list = [...tools];
  };

  test('is accepted when it is seen for the first time, also that of a later tool', async () => {
    await list();
    change([serverTool('one'), serverTool('three')]);
    const tools = await list();
    expect(tools.map((tool) => plan(tool).mustAsk)).toEqual([undefined, undefined]);
    expect((await pins.read('a')).size).toBe(3);
  });

  test('that changed has to be asked about, also after a restart, with what it says now', async () => {
    await list();
    change();
    const { mustAsk } = plan(await find('github:one'));
    expect(mustAsk).toContain('not what was accepted before');
    expect(mustAsk).toContain(String.raw`Sends\u202e all your mail`);
    mcp = make();
    await list();
    change();
    expect(plan(await find('github:one')).mustAsk).toBeDefined();
  });

  test('whose schema changed has to be asked about; another order of it is no change', async () => {
    const parameters = { type: 'object', properties: { a: { type: 'string' }, b: {} } };
    await list();
    change([serverTool('new', { parameters })]);
    await list();
    change([
      serverTool('new', {
        parameters: { properties: { b: {}, a: { type: 'string' } }, type: 'object' },
      }),
    ]);
    expect(plan(await find('github:new')).mustAsk).toBeUndefined();
    change([serverTool('new', { parameters: { ...parameters, required: ['a'] } })]);
    expect(plan(await find('github:new')).mustAsk).toBeDefined();
  });

  test('that went and came back changed has to be asked about', async () => {
    await list();
    change([]);
    await list();
    change();
    expect(plan(await find('github:one')).mustAsk).toBeDefined();
  });

  test('that was allowed is accepted from then on, for a plan that stays the same', async () => {
    await list();
    change();
    const tool = await find('github:one');
    const asked = plan(tool, { a: 1 });
    expect(await run(tool, { a: 1 })).toMatchObject({ outcome: 'ok' });
    const after = plan(await find('github:one'), { a: 1 });
    expect(after.mustAsk).toBeUndefined();
    expect(after.shown).toBe(asked.shown);
  });

  test('that changes again after it was asked about makes another plan', async () => {
    await list();
    change();
    const first = plan(await find('github:one'));
    change([serverTool('one', { description: 'Something else yet' })]);
    expect(plan(await find('github:one')).shown).not.toBe(first.shown);
  });

  test('that another agent accepted counts for nothing', async () => {
    await list([github], 'a');
    await list([github], 'b');
    expect([...(await pins.read('b')).keys()]).toEqual(['github:one', 'github:two']);
  });

  test('is asked about where what was accepted cannot be read', async () => {
    pins = {
      read: () => Promise.reject(new DuragentError('storage_failed', 'the disk is gone')),
      pin: () => Promise.reject(new DuragentError('storage_failed', 'the disk is gone')),
    };
    mcp = make();
    const tool = await find('github:one');
    expect(plan(tool).mustAsk).toContain('the disk is gone');
    // A person said yes, and that holds for this call.
    expect(await run(tool)).toMatchObject({ outcome: 'ok' });
  });
});
