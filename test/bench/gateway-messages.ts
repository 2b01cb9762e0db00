import { setTimeout as sleep } from 'node:timers/promises';
import { startGatewayFloor, startWithGateways, type GatewayServer } from './gateway-servers.ts';
import type { Outcome } from './orders.ts';
import { cpuMs } from './processes.ts';
import type { Row, Size } from './rows.ts';
import { ScriptedGateways, type ScriptedGateway } from './scripted-gateways.ts';
import { compare, median, takePairs, type Pair } from './statistics.ts';
import type { Workshop } from './workshop.ts';

const CHATS = 64;
/** Messages of one chat between two of the other server. */
const BLOCK = 10;
/** Between the answer to a message and the next one, so that the server is at rest, in ms. */
const REST_MS = 5;

const BUSY = 10;
/** What each busy gateway says: one message every so many ms, in so many chats. */
const BUSY_MS = 200;
const BUSY_CHATS = 4;
/** Messages of the gateway beside them in a block, and the pause before each. */
const BESIDE_BLOCK = 30;
const BESIDE_PAUSE_MS = 15;

/** Messages one at a time, until each is acknowledged. */
export async function measureAcks(workshop: Workshop, size: Size): Promise<Row[]> {
  using gateways = await ScriptedGateways.open();
  const duragent = await startWithGateways(workshop, gateways, 1);
  const floor = await startGatewayFloor(workshop, gateways, 'acks');
  await warmUp(duragent.gateway, size);
  await warmUp(floor.gateway, size, 'acked');
  const kept = await takePairs(
    size.ackPairs,
    () => ackOf(duragent.gateway, { until: 'acked', pauseMs: 0 }),
    () => ackOf(floor.gateway, { until: 'acked', pauseMs: 0 }),
  );
  const answered = await takePairs(
    size.ackPairs,
    () => ackOf(duragent.gateway, { until: 'answered', pauseMs: REST_MS }),
    () => ackOf(floor.gateway, { until: 'acked', pauseMs: REST_MS }),
  );
  await duragent.stop();
  await floor.stop();
  return [
    {
      figure: 'message in → durable → ack, one at a time',
      against: 'gateway floor',
      unit: 'ms',
      comparison: compare(kept),
      goal: { sense: 'at most', ratio: 2.0 },
      whenMissed:
        'each call of the file system goes to a thread and back, and beside the ack the message before is written into its session.',
      meaning: `From the gateway's writing a \`message_received\` until it has read the \`ack\`, by its own clock; the next one follows at once. It is said in a group whose members are \`silent\`, so that no turn follows: beside it runs only the hand-over of the message before into its session, which is an append and a sync too. A pair is the median of ${BLOCK} messages of each, in a chat that is new and has had one.`,
    },
    {
      figure: 'the same in a direct chat, where each is answered',
      against: 'gateway floor',
      unit: 'ms',
      comparison: compare(answered),
      goal: { sense: 'at most', ratio: 2.0 },
      whenMissed:
        'the turn begins as soon as the message is durable, while its ack is on its way to the gateway.',
      meaning: `As the row before, but the echo model answers, and the next message is written ${REST_MS} ms (on average) after the answer was delivered; the floor does not answer, and has the same pause after the ack. The answer is not part of the time; that its turn has begun is.`,
    },
  ];
}

/** 64 chats at once through one gateway. */
export async function measureChats(workshop: Workshop, size: Size): Promise<Row[]> {
  using gateways = await ScriptedGateways.open();
  const duragent = await startWithGateways(workshop, gateways, 1);
  const floor = await startGatewayFloor(workshop, gateways, 'answers');
  for (const { gateway } of [duragent, floor]) {
    await warmUp(gateway, { ...size, warmUpTurns: size.chatWarmUp });
  }
  const { figures, besides } = await takeBoth(
    size.chatPairs,
    () => blockOfChats(duragent, size.chatMessages),
    () => blockOfChats(floor, size.chatMessages),
  );
  await duragent.stop();
  await floor.stop();
  return [
    {
      figure: `messages per second into ${CHATS} sessions, answered and delivered`,
      against: 'gateway floor',
      unit: '/s',
      comparison: compare(figures),
      goal: { sense: 'at least', ratio: 0.25 },
      whenMissed:
        'the floor syncs twice a message, Duragent once in the session (the end of the delivery before, the message, the answer and the beginning of its delivery) and once in the inbox; and the time is CPU time of one thread.',
      meaning: `${CHATS} direct chats through one gateway, one message behind the other in each: ${size.chatMessages} messages a chat, a pair is one such block of each server. The echo model answers, and a message counts when the gateway has read the \`send_message\` with the answer and written its \`command_ok\`. \`queue: sequential\`, no debounce; a gateway that can only \`ack\`. The sessions are new and have had one turn; each server has answered ${size.chatWarmUp} messages before. The gateway shares the machine with the server.`,
    },
    {
      figure: 'CPU per message of these',
      against: 'gateway floor',
      unit: 'ms',
      comparison: compare(besides),
      meaning:
        'utime + stime of the server process without its gateway before and after each block of the row before, divided by its messages.',
    },
  ];
}

