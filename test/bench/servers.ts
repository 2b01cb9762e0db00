import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bodyOf, drain, openClient, type Client } from './client.ts';
import { freePort, poll, untilReady, type Running } from './processes.ts';
import { paces, TOKENS, type Pace, type Workshop } from './workshop.ts';

/** One turn, seen from its client, in ms since the request was sent. */
export interface TurnTimes {
  /** When the first bytes with text of the model came. */
  firstTokenMs: number;
  /** When the response had ended. */
  totalMs: number;
}

/** A server under measurement, started and ready. */
export interface Server {
  running: Running;
  /** From its spawn until it answered, in ms. */
  readyMs: number;
  client: Client;
  newSession(pace: Pace): Promise<string>;
  turn(session: string): Promise<TurnTimes>;
  /** Turns that it has been asked for. */
  turns: number;
  /** Asks it to end, and waits until it has. */
  stop(): Promise<void>;
}

const FIRST_TOKEN = 'tok0 ';
const LAST_TOKEN = `tok${TOKENS - 1} `;

/** A workspace with an agent for each model, and no data. */
export function makeWorkspace(workshop: Workshop): string {
  const workspace = workshop.newDirectory('workspace');
  writeFileSync(
    join(workspace, 'duragent.yaml'),
    'data_dir: ./data\nagents: { static: { path: ./agents } }\n',
  );
  for (const pace of paces) {
    mkdirSync(join(workspace, 'agents', pace), { recursive: true });
    writeFileSync(
      join(workspace, 'agents', pace, 'agent.yaml'),
      `name: ${pace}\nmodel: { provider: openai-compatible, name: bench, base_url: '${workshop.model(pace).url}/v1' }\n`,
    );
  }
  return workspace;
}

/** Starts Duragent in a workspace, and resolves when `/readyz` answers 200. */
export async function startDuragent(
  workshop: Workshop,
  workspace: string,
  env: NodeJS.ProcessEnv = {},
): Promise<Server> {
  const { running, url } = await spawnDuragent(workshop, workspace, env);
  const readyMs = await untilReady(running, `${url}/readyz`);
  const client = openClient(url, tokenOf(workspace));
  const server: Server = {
    running,
    readyMs,
    client,
    turns: 0,
    async newSession(pace) {
      const made = await bodyOf(await client.post('/api/v1/sessions', { agent: pace }));
      return (JSON.parse(made) as { session: string }).session;
    },
    turn(session) {
      server.turns++;
      const path = `/api/v1/sessions/${session}/stream`;
      return takeTurn(client, path, (tail) => tail.includes('\nevent: done\n'));
    },
    async stop() {
      client.close();
      await workshop.processes.stop(running);
    },
  };
  return server;
}

/** Starts Duragent in a workspace, and resolves at once. */
export async function spawnDuragent(
  workshop: Workshop,
  workspace: string,
  env: NodeJS.ProcessEnv = {},
): Promise<{ running: Running; url: string }> {
  const port = await freePort();
  const args = [workshop.programs.duragent, 'serve', '--port', String(port)];
  const running = workshop.processes.start(args, { cwd: workspace, log: workshop.log, env });
  return { running, url: `http://127.0.0.1:${port}` };
}

/** The token of a workspace whose server has been ready. */
export function tokenOf(workspace: string): string {
  return readFileSync(join(workspace, 'data/auth/token'), 'utf8').trim();
}

/** Starts the floor server, which keeps its files in a new directory. */
export async function startFloor(workshop: Workshop, pace: Pace): Promise<Server> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const directory = workshop.newDirectory('floor');
  const args = [workshop.programs.floor, String(port), directory, workshop.model(pace).url];
  const running = workshop.processes.start(args, { cwd: directory, log: workshop.log });
  const readyMs = await untilReady(running, url);
  const client = openClient(url, null);
  const server: Server = {
    running,
    readyMs,
    client,
    turns: 0,
    newSession: () => Promise.resolve(randomUUID()),
    turn(session) {
      server.turns++;
      return takeTurn(client, `/${session}`, (tail) => tail.includes('data: [DONE]'));
    },
    async stop() {
      client.close();
      await workshop.processes.stop(running);
    },
  };
  return server;
}

/** Starts koa's "hello". */
export async function startHello(
  workshop: Workshop,
  env: NodeJS.ProcessEnv = {},
): Promise<{ running: Running; readyMs: number }> {
  const port = await freePort();
  const args = [workshop.programs.hello, String(port)];
  const running = workshop.processes.start(args, {
    cwd: workshop.directory,
    log: workshop.log,
    env,
  });
  return { running, readyMs: await untilReady(running, `http://127.0.0.1:${port}/`) };
}

async function takeTurn(
  client: Client,
  target: string,
  isWhole: (tail: string) => boolean,
): Promise<TurnTimes> {
  const startedAt = performance.now();
  const response = await client.post(target, { content: 'Say fifty words.' });
  const { tail, markAt } = await drain(response, FIRST_TOKEN);
  const totalMs = performance.now() - startedAt;
  if (markAt === null || !tail.includes(LAST_TOKEN) || !isWhole(tail)) {
    throw new Error(`the answer of ${target} is not whole; it ends in: ${tail.slice(-400)}`);
  }
  return { firstTokenMs: markAt - startedAt, totalMs };
}

/** Tries to read a session's events until the server answers. */
export async function attach(
  running: Running,
  client: Client,
  session: string,
  after: string,
): Promise<AsyncIterable<Buffer>> {
  return await poll(running, async () => {
    try {
      return (await client.get(
        `/api/v1/sessions/${session}/events?after=${after}`,
      )) as AsyncIterable<Buffer>;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') return null;
      throw error;
    }
  });
}
