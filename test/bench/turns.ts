import { cpuMs } from './processes.ts';
import type { Row, Size } from './rows.ts';
import { makeWorkspace, startDuragent, startFloor, type Server } from './servers.ts';
import { compare, median, takePairs, type Pair } from './statistics.ts';
import { PACE_MS, TOKENS, type Pace, type Workshop } from './workshop.ts';

const SESSIONS = 64;
/** Turns of one session between two of the other server. */
const BLOCK = 10;

/** Turns of one session after another, and the CPU time that they took. */
export async function measureTurn(workshop: Workshop, size: Size): Promise<Row[]> {
  return await withBoth(workshop, 'fast', size, async ({ duragent, floor }) => {
    const before = { duragent: cpuOf(duragent), floor: cpuOf(floor) };
    const pairs = await takePairs(
      size.turnPairs,
      () => turnsOfOneSession(duragent),
      () => turnsOfOneSession(floor),
    );
    const turns = size.turnPairs * (BLOCK + 1);
    const cpu: Pair = {
      duragent: (cpuOf(duragent) - before.duragent) / turns,
      floor: (cpuOf(floor) - before.floor) / turns,
    };
    return [
      {
        figure: `turn over HTTP, ${TOKENS} tokens, total time`,
        against: 'floor',
        unit: 'ms',
        comparison: compare(pairs),
        goal: { sense: 'at most', ratio: 2.0 },
        whenMissed:
          'the time is CPU time of one thread: reading the stream of the model (the AI SDK parses and checks each of its events, through four web streams) takes the largest part.',
        meaning: `One client, one session, one kept-alive connection: from sending \`POST …/stream\` until the response has ended, which for Duragent has to hold the \`done\` frame. The model sends all ${TOKENS} tokens at once. A pair is the median of ${BLOCK} turns of each, on a session that is new and has had one turn.`,
      },
      {
        figure: 'CPU per turn, one session',
        against: 'floor',
        unit: 'ms',
        comparison: compare([cpu]),
        meaning:
          'utime + stime of the server process over all turns of the row before, divided by them: one pair, no spread.',
      },
    ];
  });
}

/** The same with a model that takes its time. */
export async function measurePaced(workshop: Workshop, size: Size): Promise<Row[]> {
  return await withBoth(workshop, 'paced', size, async ({ duragent, floor }) => {
    const sessions = {
      duragent: await duragent.newSession('paced'),
      floor: await floor.newSession('paced'),
    };
    const first: Pair[] = [];
    const take = async (server: Server, session: string, add: (ms: number) => void) => {
      const { totalMs, firstTokenMs } = await server.turn(session);
      add(firstTokenMs);
      return totalMs;
    };
    let latest = { duragent: 0, floor: 0 };
    const pairs: Pair[] = [];
    for (let index = 0; index < size.pacedPairs; index++) {
      const [pair] = await takePairs(
        1,
        () => take(duragent, sessions.duragent, (ms) => (latest = { ...latest, duragent: ms })),
        () => take(floor, sessions.floor, (ms) => (latest = { ...latest, floor: ms })),
      );
      if (pair !== undefined) pairs.push(pair);
      first.push(latest);
    }
    return [
      {
        figure: `turn over HTTP, a token every ${PACE_MS} ms, total time`,
        against: 'floor',
        unit: 'ms',
        comparison: compare(pairs),
        meaning: `As the first row, one turn a pair, with a model that pauses ${PACE_MS} ms before each token.`,
      },
      {
        figure: 'until the first token of these',
        against: 'floor',
        unit: 'ms',
        comparison: compare(first),
        meaning: 'From sending the request until bytes with text of the model have come.',
      },
    ];
  });
}

