import { readdirSync, readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { needs } from '../support/needs.ts';
import { bodyOf, openClient, type Client } from './client.ts';
import { untilReady, type Running } from './processes.ts';
import type { Row, Size } from './rows.ts';
import { spawnDuragent, tokenOf } from './servers.ts';
import { compare, median, takePairs, type Pair } from './statistics.ts';
import { policyText, RULES } from './tools-policy.ts';
import type { Workshop } from './workshop.ts';

/** The most that one step of a turn may ask for. */
const CALLS = 16;
/** Steps of one call each. */
const STEPS = 20;
const COMMAND = 'true';
/** 1892 bytes of output. */
const PRINTS = 'seq 500';
/** How long the sandbox of a call that is looked at may take to appear. */
const LOOK_MS = 10_000;

/** Commands through policy, records and sandbox, beside the sandbox alone. */
export async function measureCommands(workshop: Workshop, size: Size): Promise<Row[]> {
  const figure = 'a call of bash: policy, two durable records, sandbox';
  if (!needs('bwrap')) {
    workshop.leftOut.push(`${figure}: there is no bwrap here that works`);
    return [];
  }
  const server = await startServer(workshop);
  const sandbox = await sandboxOf(server);
  for (let block = 0; block < 3; block++) {
    await commandsOfOneStep(server);
    await sandboxesAlone(sandbox);
  }
  const pairs = await takePairs(
    size.toolPairs,
    () => commandsOfOneStep(server),
    () => sandboxesAlone(sandbox),
  );
  await server.stop();
  return [
    {
      figure,
      against: 'bwrap',
      unit: 'ms',
      comparison: compare(pairs),
      goal: { sense: 'at most', ratio: 1.5 },
      whenMissed:
        'beside the sandbox a call is judged, is written down and synced when it starts and again when it has ended, each before what follows from it.',
      meaning: `One turn, one step that calls \`bash\` ${CALLS} times with \`${COMMAND}\`, which run one behind the other: from a client's reading one \`tool_result\` until the next. That holds the decision (a policy.yaml of ${RULES} rules; the last one of \`allow\` lets it pass), \`tool_started\` synced, the sandbox, and \`tool_finished\` synced. Against the same bwrap with the same options, as they were read from \`/proc\` during a call, and the bare command, spawned by Node with nothing on its three streams, until its exit. A pair is the median of ${CALLS - 1} of each; the sessions are new.`,
    },
  ];
}

/** Calls late in a turn beside early ones. */
export async function measureGrowth(workshop: Workshop, size: Size): Promise<Row[]> {
  const server = await startServer(workshop);
  const rows: Row[] = [];
  for (const { agent, figure, tool, isGoal } of growths) {
    if (agent === 'steps' && !needs('bwrap')) {
      workshop.leftOut.push(`${figure}: there is no bwrap here that works`);
      continue;
    }
    await growthOfOneTurn(server, agent);
    const pairs: Pair[] = [];
    let tokens = 0;
    for (let index = 0; index < size.growthPairs; index++) {
      const turn = await growthOfOneTurn(server, agent);
      pairs.push(turn.pair);
      tokens = turn.tokensPerStep;
    }
    rows.push({
      figure,
      against: 'calls 2 to 6',
      unit: 'ms',
      comparison: compare(pairs),
      ...(isGoal ? { goal: { sense: 'at most' as const, ratio: 1.15 } } : {}),
      whenMissed:
        'what is built for a model call is the whole conversation, and that grows with each call.',
      meaning: `One turn of ${STEPS} steps, each of which is a model call and one call of ${tool}: from reading the \`tool_result\` of one step until that of the next, which holds the model call. A pair is one turn, and of it the median of the 5 calls of each. The texts that go to the model grow by ${tokens.toFixed(0)} tokens a step, by its own estimate. The model plays a file, and takes the same time for each step.`,
    });
  }
  await server.stop();
  return rows;
}

const growths = [
  {
    agent: 'steps',
    figure: 'calls 16 to 20 of a turn, `bash`',
    tool: `\`bash\` with \`${PRINTS}\``,
    isGoal: true,
  },
  {
    agent: 'recalls',
    figure: 'calls 16 to 20 of a turn, a tool that does next to nothing',
    tool: '`recall`, whose memory is empty',
    isGoal: false,
  },
];

interface ToolServer {
  running: Running;
  client: Client;
  workspace: string;
  stop(): Promise<void>;
}

async function startServer(workshop: Workshop): Promise<ToolServer> {
  const workspace = makeToolWorkspace(workshop);
  const { running, url } = await spawnDuragent(workshop, workspace);
  await untilReady(running, `${url}/readyz`);
  const client = openClient(url, tokenOf(workspace));
  return {
    running,
    client,
    workspace,
    async stop() {
      client.close();
      await workshop.processes.stop(running);
    },
  };
}

/** A workspace whose agents play what they do from a file, and may run one command. */
function makeToolWorkspace(workshop: Workshop): string {
  const workspace = workshop.newDirectory('tools');
  const sandbox = needs('bwrap') ? 'sandbox: { mode: bubblewrap }\n' : '';
  writeFileSync(
    join(workspace, 'duragent.yaml'),
    `data_dir: ./data\nagents: { static: { path: ./agents } }\n${sandbox}`,
  );
  mkdirSync(join(workspace, 'data'), { mode: 0o700 });
  writeFileSync(
    join(workspace, 'data', 'policy.yaml'),
    policyText([PRINTS, LOOKED_AT, COMMAND].map((command) => `bash:${command}`)),
  );
  const bash = (command: string) => ({ name: 'bash', arguments: { command } });
  const steps = (name: string, args: object) =>
    Array.from({ length: STEPS }, () => ({ tool_calls: [{ name, arguments: args }] }));
  const end = { text: 'Done.' };
  const scripts: Record<string, object[]> = {
    calls: [{ tool_calls: Array.from({ length: CALLS }, () => bash(COMMAND)) }, end],
    look: [{ tool_calls: [bash(LOOKED_AT)] }, end],
    steps: [...steps('bash', { command: PRINTS }), end],
    recalls: [...steps('recall', {}), end],
  };
  for (const [name, turns] of Object.entries(scripts)) {
    const folder = join(workspace, 'agents', name);
    mkdirSync(folder, { recursive: true });
    writeFileSync(
      join(folder, 'agent.yaml'),
      `name: ${name}\nmodel: { provider: script, name: ./turns.yaml }\ntools: { builtin: [bash, memory] }\n`,
    );
    // JSON is YAML.
    writeFileSync(join(folder, 'turns.yaml'), JSON.stringify({ turns }));
  }
  return workspace;
}

/** The median time of a step's calls, in ms. */
async function commandsOfOneStep(server: ToolServer): Promise<number> {
  const { arrivals } = await takeTurn(server, 'calls', CALLS);
  return median(arrivals.slice(1).map((at, index) => at - (arrivals[index] ?? NaN)));
}

async function growthOfOneTurn(
  server: ToolServer,
  agent: string,
): Promise<{ pair: Pair; tokensPerStep: number }> {
  const { arrivals, session } = await takeTurn(server, agent, STEPS);
  // The median: a snapshot of the session, which is written now and then, would count for one side.
  const each = arrivals.map((at, index) => at - (arrivals[index - 1] ?? NaN));
  const asked = requestTokens(server.workspace, session);
  return {
    pair: { duragent: median(each.slice(15, 20)), floor: median(each.slice(1, 6)) },
    tokensPerStep: ((asked[STEPS - 1] ?? NaN) - (asked[0] ?? NaN)) / (STEPS - 1),
  };
}

/** One turn of a new session. @returns when the result of each of its calls came; all have to be ok. */
async function takeTurn(
  { client }: ToolServer,
  agent: string,
  calls: number,
): Promise<{ session: string; arrivals: number[] }> {
  const made = await bodyOf(await client.post('/api/v1/sessions', { agent }));
  const { session } = JSON.parse(made) as { session: string };
  const response = await client.post(`/api/v1/sessions/${session}/stream`, { content: 'Go.' });
  const { arrivals, last } = await readResults(response);
  if (arrivals.length !== calls || !last.startsWith('event: done\n')) {
    throw new Error(`${agent} had ${arrivals.length} of ${calls} results; its end: ${last}`);
  }
  return { session, arrivals };
}

async function readResults(
  response: IncomingMessage,
): Promise<{ arrivals: number[]; last: string }> {
  const arrivals: number[] = [];
  let [rest, last] = ['', ''];
  for await (const part of response) {
    const at = performance.now();
    const frames = (rest + (part as Buffer).toString()).split('\n\n');
    rest = frames.pop() ?? '';
    for (const frame of frames) {
      last = frame;
      if (frame.startsWith('event: approval_required\n')) throw new Error(`it asks: ${frame}`);
      if (!frame.startsWith('event: tool_result\n')) continue;
      if (!frame.includes('"outcome":"ok"')) throw new Error(`a call failed: ${frame}`);
      arrivals.push(at);
    }
  }
  return { arrivals, last };
}

/** The tokens of each request of a session, as the log says. */
function requestTokens(workspace: string, session: string): number[] {
  const file = join(workspace, 'data', 'sessions', session, 'events.jsonl');
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  return lines.flatMap((line) => {
    const record = JSON.parse(line) as { type?: string; usage?: { input_tokens?: number } };
    return record.type === 'assistant_message' ? (record.usage?.input_tokens ?? NaN) : [];
  });
}

interface Sandbox {
  file: string;
  args: string[];
}

const LOOKED_AT = 'sleep 0.5';

/** How Duragent calls bwrap for the command. */
async function sandboxOf(server: ToolServer): Promise<Sandbox> {
  const turn = takeTurn(server, 'look', 1);
  const deadline = performance.now() + LOOK_MS;
  let found: string[] | null = null;
  while (found === null) {
    if (performance.now() > deadline) throw new Error('no bwrap was seen below the server');
    await sleep(5);
    found = childOf(server.running.pid);
  }
  await turn;
  const [file = '', ...args] = found;
  // What comes behind is Duragent's own: how a command begins and ends inside.
  return { file, args: [...args.slice(0, args.indexOf('--') + 1), COMMAND] };
}

/** The words of the process that runs the command that is looked at; null: there is none yet. */
function childOf(parent: number): string[] | null {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) !== parent) continue;
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').slice(0, -1);
      const isIt = words[0]?.endsWith('/bwrap') && words.slice(-2).join(' ') === LOOKED_AT;
      if (isIt) return words;
    } catch {
      // It has ended.
    }
  }
  return null;
}

/** The median time of as many sandboxes with nothing around them, in ms. */
async function sandboxesAlone(sandbox: Sandbox): Promise<number> {
  const times: number[] = [];
  for (let call = 1; call < CALLS; call++) {
    const startedAt = performance.now();
    await runAlone(sandbox);
    times.push(performance.now() - startedAt);
  }
  return median(times);
}

function runAlone({ file, args }: Sandbox): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd: '/',
      env: { PATH: process.env['PATH'] },
      stdio: 'ignore',
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`bwrap ended with ${code ?? signal}`));
    });
  });
}
