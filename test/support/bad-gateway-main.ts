import { spawn } from 'node:child_process';
import { appendFileSync, closeSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setImmediate as nextTick } from 'node:timers/promises';

/**
 * A gateway that behaves as its first argument says, mostly badly:
 * `node bad-gateway-main.ts BEHAVIOUR [NAME=VALUE …]`. What it is told to post it writes to the
 * file `posted`, a line of JSON each. It knows nothing of the product but the protocol.
 */
type Line = Record<string, unknown> & { type: string; request_id?: string };

const [behaviour = 'good', ...rest] = process.argv.slice(2);
const settings = new Map(rest.map((one): [string, string] => [one.split('=')[0] ?? '', one]));
const setting = (name: string, fallback: string): string =>
  settings.get(name)?.slice(name.length + 1) ?? fallback;
const number = (name: string, fallback: number): number => Number(setting(name, `${fallback}`));

/** What has to be out before the process may end: it waits until there is room in the pipe. */
function write(text: string | Buffer, fd = 1): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
}
const say = (...lines: object[]): void =>
  write(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));

const readyLine = {
  type: 'ready',
  gateway: behaviour,
  version: '1',
  protocol: 'v1',
  capabilities: ['ack', 'preview', 'edit', 'typing'],
};
const ready = (): void => say(readyLine);

/** What somebody says in a chat; `id` names it for good. */
function message(id: string, chatId: string, more: object = {}): object {
  return {
    type: 'message_received',
    event_id: id,
    message_id: id.slice(0, 100),
    chat_id: chatId,
    sender: { id: `user of ${chatId}` },
    content: { text: id.slice(0, 100) },
    routing: { chat_type: 'dm', chat_id: chatId, sender_id: `user of ${chatId}` },
    timestamp: '2026-01-01T00:00:00Z',
    ...more,
  };
}
/** One that the server keeps and nobody answers: the agent is not in such groups. */
function unheard(id: string, chatId: string): object {
  return message(id, chatId, {
    routing: { chat_type: 'group', chat_id: chatId, sender_id: `user of ${chatId}` },
  });
}
const hello = (n: number): object => message(`hello ${n}`, 'c1');
/** Says hello before and after some bytes that are no events. */
function between(...nonsense: (string | Buffer)[]): void {
  ready();
  say(hello(1));
  for (const piece of nonsense) write(piece);
  say(hello(2));
}

/** Writes many lines at full speed, listens between batches, and says when all are written. */
async function flood(line: (n: number) => object | string): Promise<void> {
  ready();
  const count = number('count', 1000);
  for (let n = 0; n < count; n += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, count - n) }, (_, i) => line(n + i));
    write(batch.map((one) => `${typeof one === 'string' ? one : JSON.stringify(one)}\n`).join(''));
    await nextTick();
  }
  say(message('the flood is over', 'over'));
}
const BATCH = 100;

const floods: Record<string, (n: number) => object | string> = {
  /** From many chats; one in 50 is answered. */
  messages: (n) =>
    n % 50 === 0 ? message(`m${n}`, `c${(n / 50) % 20}`) : unheard(`m${n}`, `g${n % 5000}`),
  /** All are answered. */
  conversations: (n) =>
    message(`m${n}`, `c${n % 20}`, { metadata: { padding: 'x'.repeat(number('padding', 0)) } }),
  /** Of buttons that nobody has shown. */
  presses: (n) => ({
    type: 'callback_query',
    event_id: `press ${n}`,
    callback_query_id: `press ${n}`,
    chat_id: `c${n % 50}`,
    sender: { id: `user of c${n % 50}` },
    message_id: `m${n}`,
    data: `nothing ${n}`,
  }),
  /** Of groups that nobody has spoken in. */
  migrations: (n) => ({
    type: 'chat_migrated',
    event_id: `migration ${n}`,
    chat_id: `old${n % 5000}`,
    new_chat_id: `new${n % 5000}`,
  }),
  pong: (n) => ({ type: 'pong', request_id: `ping-${n}`, uptime_seconds: n, connected: true }),
  preview_posted: (n) => ({ type: 'preview_posted', preview_id: `out_${n}`, message_id: `p${n}` }),
  inbound_gap: (n) => ({ type: 'inbound_gap', from: `${n}`, to: `${n + 1}`, reason: 'just so' }),
  error: (n) => ({ type: 'error', code: 'platform_error', message: `error ${n}` }),
  unknown: (n) => ({ type: `from_the_future_${n}`, n }),
  text: (n) => `This is line ${n} of a log on the wrong stream.`,
  invalid: (n) => ({ type: 'pong', request_id: 7, n }),
};

let posts = 0;
function post(line: Line, body: object = { message_id: `p${posts}` }): void {
  const { chat_id, content, request_id } = line;
  posts += 1;
  const file = setting('posted', '');
  if (file !== '') appendFileSync(file, `${JSON.stringify({ chat_id, content })}\n`);
  say({ type: 'command_ok', request_id, ...body });
}

/** What it does with each command. Until it is replaced, what a good gateway does. */
let onCommand = (line: Line): void => {
  const { type, request_id } = line;
  if (type === 'ping') say({ type: 'pong', request_id, uptime_seconds: 1, connected: true });
  if (type === 'send_message') post(line);
  if (type === 'shutdown') process.exit(0);
};
let onStdinEnd = (): void => process.exit(0);
const stay = (): void => void setInterval(() => undefined, 1000);

