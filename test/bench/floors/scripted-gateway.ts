import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Order, OrderConfig, Outcome, Reply } from '../orders.ts';

// Not a floor: the gateway that Duragent and the floor are both measured with. It has no platform;
// what people say in it is ordered by the bench over a socket, and it measures itself. Lines of one
// tick leave in one write, so that it costs as little as it can beside the server.

/** So long an order may take. */
const ORDER_MS = 60_000;

interface Line {
  type: string;
  request_id: string;
  event_ids: string[];
  chat_id: string;
  content: string;
  config: OrderConfig;
}

const acks = new Map<string, () => void>();
/** What each chat waits for, oldest first. */
const answers = new Map<string, { text: string; resolve: () => void }[]>();
/** Why no order can be trusted any more. */
let fault: string | null = null;
let messages = 0;
let posted = 0;

const take = byLine((line: Line) => {
  switch (line.type) {
    case 'configure':
      say({
        type: 'ready',
        gateway: 'scripted',
        version: '1',
        protocol: 'v1',
        capabilities: ['ack'],
        limits: { max_length: 4096, length_unit: 'utf16', max_buttons: 0, media_max_bytes: 0 },
      });
      takeOrders(line.config);
      return;
    case 'ack':
      for (const id of line.event_ids) {
        acks.get(id)?.();
        acks.delete(id);
      }
      return;
    case 'send_message':
      say({ type: 'command_ok', request_id: line.request_id, message_id: `posted-${++posted}` });
      answered(line);
      return;
    case 'ping':
      say({ type: 'pong', request_id: line.request_id, uptime_seconds: 1, connected: true });
      return;
    case 'shutdown':
      process.exit(0);
  }
});
process.stdin.on('data', take);
process.stdin.on('end', () => process.exit(0));

/** One answer for each message, in order, and with its text. */
function answered({ chat_id, content }: Line): void {
  const first = answers.get(chat_id)?.shift();
  if (first === undefined || !content.endsWith(first.text)) {
    fault = `${chat_id} was answered with ${JSON.stringify(content)}, and waited for ${first?.text ?? 'nothing'}`;
  }
  first?.resolve();
}

/** Writes a message. What is said in a group nobody answers. */
function write(chat: string, isGroup: boolean): { acked: Promise<void>; answer: Promise<void> } {
  const id = `${process.pid}-${++messages}`;
  const text = `How are you, for the ${id}th time?`;
  const acked = Promise.withResolvers<void>();
  acks.set(id, acked.resolve);
  const answer = Promise.withResolvers<void>();
  if (!isGroup) {
    const waiting = answers.get(chat) ?? [];
    answers.set(chat, waiting);
    waiting.push({ text, resolve: answer.resolve });
  }
  const sender = { id: `${chat}-person`, display_name: 'A Person' };
  say({
    type: 'message_received',
    event_id: id,
    cursor: messages,
    message_id: `m${id}`,
    chat_id: chat,
    sender,
    content: { text },
    routing: { chat_type: isGroup ? 'group' : 'dm', chat_id: chat, sender_id: sender.id },
    timestamp: new Date().toISOString(),
  });
  return { acked: acked.promise, answer: answer.promise };
}

async function talk(order: Extract<Order, { do: 'talk' }>): Promise<Outcome> {
  const { chats, each, until, pauseMs } = order;
  const ackMs: number[] = [];
  const answerMs: number[] = [];
  const startedAt = performance.now();
  const speak = async (chat: string): Promise<void> => {
    for (let count = 0; count < each; count++) {
      if (pauseMs > 0) await sleep(apart(pauseMs));
      const writtenAt = performance.now();
      const { acked, answer } = write(chat, until === 'acked');
      await acked;
      ackMs.push(performance.now() - writtenAt);
      if (until === 'acked') continue;
      await answer;
      answerMs.push(performance.now() - writtenAt);
    }
  };
  await Promise.all(Array.from({ length: chats }, (_, index) => speak(`${order.chat}-${index}`)));
  return { ackMs, answerMs, totalMs: performance.now() - startedAt, answered: 0, mostOpen: 0 };
}

/** What is said until `rest`, whether it is answered or not. */
interface Load {
  open: Set<Promise<void>>;
  answered: number;
  mostOpen: number;
  stop: () => void;
}
let load: Load | null = null;

function startLoad({ chat, chats, everyMs }: Extract<Order, { do: 'load' }>): Outcome {
  let count = 0;
  let timer: NodeJS.Timeout;
  const begun: Load = {
    open: new Set(),
    answered: 0,
    mostOpen: 0,
    stop: () => clearTimeout(timer),
  };
  const next = (): void => {
    timer = setTimeout(speak, apart(everyMs));
  };
  const speak = (): void => {
    next();
    const { answer } = write(`${chat}-${count++ % chats}`, false);
    begun.open.add(answer);
    begun.mostOpen = Math.max(begun.mostOpen, begun.open.size);
    void answer.then(() => {
      begun.open.delete(answer);
      begun.answered++;
    });
  };
  next();
  load = begun;
  return nothing;
}

async function rest(): Promise<Outcome> {
  if (load === null) return nothing;
  load.stop();
  await Promise.all(load.open);
  const { answered: done, mostOpen } = load;
  load = null;
  return { ...nothing, answered: done, mostOpen };
}

/** A time around `ms`: not in step with what else happens. */
function apart(ms: number): number {
  return ms * (0.5 + Math.random());
}

const nothing: Outcome = { ackMs: [], answerMs: [], totalMs: 0, answered: 0, mostOpen: 0 };

function takeOrders({ port, key }: OrderConfig): void {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  const reply = (value: Reply | { key: string }): void => {
    socket.write(`${JSON.stringify(value)}\n`);
  };
  // Without the bench there is nothing to do.
  for (const event of ['close', 'error']) socket.on(event, () => process.exit(1));
  socket.once('connect', () => reply({ key }));
  const onOrder = byLine((order: Order) => {
    const late = setTimeout(() => {
      reply({ error: `${key}: ${JSON.stringify(order)} was not done within ${ORDER_MS} ms` });
    }, ORDER_MS);
    void perform(order).then((outcome) => {
      clearTimeout(late);
      reply(fault === null ? { outcome } : { error: fault });
    });
  });
  socket.on('data', onOrder);
}

async function perform(order: Order): Promise<Outcome> {
  switch (order.do) {
    case 'talk':
      return await talk(order);
    case 'load':
      return startLoad(order);
    case 'rest':
      return await rest();
  }
}

let unsaid = '';

function say(line: object): void {
  if (unsaid === '') queueMicrotask(flush);
  unsaid += `${JSON.stringify(line)}\n`;
}

function flush(): void {
  process.stdout.write(unsaid);
  unsaid = '';
}

/** Cuts chunks into lines of JSON; its peers write nothing else. */
function byLine<T>(on: (value: T) => void): (chunk: Buffer) => void {
  let rest = '';
  return (chunk) => {
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) on(JSON.parse(line) as T);
  };
}
