import { setTimeout as sleep } from 'node:timers/promises';
import { residentMiB } from './processes.ts';
import type { Row, Size } from './rows.ts';
import { makeWorkspace, startDuragent, startHello } from './servers.ts';
import { compare, takePairs } from './statistics.ts';
import type { Workshop } from './workshop.ts';

/** How long a server is left alone before its memory is read. */
const SETTLE_MS = 1000;

/** Starts of a workspace that has been used, with a compile cache that is filled. */
export async function measureReady(workshop: Workshop, size: Size): Promise<Row[]> {
  const workspace = makeWorkspace(workshop);
  await fillCaches(workshop, workspace);
  const pairs = await takePairs(
    size.startPairs,
    async () => {
      const server = await startDuragent(workshop, workspace);
      await server.stop();
      return server.readyMs;
    },
    async () => {
      const { running, readyMs } = await startHello(workshop);
      await workshop.processes.stop(running);
      return readyMs;
    },
  );
  return [
    {
      figure: 'server ready, warm cache',
      against: 'koa "hello"',
      unit: 'ms',
      comparison: compare(pairs),
      goal: { sense: 'at most', ratio: 2.5 },
      whenMissed:
        'what Duragent loads and hello does not: zod and its schemas, commander, yaml, pino, sqlite.',
      meaning:
        'From spawning the process until `GET /readyz` (hello: `GET /`) answers 200, asked over a new connection every 2 ms. Compile cache filled by an earlier run that ended by SIGTERM; the workspace has run before.',
    },
  ];
}

/** Starts as on the first day: no compile cache, no data directory. */
export async function measureFirstStart(workshop: Workshop, size: Size): Promise<Row[]> {
  const freshCache = (): NodeJS.ProcessEnv => ({
    NODE_COMPILE_CACHE: workshop.newDirectory('cache'),
  });
  const pairs = await takePairs(
    size.firstStartPairs,
    async () => {
      const server = await startDuragent(workshop, makeWorkspace(workshop), freshCache());
      await server.stop();
      return server.readyMs;
    },
    async () => {
      const { running, readyMs } = await startHello(workshop, freshCache());
      await workshop.processes.stop(running);
      return readyMs;
    },
  );
  return [
    {
      figure: 'server ready, very first start',
      against: 'koa "hello"',
      unit: 'ms',
      comparison: compare(pairs),
      goal: { sense: 'at most', ratio: 4 },
      meaning:
        'The same with an empty compile cache, and for Duragent no data directory either. The files are in the page cache.',
    },
  ];
}

/** Memory of a server that nobody has used. */
export async function measureMemory(workshop: Workshop, size: Size): Promise<Row[]> {
  const workspace = makeWorkspace(workshop);
  await fillCaches(workshop, workspace);
  const pairs = await takePairs(
    size.memoryPairs,
    async () => {
      const server = await startDuragent(workshop, workspace);
      await sleep(SETTLE_MS);
      const resident = residentMiB(server.running.pid);
      await server.stop();
      return resident;
    },
    async () => {
      const { running } = await startHello(workshop);
      await sleep(SETTLE_MS);
      const resident = residentMiB(running.pid);
      await workshop.processes.stop(running);
      return resident;
    },
  );
  return [
    {
      figure: 'idle memory (RSS), no provider loaded',
      against: 'koa "hello"',
      unit: 'MiB',
      comparison: compare(pairs),
      goal: { sense: 'at most', ratio: 1.6 },
      meaning: '`VmRSS` of a new process, 1 s after it was ready; no session, no model call.',
    },
  ];
}

/** What the smallest command costs. */
export async function measureVersion(workshop: Workshop, size: Size): Promise<Row[]> {
  const run = async (args: string[]): Promise<number> => {
    const options = { cwd: workshop.directory, log: workshop.log };
    const running = workshop.processes.start(args, options);
    const { code } = await running.ended;
    if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}`);
    return performance.now() - running.startedAt;
  };
  const version = (): Promise<number> => run([workshop.programs.duragent, '--version']);
  const empty = (): Promise<number> => run([workshop.programs.empty]);
  await version();
  await empty();
  return [
    {
      figure: '`duragent --version`',
      against: 'an empty script',
      unit: 'ms',
      comparison: compare(await takePairs(size.versionPairs, version, empty)),
      goal: { sense: 'at most', ratio: 2.5 },
      meaning:
        'From spawning Node with the script until the process has ended. The empty script is a file of 0 bytes.',
    },
  ];
}

/** The compile cache is written when a process ends. */
async function fillCaches(workshop: Workshop, workspace: string): Promise<void> {
  await (await startDuragent(workshop, workspace)).stop();
  await workshop.processes.stop((await startHello(workshop)).running);
}
