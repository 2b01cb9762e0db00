import { closeSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setImmediate as nextTick } from 'node:timers/promises';

/**
 * A gateway that behaves as its first argument says, mostly badly:
 * `node bad-gateway-main.ts BEHAVIOUR [NAME=VALUE …]`. What it saw of the server goes to stderr.
 */
type Line = Record<string, unknown> & { type: string; request_id?: string };

const [behaviour = 'good', ...rest] = process.argv.slice(2);
const settings = new Map(rest.map((one) => one.split('=', 2) as [string, string]));
const setting = (name: string, fallback = ''): string => settings.get(name) ?? fallback;
const count = Number(setting('count', '1'));

/** What has to come before the process may end: it waits until there is room in its pipe. */
function write(text: string | Buffer, fd = 1): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
}
const say = (line: object): void => write(`${JSON.stringify(line)}\n`);
const log = (text: string): void => write(`${text}\n`, 2);
const stay = (): void => void setInterval(() => undefined, 1000);
const exit = (code: number) => (): never => process.exit(code);

function ready(more: object = {}): void {
  const capabilities = ['ack', 'preview', 'edit', 'typing'];
  say({ type: 'ready', gateway: behaviour, version: '1', protocol: 'v1', capabilities, ...more });
}

/** What somebody says in a chat; `id` names it for good. */
function message(id: string, chat_id: string, text = id, more: object = {}): object {
  return {
    type: 'message_received',
    event_id: `${id}${'.'.repeat(Number(setting('padding', '0')))}`,
    message_id: id,
    chat_id,
    sender: { id: `user of ${chat_id}` },
    content: { text },
    routing: { chat_type: 'dm', chat_id, sender_id: `user of ${chat_id}` },
    timestamp: '2026-01-01T00:00:00Z',
    ...more,
  };
}
const hello = (n: number): object => message(`hello ${n}`, 'c1');

/** Writes many lines at full speed, and reads what the server says meanwhile. */
async function flood(line: (n: number) => object | string): Promise<void> {
  for (let n = 0; n < count; n += BATCH) {
    const lines = Array.from({ length: Math.min(BATCH, count - n) }, (_, i) => line(n + i));
    write(lines.map((one) => `${typeof one === 'string' ? one : JSON.stringify(one)}\n`).join(''));
    await nextTick();
  }
}
const BATCH = 100;

/** Texts that were posted, each a line of the file `posted`. */
function post({ chat_id, content }: Line): void {
  const file = setting('posted');
  if (file === '') return;
  writeFileSync(file, `${JSON.stringify({ chat_id, content })}\n`, { flag: 'a' });
}

let posts = 0;
/** What it does with each command. Until it is replaced, what a good gateway does. */
let onCommand = (line: Line): void => {
  switch (line.type) {
    case 'ping':
      say({ type: 'pong', request_id: line.request_id, uptime_seconds: 1, connected: true });
      return;
    case 'send_message':
      posts += 1;
      post(line);
      say({ type: 'command_ok', request_id: line.request_id, message_id: `p${posts}` });
      return;
    case 'shutdown':
      process.exit(0);
  }
};
let onStdinEnd = (): void => process.exit(0);

const behaviours: Record<string, (configure: Line) => unknown> = {
  good: () => ready(),
  'floods-messages': async () => {
    ready();
    const chats = Number(setting('chats', '100'));
    await flood((n) => message(`m${n}`, `c${n % chats}`));
    log('the flood is over');
  },
};

const lines = createInterface({ input: process.stdin });
lines.on('line', (text) => {
  const line = JSON.parse(text) as Line;
  if (line.type === 'configure') behaviours[behaviour]?.(line);
  else onCommand(line);
});
lines.on('close', () => onStdinEnd());
