import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { startWithGateways } from './gateway-servers.ts';
import { residentMiB, type Running } from './processes.ts';
import type { Row, Size } from './rows.ts';
import { ScriptedGateways } from './scripted-gateways.ts';
import { compare, takePairs, type Pair } from './statistics.ts';
import type { Workshop } from './workshop.ts';

/** How long a process is left alone before its memory is read. */
const SETTLE_MS = 3000;
const MB_PER_MIB = 2 ** 20 / 1e6;
const GATEWAYS = 11;

/** The Telegram gateway from its spawn until it is ready, and what it takes when nothing happens. */
export async function measureGatewayStart(workshop: Workshop, size: Size): Promise<Row[]> {
  const simulator = await startSimulator(workshop);
  const import_ = async (): Promise<number> => {
    const running = startImport(workshop);
    const { code } = await running.ended;
    if (code !== 0) throw new Error(`importing grammy ended with ${code}`);
    return performance.now() - running.startedAt;
  };
  const start = async (): Promise<number> => {
    const gateway = await startTelegram(workshop, simulator);
    await end(gateway.running);
    return gateway.readyMs;
  };
  // Fills the compile cache.
  await start();
  await import_();
  const starts = await takePairs(size.gatewayStartPairs, start, import_);
  const memory: Pair[] = [];
  for (let index = 0; index < size.gatewayMemoryPairs; index++) {
    memory.push(await memoryOfPair(workshop, simulator));
  }
  await workshop.processes.stop(simulator.running);
  return [
    {
      figure: 'Telegram gateway ready',
      against: 'importing grammy',
      unit: 'ms',
      comparison: compare(starts),
      goal: { sense: 'at most', ratio: 2.5 },
      meaning:
        "From spawning the gateway, built and bundled, until the line `ready` has come, with its `configure` in the pipe from the start. It has met the simulator of Telegram's Bot API by then, which is a process of its own on loopback. Compile cache filled by an earlier run. Against a process that imports grammy, bundled too, from its spawn until it has ended.",
    },
    {
      figure: 'idle memory (RSS) of the Telegram gateway',
      against: 'grammy imported',
      unit: 'MB',
      comparison: compare(memory),
      goal: { more: 25 },
      whenMissed:
        "most of it is what V8 keeps after it has optimised the WebAssembly of Node's own HTTP client, which `fetch` brings and importing grammy does not.",
      meaning: `\`VmRSS\` of the gateway ${SETTLE_MS / 1000} s after it was ready, waiting for updates, minus that of a process ${SETTLE_MS / 1000} s after it has imported grammy. Both at the same time.`,
    },
  ];
}

/** What each gateway costs the server that runs it. */
export async function measureServerMemory(workshop: Workshop, size: Size): Promise<Row[]> {
  using gateways = await ScriptedGateways.open();
  const memoryOf = async (count: number): Promise<number> => {
    const server = await startWithGateways(workshop, gateways, count);
    await sleep(SETTLE_MS);
    const resident = residentMB(server.running);
    await server.stop();
    return resident;
  };
  await memoryOf(1); // fills the compile cache
  const pairs: Pair[] = [];
  for (let index = 0; index < size.gatewayMemoryPairs; index++) {
    const [duragent, floor] = await Promise.all([memoryOf(GATEWAYS), memoryOf(1)]);
    pairs.push({ duragent, floor });
  }
  return [
    {
      figure: 'memory (RSS) of the server for each idle gateway',
      against: 'with one gateway',
      unit: 'MB',
      comparison: compare(pairs),
      goal: { more: 2, each: GATEWAYS - 1 },
      meaning: `\`VmRSS\` of a new server with ${GATEWAYS} gateways, ${SETTLE_MS / 1000} s after they were ready, minus that of one with a single gateway, divided by ${GATEWAYS - 1}. Both at the same time. Nobody has said anything. The columns "Duragent" and "floor" are the two servers as a whole.`,
    },
  ];
}

interface Simulator {
  running: Running;
  url: string;
  token: string;
}

async function startSimulator(workshop: Workshop): Promise<Simulator> {
  const running = workshop.processes.start([workshop.programs.telegram, 'simulate'], {
    cwd: workshop.directory,
    log: workshop.log,
    talks: true,
  });
  const line = await firstLine(running, () => true);
  const { url, token } = JSON.parse(line) as { url: string; token: string };
  return { running, url, token };
}

async function startTelegram(
  workshop: Workshop,
  { url, token }: Simulator,
): Promise<{ running: Running; readyMs: number }> {
  const running = workshop.processes.start([workshop.programs.telegram], {
    cwd: workshop.directory,
    log: workshop.log,
    talks: true,
  });
  const configure = {
    type: 'configure',
    protocol: 'v1',
    name: 'telegram',
    account: 'telegram',
    config: { bot_token: token, api_root: url },
    cursor: null,
    limits: { max_length: 4096, length_unit: 'utf16', max_buttons: 100, media_max_bytes: 0 },
    media_dir: workshop.directory,
    commands: [{ name: 'status', description: 'Says how things are' }],
  };
  running.process.stdin?.write(`${JSON.stringify(configure)}\n`);
  await firstLine(running, (line) => (JSON.parse(line) as { type: string }).type === 'ready');
  return { running, readyMs: performance.now() - running.startedAt };
}

function startImport(workshop: Workshop, ...args: string[]): Running {
  return workshop.processes.start([workshop.programs.importGrammy, ...args], {
    cwd: workshop.directory,
    log: workshop.log,
    talks: true,
  });
}

/** A gateway ends when its stdin does. */
async function end(running: Running): Promise<void> {
  running.process.stdin?.end();
  const { code } = await running.ended;
  if (code !== 0) throw new Error(`process ${running.pid} ended with ${code}`);
}

async function memoryOfPair(workshop: Workshop, simulator: Simulator): Promise<Pair> {
  const gateway = await startTelegram(workshop, simulator);
  const imported = startImport(workshop, 'stay');
  await firstLine(imported, () => true);
  await sleep(SETTLE_MS);
  const pair = { duragent: residentMB(gateway.running), floor: residentMB(imported) };
  await end(gateway.running);
  await end(imported);
  return pair;
}

function residentMB({ pid }: Running): number {
  return residentMiB(pid) * MB_PER_MIB;
}

/** The first line of its stdout that is `wanted`; what follows is not kept. */
async function firstLine(running: Running, wanted: (line: string) => boolean): Promise<string> {
  const { stdout } = running.process;
  if (stdout === null) throw new Error(`process ${running.pid} has no stdout`);
  const found = Promise.withResolvers<string>();
  const lines = createInterface({ input: stdout });
  lines.on('line', (line) => {
    if (wanted(line)) found.resolve(line);
  });
  lines.on('close', () => found.reject(new Error(`process ${running.pid} said nothing`)));
  return await found.promise;
}
