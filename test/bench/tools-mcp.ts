import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { systemClock } from '../../apps/server/src/adapters/clock/system.ts';
import { memoryToolPins } from '../../apps/server/src/adapters/tool-pins/memory.ts';
import { mcpServers } from '../../apps/server/src/adapters/tool-server/mcp.ts';
import { spawnInGroups } from '../../apps/server/src/adapters/tool-server/server-process.ts';
import { testAgent } from '../../apps/server/src/runtime/testing.ts';
import { McpTools } from '../../apps/server/src/runtime/tools/mcp-tools.ts';
import type { Row, Size } from './rows.ts';
import { compare, median, takePairs } from './statistics.ts';
import type { Workshop } from './workshop.ts';

/** Calls between two of the other client. */
const BLOCK = 50;
const WARM_UP_BLOCKS = 20;
const SAID = 'The quick brown fox jumps over the lazy dog.';
const EXPECTED = `Echo: ${SAID}`;

/** Calls of an MCP server, as agents make them, beside those of the bare client. */
export async function measureMcp(workshop: Workshop, size: Size): Promise<Row[]> {
  const program = fileURLToPath(
    import.meta.resolve('@modelcontextprotocol/server-everything/dist/index.js'),
  );
  const argv = [process.execPath, program, 'stdio'];
  await using duragent = await openDuragent(workshop, argv);
  await using bare = await openBare(workshop, argv);
  for (let block = 0; block < WARM_UP_BLOCKS; block++) {
    await blockOf(duragent.call);
    await blockOf(bare.call);
  }
  const pairs = await takePairs(
    size.mcpPairs,
    () => blockOf(duragent.call),
    () => blockOf(bare.call),
  );
  return [
    {
      figure: 'a call of an MCP server over stdio',
      against: 'bare client',
      unit: 'ms',
      comparison: compare(pairs),
      goal: { sense: 'at most', ratio: 1.3 },
      whenMissed:
        'what comes is read by bounded readers before the client gets it, each call has a deadline of its own that progress puts off, and what is shown to people is made of each.',
      meaning: `The tool \`echo\` of the reference server (\`@modelcontextprotocol/server-everything\`), one call behind the other: planning and running it as agents have it (what people would be shown, whether it is as it was accepted, deadlines, bounds, the result as text), from source, without policy, records and sandbox. Against \`callTool\` of the client of \`@modelcontextprotocol/client\` with its own transport. Each has a process of the server, and both clients are in one process. A pair is the median of ${BLOCK} calls of each.`,
    },
  ];
}

interface Caller extends AsyncDisposable {
  call: () => Promise<void>;
}

async function openDuragent(workshop: Workshop, argv: readonly string[]): Promise<Caller> {
  const ignore = (): void => undefined;
  const log = { debug: ignore, info: ignore, warn: ignore };
  const mcp = new McpTools({
    servers: mcpServers({
      clock: systemClock,
      log,
      version: '0',
      baseEnv: environmentOf(workshop),
      spawnServer: spawnInGroups(() => ignore),
    }),
    pins: memoryToolPins(),
    log,
  });
  const place = { type: 'command' as const, argv, cwd: workshop.directory, env: {} };
  const { signal } = new AbortController();
  const entries = [{ name: 'everything', place, trusted: false }];
  const { tools, faults } = await mcp.toolsOf('bench', entries, { signal });
  const echo = tools.find(({ name }) => name === 'everything:echo');
  if (echo === undefined) throw new Error(`the server has no echo: ${faults.join(', ')}`);
  const caller = { session: 'ses_1', turn: 'turn_1', call: 'call_1', agent: testAgent() };
  return {
    async call() {
      const args = { message: SAID };
      const plan = echo.plan(args, caller);
      if ('fault' in plan) throw new Error(plan.fault);
      const { content } = await echo.run(args, { signal, onOutput: ignore, caller });
      if (content !== EXPECTED) throw new Error(`echo gave ${content}`);
    },
    [Symbol.asyncDispose]: () => mcp.close(),
  };
}

async function openBare(workshop: Workshop, [command = '', ...args]: string[]): Promise<Caller> {
  const client = new Client({ name: 'bench', version: '0' });
  await client.connect(
    new StdioClientTransport({
      command,
      args,
      cwd: workshop.directory,
      env: environmentOf(workshop),
      stderr: 'ignore',
    }),
  );
  return {
    async call() {
      const { content } = await client.callTool({ name: 'echo', arguments: { message: SAID } });
      const [first] = content;
      if (first?.type !== 'text' || first.text !== EXPECTED) throw new Error('echo gave no echo');
    },
    [Symbol.asyncDispose]: () => client.close(),
  };
}

/** What the servers of both are started with. They end with their stdin, and so with the bench. */
function environmentOf(workshop: Workshop): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '', HOME: workshop.directory };
}

/** The median time of a block's calls, in ms. */
async function blockOf(call: () => Promise<void>): Promise<number> {
  const times: number[] = [];
  for (let index = 0; index < BLOCK; index++) {
    const startedAt = performance.now();
    await call();
    times.push(performance.now() - startedAt);
  }
  return median(times);
}