/** 64 sessions at once. */
export async function measureLoad(workshop: Workshop, size: Size): Promise<Row[]> {
  return await withBoth(workshop, 'fast', size, async ({ duragent, floor }) => {
    const cpu: Pair[] = [];
    let latest = { duragent: 0, floor: 0 };
    const rates: Pair[] = [];
    for (let index = 0; index < size.loadPairs; index++) {
      const [rate] = await takePairs(
        1,
        async () => {
          const block = await turnsOfManySessions(duragent, size.loadTurns);
          latest = { ...latest, duragent: block.cpuPerTurn };
          return block.rate;
        },
        async () => {
          const block = await turnsOfManySessions(floor, size.loadTurns);
          latest = { ...latest, floor: block.cpuPerTurn };
          return block.rate;
        },
      );
      if (rate !== undefined) rates.push(rate);
      cpu.push(latest);
    }
    return [
      {
        figure: 'turns per second, 64 sessions at once',
        against: 'floor',
        unit: '/s',
        comparison: compare(rates),
        goal: { sense: 'at least', ratio: 0.25, aim: 0.4 },
        meaning: `64 clients, each with a session and a kept-alive connection, one turn behind the other: ${size.loadTurns} turns each, a pair is one such block of each server. The sessions are new and have had one turn. Client and model share the machine with the server.`,
      },
      {
        figure: 'CPU per turn',
        against: 'floor',
        unit: 'ms',
        comparison: compare(cpu),
        goal: { sense: 'at most', ratio: 3.5, aim: 2.5 },
        whenMissed:
          'the floor passes the bytes of the model on; Duragent reads every event of the stream (about a third of its CPU time is the AI SDK and the web streams below it), keeps the turn as events, and shows it as frames.',
        meaning:
          'utime + stime of the server process (`/proc/<pid>/stat`, all threads, nothing subtracted) before and after each block of the row before, divided by its turns.',
      },
    ];
  });
}

/** Starts both servers, warms them up, measures, and checks that every turn reached the model. */
async function withBoth(
  workshop: Workshop,
  pace: Pace,
  size: Size,
  measure: (servers: { duragent: Server; floor: Server }) => Promise<Row[]>,
): Promise<Row[]> {
  const model = workshop.model(pace);
  const answeredBefore = await model.finished();
  const duragent = await startDuragent(workshop, makeWorkspace(workshop));
  const floor = await startFloor(workshop, pace);
  for (const server of [duragent, floor]) {
    if (pace === 'fast') {
      await turnsOfManySessions(server, Math.ceil(size.warmUpTurns / SESSIONS));
      await turnsOfOneSession(server);
    } else await server.turn(await server.newSession(pace));
  }
  const rows = await measure({ duragent, floor });
  const answered = (await model.finished()) - answeredBefore;
  const turns = duragent.turns + floor.turns;
  if (answered !== turns) throw new Error(`the model gave ${answered} answers to ${turns} turns`);
  await duragent.stop();
  await floor.stop();
  return rows;
}

/** The median time of a block's turns, in ms. */
async function turnsOfOneSession(server: Server): Promise<number> {
  const session = await server.newSession('fast');
  await server.turn(session);
  const times: number[] = [];
  for (let turn = 0; turn < BLOCK; turn++) times.push((await server.turn(session)).totalMs);
  return median(times);
}

async function turnsOfManySessions(
  server: Server,
  turns: number,
): Promise<{ rate: number; cpuPerTurn: number }> {
  const sessions = await Promise.all(
    Array.from({ length: SESSIONS }, async () => {
      const session = await server.newSession('fast');
      await server.turn(session);
      return session;
    }),
  );
  const cpuBefore = cpuOf(server);
  const startedAt = performance.now();
  await Promise.all(
    sessions.map(async (session) => {
      for (let turn = 0; turn < turns; turn++) await server.turn(session);
    }),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  const count = SESSIONS * turns;
  return { rate: count / seconds, cpuPerTurn: (cpuOf(server) - cpuBefore) / count };
}

function cpuOf(server: Server): number {
  return cpuMs(server.running.pid);
}
