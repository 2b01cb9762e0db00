import { spawn } from 'node:child_process';
import { closeSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';

/**
 * A gateway that behaves as its first argument says, mostly badly. Run as a process:
 * `node scripted-gateway.testing.ts BEHAVIOUR [ARGUMENT]`.
 */
type Line = Record<string, unknown> & { type: string; request_id?: string };

const [behaviour = 'good', argument = ''] = process.argv.slice(2);
/** What has to come before the process may end: writes to its pipe wait until there is room. */
const write = (text: string | Buffer, fd = 1): void => {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
};
const say = (line: object): void => write(`${JSON.stringify(line)}\n`);
const log = (text: string): void => write(`${text}\n`, 2);
const readyLine = {
  type: 'ready',
  gateway: 'scripted',
  version: '1',
  protocol: 'v1',
  capabilities: ['ack'],
};
const ready = (more: object = {}): void => say({ ...readyLine, ...more });
const event = (n: number, more: object = {}): object => ({
  type: 'message_received',
  event_id: `e${n}`,
  cursor: n,
  message_id: `m${n}`,
  chat_id: 'c',
  sender: { id: 'u' },
  content: { text: `text ${n}` },
  routing: { chat_type: 'dm', chat_id: 'c', sender_id: 'u' },
  timestamp: '2026-01-01T00:00:00Z',
  ...more,
});
const stay = (): void => void setInterval(() => undefined, 1000);

/** What it does with each command. Until it is replaced, what a good gateway does. */
let onCommand = (line: Line): void => {
  switch (line.type) {
    case 'ack':
      log(`acked ${String(line['event_ids'])}`);
      return;
    case 'ping':
      say({ type: 'pong', request_id: line.request_id, uptime_seconds: 1, connected: true });
      return;
    case 'send_message':
      say({ type: 'command_ok', request_id: line.request_id, message_id: 'm1' });
      return;
    case 'send_typing':
      log(`typing in ${String(line['chat_id'])}`);
      return;
    case 'shutdown':
      log(`shutdown within ${String(line['deadline_ms'])}`);
      process.exit(0);
  }
};
let onStdinEnd = (): void => process.exit(0);

const behaviours: Record<string, (configure: Line) => void> = {
  good: () => ready(),
  'not-ready': () => undefined,
  v2: () => ready({ protocol: 'v2' }),
  v1alpha1: () => {
    const { event_id: _, ...without } = event(1) as { event_id: string };
    onCommand = (line) => {
      log(`got ${line.type}`);
      if (line.type === 'ping') say({ type: 'pong' });
    };
    ready({ protocol: 'v1alpha1', capabilities: [] });
    say(without);
  },
  environment: () => {
    log(JSON.stringify(process.env));
    ready();
  },
  /** Says what it was configured with, and then an error with its token. */
  unauthorized: (configure) => {
    const { token } = configure['config'] as { token: string };
    log(`GET /bot${token}/getMe`);
    say({ type: 'error', code: 'unauthorized', message: `401 for ${token}`, fatal: true });
    process.exit(1);
  },
  conflict: () => {
    ready();
    say({ type: 'error', code: 'conflict', message: 'another process polls' });
    stay();
  },
  secrets: (configure) => {
    const { token } = configure['config'] as { token: string };
    const text = `it is ${token}`;
    ready();
    log(text);
    write(`${text}\n`);
    log(`${'x'.repeat(2040)}${token}`);
    say({ type: 'error', code: 'platform_error', message: text });
    onCommand = (line) => {
      if (line.type === 'shutdown') process.exit(0);
      if (line.type !== 'send_message') return;
      say({ type: 'command_error', request_id: line.request_id, code: 'blocked', message: text });
      log(text);
      setTimeout(() => process.exit(5), 50);
    };
  },
  'last-words': () => {
    ready();
    log('cannot find my file');
    process.exit(Number(argument));
  },
  /** Lines that are none, between events that are. */
  rubbish: () => {
    ready();
    say(event(1));
    write(`${'['.repeat(10_000)}${']'.repeat(10_000)}\n`);
    write(`{"type":"command_ok","request_id":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}}\n`);
    say(event(2));
    write(Buffer.from([0xff, 0xfe, 0x80, 0x0a]));
    write('a\0b\0\n');
    write('\0\0\0\n');
    write('plain text, \x1b[31mred\x1b[0m\n');
    write('{"type":"message_received", broken\n');
    write('null\n42\n"text"\n[]\n{}\n');
    write('{"__proto__":{"polluted":true},"type":"pong"}\n');
    write(`${JSON.stringify(event(3)).slice(0, -1)},"__proto__":{"polluted":true}}\n`);
    say({ type: 'from_the_future' });
    say({ ...event(4), content: 7 });
    say(event(5));
    write('{"type":"message_received","event_id":"half');
    process.exit(0);
  },
  /** So many bytes without an LF on a stream, and then an event. */
  'long-line': () => {
    ready();
    const [fd, megabytes] = argument.split(':').map(Number);
    const block = Buffer.alloc(1024 * 1024, 'x');
    for (let i = 0; i < (megabytes ?? 0); i += 1) write(block, fd);
    write('\n', fd);
    say(event(1));
  },
  flood: () => {
    ready();
    const count = Number(argument);
    for (let n = 0; n < count; n += 100) {
      write(Array.from({ length: 100 }, (_, i) => `${JSON.stringify(event(n + i))}\n`).join(''));
    }
    log('flood is over');
  },
  /** Answers to nothing, in one write, and then an event. */
  unasked: () => {
    ready();
    const lines = Array.from({ length: Number(argument) }, (_, n) => ({
      type: 'pong',
      request_id: `p${n}`,
      connected: true,
    }));
    write(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    say(event(1));
  },
  invalid: () => {
    ready();
    for (let n = 0; n < Number(argument); n += 1) say({ type: 'pong', connected: n });
    say(event(1));
  },
  chatty: () => {
    ready();
    for (let n = 0; n < 1000; n += 1) write(`line ${n}\n`, 1 + (n % 2));
    log(`\x1b[2J${'ä'.repeat(5000)}`);
    log('that is all');
    say(event(1));
  },
  /** All in one write, and gone. */
  'write-and-exit': () => {
    ready();
    const lines = Array.from({ length: 250 }, (_, n) => JSON.stringify(event(n)));
    const text = `${lines.join('\n')}\n`;
    write(text.padStart(65_536, '\n'));
    process.exit(0);
  },
  deaf: () => {
    ready();
    process.stdin.pause();
    stay();
    onStdinEnd = () => undefined;
  },
  'closes-stdin': () => {
    ready();
    process.stdin.destroy();
    closeSync(0);
    stay();
  },
  'closes-stdout': () => {
    ready();
    closeSync(1);
    stay();
  },
  /** Deaf to all but SIGKILL, with a child of the same kind. */
  stubborn: () => {
    const child = spawn(process.execPath, [process.argv[1] ?? '', 'stubborn-child'], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
      process.on(signal, () => undefined);
    onStdinEnd = () => undefined;
    onCommand = () => undefined;
    log(`pids ${process.pid} ${child.pid ?? 0}`);
    // Not before the child is deaf too.
    setTimeout(ready, 300);
    stay();
  },
  /** Ends and leaves a child in another session that holds its pipes. */
  'leaves-pipe-open': () => {
    const code = 'setTimeout(() => {}, 20000)';
    const child = spawn(process.execPath, ['-e', code], { stdio: 'inherit', detached: true });
    child.unref();
    log(`pids ${child.pid ?? 0}`);
    ready();
    say(event(1));
    process.exit(3);
  },
  'ignores-pings': () => {
    ready();
    onCommand = () => undefined;
  },
  disconnected: () => {
    ready();
    onCommand = ({ type, request_id }) => {
      if (type === 'ping') say({ type: 'pong', request_id, connected: false });
      if (type === 'shutdown') process.exit(0);
    };
  },
  /** Answers as its argument says: `twice`, `never`, `other`, or `exit` instead. */
  answers: () => {
    ready();
    onCommand = ({ type, request_id }) => {
      if (type === 'shutdown') process.exit(0);
      if (type !== 'send_message') return;
      if (argument === 'exit') process.exit(7);
      if (argument === 'other') say({ type: 'command_ok', request_id: 'of-another' });
      if (argument === 'twice') {
        say({ type: 'command_ok', request_id, message_id: 'first' });
        say({ type: 'command_ok', request_id, message_id: 'second' });
      }
    };
  },
  /** The two events after the cursor that it was given, in one write with `ready`. */
  next: (configure) => {
    const cursor = Number(configure['cursor'] ?? 0);
    const lines = [readyLine, event(cursor + 1), event(cursor + 2)];
    write(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  },
  'says-goodbye': () => {
    ready();
    onCommand = () => undefined;
    onStdinEnd = () => undefined;
    say({ type: 'shutdown', reason: 'the phone was unlinked' });
    setTimeout(() => process.exit(Number(argument)), 20);
  },
  'says-why': () => {
    onCommand = () => undefined;
    onStdinEnd = () => undefined;
    say({ type: 'error', code: 'failed', message: 'the platform cannot be reached' });
    say({ type: 'shutdown', reason: 'failed' });
    setTimeout(() => process.exit(1), 20);
  },
  /** Works until the server looks after it. */
  'exits-at-ping': () => {
    ready();
    onCommand = ({ type }) => {
      if (type === 'ping') process.exit(1);
    };
  },
  exits: () => {
    ready();
    setTimeout(() => process.exit(Number(argument)), 20);
  },
};

if (behaviour === 'crash-at-start') process.exit(9);
if (behaviour === 'stubborn-child') {
  process.on('SIGTERM', () => undefined);
  stay();
} else {
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (text) => {
    const line = JSON.parse(text) as Line;
    if (line.type === 'configure') behaviours[behaviour]?.(line);
    else onCommand(line);
  });
  lines.on('close', () => onStdinEnd());
}