/** Deaf to all but SIGKILL. */
function stayForEver(): void {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => undefined);
  }
  onCommand = () => undefined;
  onStdinEnd = () => undefined;
  stay();
}

const behaviours: Record<string, () => unknown> = {
  'never-ready': stay,
  v2: () => say({ ...readyLine, protocol: 'v2' }),
  'long-line': () => {
    const block = Buffer.alloc(1024 * 1024, 'x');
    between(...Array.from({ length: number('megabytes', 200) }, () => block), '\n');
  },
  deep: () =>
    between(
      `${'['.repeat(10_000)}${']'.repeat(10_000)}\n`,
      `{"type":"pong","connected":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}}\n`,
    ),
  'not-utf8': () =>
    between('{"type":"', Buffer.from([0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80]), '"}\n'),
  nul: () => between('\0\0\0\n', '{"type":"pong\0"}\n', `{${'\0'.repeat(100_000)}}\n`),
  'plain-text': () =>
    between('Welcome to \x1b[31mmy gateway\x1b[0m!\n', '(node:1) Warning: old\n', '42\n', 'null\n'),
  proto: () =>
    between(
      '{"__proto__":{"type":"pong","polluted":true},"type":"pong","request_id":"p"}\n',
      '{"type":"__proto__"}\n{"type":"constructor"}\n{"__proto__":null}\n',
      `${JSON.stringify(message('polluted', '__proto__')).slice(0, -1)},"metadata":{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}},"__proto__":{"polluted":true}}\n`,
    ),
  'half-line': () => {
    ready();
    say(hello(1));
    write(JSON.stringify(hello(2)).slice(0, -20));
    process.exit(3);
  },
  flood: () => flood(floods[setting('kind', '')] ?? hello),
  'stops-reading': async () => {
    ready();
    process.stdin.pause();
    onCommand = () => undefined;
    // Ids as long as they may be, as each of them is in an ack.
    for (let n = 0; ; n += 1) {
      say(unheard(`m${n}`.padEnd(200, '.'), 'group'));
      if (n % BATCH === 0) await nextTick();
    }
  },
  'closes-stdin': () => {
    ready();
    process.stdin.destroy();
    closeSync(0);
    onStdinEnd = () => undefined;
    say(hello(1));
    stay();
  },
  /** One write of 64 KiB, which fits the pipe, and gone. */
  'writes-and-exits': () => {
    const lines = [
      readyLine,
      ...Array.from({ length: 230 }, (_, n) => message(`m${n}`, `c${n % 5}`)),
    ];
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    write(text.padStart(65_536, '\n'));
    process.exit(4);
  },
  'crashes-at-start': () => process.exit(5),
  'crashes-when-ready': () => {
    ready();
    say(hello(1));
    throw new Error('this is a bug of a gateway');
  },
  'crashes-later': () => {
    ready();
    say(hello(1));
    setTimeout(() => process.exit(6), 300);
  },
  'ignores-sigterm': () => {
    const child = spawn(process.execPath, [process.argv[1] ?? '', 'child-that-ignores-sigterm'], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    stayForEver();
    child.once('spawn', ready);
  },
  'answers-twice': () => {
    onCommand = (line) => {
      if (line.type === 'shutdown') process.exit(0);
      if (line.type !== 'send_message') return;
      post(line, { message_id: 'the first' });
      post(line, { message_id: 'the second' });
    };
    ready();
    say(hello(1));
  },
  'answers-never': () => {
    onCommand = ({ type }) => type === 'shutdown' && process.exit(0);
    ready();
    say(hello(1));
  },
  /** Answers whatever request another gateway may have, and not its own. */
  'answers-others': () => {
    onCommand = ({ type, request_id }) => {
      if (type === 'shutdown') process.exit(0);
      if (type !== 'send_message') return;
      const ids = Array.from({ length: 20_000 }, (_, n) => `r${n}`);
      const guesses = ids.filter((id) => id !== request_id);
      say(...guesses.map((id) => ({ type: 'command_ok', request_id: id, message_id: 'stolen' })));
    };
    ready();
    say(hello(1));
  },
  /** Speaks as a person of a chat that another gateway has. */
  impostor: () => {
    const chat = setting('chat', '');
    const sender = { id: setting('sender', '') };
    const routing = { channel: 'good', chat_type: 'dm', chat_id: chat, sender_id: sender.id };
    ready();
    say(
      message('I am another', chat, { sender, routing, account: 'good', gateway: 'good' }),
      message('and speak again', chat, { sender, routing }),
      { type: 'chat_migrated', event_id: 'moved', chat_id: chat, new_chat_id: 'mine' },
      message('where am I?', 'mine', { sender, routing: { ...routing, chat_id: 'mine' } }),
    );
  },
  /** Everything three times, in any order, and again in its next life. */
  redelivers: () => {
    const all = Array.from({ length: 200 }, (_, n) => message(`m${n}`, `c${n % 10}`));
    ready();
    say(...all.toReversed(), ...all, ...all.filter((_, n) => n % 3 === 0), ...all.toSorted(anyhow));
    if (setting('once', '') === '') setTimeout(() => process.exit(7), 200);
  },
};

let seed = 1;
function anyhow(): number {
  seed = (seed * 48_271) % 2_147_483_647;
  return (seed % 3) - 1;
}

if (behaviour === 'child-that-ignores-sigterm') {
  stayForEver();
} else {
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (text) => {
    const line = JSON.parse(text) as Line;
    if (line.type === 'configure') void behaviours[behaviour]?.();
    else onCommand(line);
  });
  lines.on('close', () => onStdinEnd());
}