/** One gateway beside ten that have work, and alone. */
export async function measureNeighbours(workshop: Workshop, size: Size): Promise<Row[]> {
  using gateways = await ScriptedGateways.open();
  const crowd = await startWithGateways(workshop, gateways, 1 + BUSY);
  const alone = await startWithGateways(workshop, gateways, 1);
  for (const { gateway } of [crowd, alone]) await warmUp(gateway, size);
  const load = new NeighbourLoad(crowd.others);
  const { figures, besides } = await takeBoth(
    size.busyPairs,
    async () => {
      await load.start();
      const times = await answersOf(crowd.gateway);
      await load.end();
      return times;
    },
    () => answersOf(alone.gateway),
  );
  await crowd.stop();
  await alone.stop();
  return [
    {
      figure: `message → ack → answer of one gateway beside ${BUSY} busy ones`,
      against: 'alone',
      unit: 'ms',
      comparison: compare(figures),
      goal: { sense: 'at most', ratio: 1.2 },
      whenMissed: 'the sessions of all gateways share the thread and the disk of one server.',
      meaning: `From writing a \`message_received\` until the answer of the echo model was read, one message at a time with pauses of ${BESIDE_PAUSE_MS} ms (on average). A pair is the median of ${BESIDE_BLOCK} of them on a server with ${BUSY} gateways more, each of which writes a message every ${BUSY_MS} ms (on average) in ${BUSY_CHATS} chats, and of as many on a server that has only this gateway. The ${BUSY} were answered ${load.rate.toFixed(0)} messages per second in this run, with at most ${load.mostOpen} of one gateway unanswered at a time; all gateways share the machine with the server.`,
    },
    {
      figure: 'the slowest but one of these',
      against: 'alone',
      unit: 'ms',
      comparison: compare(besides),
      meaning: `As the row before, with the second largest of the ${BESIDE_BLOCK} in place of the median.`,
    },
  ];
}

/** What the busy gateways say between `start` and `end`. */
class NeighbourLoad {
  readonly #gateways: readonly ScriptedGateway[];
  #startedAt = 0;
  #ms = 0;
  #answered = 0;
  mostOpen = 0;

  constructor(gateways: readonly ScriptedGateway[]) {
    this.#gateways = gateways;
  }

  /** Answered messages per second, of all together. */
  get rate(): number {
    return (this.#answered * 1000) / this.#ms;
  }

  async start(): Promise<void> {
    this.#startedAt = performance.now();
    const chat = newChat();
    const order = { do: 'load', chat, chats: BUSY_CHATS, everyMs: BUSY_MS } as const;
    await Promise.all(this.#gateways.map((gateway) => gateway(order)));
    // Until each chat has its session.
    await sleep(BUSY_MS * (BUSY_CHATS + 1));
  }

  async end(): Promise<void> {
    const loads = await Promise.all(this.#gateways.map((gateway) => gateway({ do: 'rest' })));
    this.#ms += performance.now() - this.#startedAt;
    for (const { answered, mostOpen } of loads) {
      this.#answered += answered;
      this.mostOpen = Math.max(this.mostOpen, mostOpen);
    }
  }
}

interface Measured {
  figure: number;
  /** What is measured beside it. */
  beside: number;
}

/** As `takePairs`, for two figures of one measurement. */
async function takeBoth(
  count: number,
  duragent: () => Promise<Measured>,
  floor: () => Promise<Measured>,
): Promise<{ figures: Pair[]; besides: Pair[] }> {
  const besides: Pair[] = Array.from({ length: count }, () => ({ duragent: 0, floor: 0 }));
  const keep = (name: keyof Pair, measure: () => Promise<Measured>): (() => Promise<number>) => {
    const rest = besides.values();
    return async () => {
      const { figure, beside } = await measure();
      const pair = rest.next().value;
      if (pair !== undefined) pair[name] = beside;
      return figure;
    };
  };
  const figures = await takePairs(count, keep('duragent', duragent), keep('floor', floor));
  return { figures, besides };
}

async function blockOfChats({ gateway, running }: GatewayServer, each: number): Promise<Measured> {
  const chat = newChat();
  await talk(gateway, { chat, chats: CHATS, each: 1 });
  const cpuBefore = cpuMs(running.pid);
  const { totalMs } = await talk(gateway, { chat, chats: CHATS, each });
  const count = CHATS * each;
  return { figure: (count * 1000) / totalMs, beside: (cpuMs(running.pid) - cpuBefore) / count };
}

/** The median time until the answer of a block's messages, and the second largest, in ms. */
async function answersOf(gateway: ScriptedGateway): Promise<Measured> {
  const chat = newChat();
  await talk(gateway, { chat, each: 1 });
  const order = { chat, each: BESIDE_BLOCK, pauseMs: BESIDE_PAUSE_MS };
  const { answerMs } = await talk(gateway, order);
  const beside = answerMs.toSorted((a, b) => b - a)[1] ?? NaN;
  return { figure: median(answerMs), beside };
}

/** The median time until the ack of a block's messages, in ms. */
async function ackOf(
  gateway: ScriptedGateway,
  how: { until: 'answered' | 'acked'; pauseMs: number },
): Promise<number> {
  const chat = newChat();
  await talk(gateway, { ...how, chat, each: 1 });
  return median((await talk(gateway, { ...how, chat, each: BLOCK })).ackMs);
}

async function warmUp(
  gateway: ScriptedGateway,
  { warmUpTurns }: Size,
  until: 'answered' | 'acked' = 'answered',
): Promise<void> {
  await talk(gateway, { chats: CHATS, each: Math.ceil(warmUpTurns / CHATS), until });
  await talk(gateway, { each: BLOCK, until });
}

/** In one chat that is new, until each message is answered and without a pause, unless `order` says otherwise. */
function talk(
  gateway: ScriptedGateway,
  order: {
    each: number;
    chat?: string;
    chats?: number;
    until?: 'answered' | 'acked';
    pauseMs?: number;
  },
): Promise<Outcome> {
  const one = { chat: newChat(), chats: 1, until: 'answered', pauseMs: 0 } as const;
  return gateway({ do: 'talk', ...one, ...order });
}

let chatsMade = 0;

/** A chat that nobody has spoken in. */
function newChat(): string {
  return `chat-${++chatsMade}`;
}
