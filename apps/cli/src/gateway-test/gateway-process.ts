import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import {
  readGatewayEvent,
  type GatewayAnswer,
  type GatewayEvent,
  type LineFault,
} from '@duragent/protocol';
import { JsonLineReader } from '@duragent/protocol/node';

/** A line that the gateway wrote, as the server reads it. */
export type SeenLine = { event: GatewayEvent } | { fault: LineFault };

/** How a process ended. */
export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** Lines that are kept of one run; a gateway that writes more is judged by these. */
const MAX_LINES = 20_000;
const MAX_LOG = 16_384;
/** A line's end, and a byte order mark in UTF-8. */
const LINE_WITH_MARK = '\n\u00ef\u00bb\u00bf';

/** One run of the gateway: its lines in, its lines out, and how it ends. It never outlives `kill`. */
export class GatewayProcess {
  /** What it wrote to stdout, oldest first. */
  readonly lines: SeenLine[] = [];
  /** What it was asked, by request id, with all it answered. */
  readonly requests = new Map<string, { type: string; answers: GatewayAnswer[] }>();
  /** Answers to nothing that was asked. */
  readonly unasked: GatewayAnswer[] = [];
  /** The end of what it wrote to stderr. */
  log = '';
  /** Whether a line began with a byte order mark, which the server puts up with. */
  hasByteOrderMark = false;
  /** How it ended; null: it runs. */
  exit: Exit | null = null;
  /** Whether nobody holds its stdout and stderr any more. */
  isClosed = false;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #watchers = new Set<() => void>();
  /** Lines that wait for one that is being written in pieces; null: there is none. */
  #held: string[] | null = null;
  /** The end of what came last, in which a mark may begin. */
  #tail = '\n';

  /** @param onEvent is told each valid event, as it comes. */
  constructor(
    command: string,
    args: readonly string[],
    options: { cwd: string; env: NodeJS.ProcessEnv },
    onEvent: (event: GatewayEvent, process: GatewayProcess) => void,
  ) {
    // A group of its own: what it starts can be ended with it.
    this.#child = spawn(command, args, { ...options, stdio: 'pipe', detached: true });
    const { stdin, stdout, stderr } = this.#child;
    const reader = new JsonLineReader({
      value: (value) => this.#take(value, onEvent),
      fault: (fault) => this.#keep({ fault }),
    });
    stdout.on('data', (chunk: Buffer) => {
      this.#lookForMark(chunk);
      reader.push(chunk);
      this.#changed();
    });
    stdout.once('end', () => reader.end());
    stderr.setEncoding('utf8').on('data', (text: string) => {
      this.log = (this.log + text).slice(-MAX_LOG);
    });
    for (const stream of [stdin, stdout, stderr]) stream.on('error', () => undefined);
    this.#child.once('error', (error) => {
      this.log += `${error.message}\n`;
      this.exit ??= { code: null, signal: null };
      this.#changed();
    });
    this.#child.once('exit', (code, signal) => {
      this.exit = { code, signal };
      this.#changed();
    });
    this.#child.once('close', () => {
      this.isClosed = true;
      this.#changed();
    });
  }

  /** Valid events, oldest first. */
  get events(): GatewayEvent[] {
    return this.lines.flatMap((line) => ('event' in line ? [line.event] : []));
  }

  /** Writes bytes as they are. Resolves when the pipe took them, or never will. */
  async write(bytes: Uint8Array | string): Promise<void> {
    const { stdin } = this.#child;
    if (!stdin.writable) return;
    await new Promise<void>((resolve) => stdin.write(bytes, () => resolve()));
  }

  /** Sends one message in pieces of so many bytes. What is sent meanwhile follows it. */
  async sendInPieces(message: object, length: number): Promise<void> {
    this.expect(message);
    const bytes = Buffer.from(`${JSON.stringify(message)}\n`);
    this.#held = [];
    for (let from = 0; from < bytes.length; from += length) {
      await this.write(bytes.subarray(from, from + length));
      // Otherwise the pipe would join them again.
      await delay(4);
    }
    const held = this.#held;
    this.#held = null;
    await this.write(held.join(''));
  }

  /** Sends messages, in one write. */
  send(...messages: object[]): void {
    for (const message of messages) this.expect(message);
    const lines = messages.map((message) => `${JSON.stringify(message)}\n`).join('');
    if (this.#held === null) void this.write(lines);
    else this.#held.push(lines);
  }

  /** Remembers a request that was, or will be, written by hand. */
  expect(message: object): void {
    if (!('request_id' in message) || !('type' in message)) return;
    this.requests.set(String(message.request_id), { type: String(message.type), answers: [] });
  }

  /** Ends its stdin. */
  endInput(): void {
    this.#child.stdin.end();
  }

  /** As when the server is killed: both pipes are gone at once. */
  abandon(): void {
    this.#child.stdout.destroy();
    this.#child.stdin.destroy();
  }

  /** Waits until `probe` gives something. @returns it, or null after `ms`. */
  async until<T>(probe: () => T | null | undefined | false, ms: number): Promise<T | null> {
    const { promise, resolve } = Promise.withResolvers<T | null>();
    const watch = (): void => {
      const found = probe();
      if (found !== null && found !== undefined && found !== false) resolve(found);
    };
    this.#watchers.add(watch);
    const timer = setTimeout(() => resolve(null), ms);
    watch();
    const found = await promise;
    clearTimeout(timer);
    this.#watchers.delete(watch);
    return found;
  }

  /** Ends it and everything that it started. */
  async kill(): Promise<void> {
    const { pid } = this.#child;
    if (pid !== undefined) {
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // Nothing is left of it.
      }
    }
    await this.until(() => this.exit !== null, 5000);
    const { stdin, stdout, stderr } = this.#child;
    for (const stream of [stdin, stdout, stderr]) stream.destroy();
  }

  #take(value: unknown, onEvent: (event: GatewayEvent, process: GatewayProcess) => void): void {
    const read = readGatewayEvent(value);
    if (!read.ok) {
      this.#keep({ fault: read.fault });
      return;
    }
    const { event } = read;
    this.#keep({ event });
    if (isAnswer(event)) this.#answer(event);
    onEvent(event, this);
  }

  #lookForMark(chunk: Buffer): void {
    const bytes = this.#tail + chunk.toString('latin1');
    this.hasByteOrderMark ||= bytes.includes(LINE_WITH_MARK);
    this.#tail = bytes.slice(1 - LINE_WITH_MARK.length);
  }

  #answer(answer: GatewayAnswer): void {
    // A pong of v1alpha1 may have no id: it answers the oldest ping that has none.
    const open = [...this.requests].find(
      ([, request]) => request.type === 'ping' && request.answers.length === 0,
    );
    const id = answer.request_id ?? open?.[0] ?? '';
    const request = this.requests.get(id);
    if (request === undefined) this.unasked.push(answer);
    else request.answers.push(answer);
  }

  #keep(line: SeenLine): void {
    if (this.lines.length < MAX_LINES) this.lines.push(line);
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

function isAnswer(event: GatewayEvent): event is GatewayAnswer {
  switch (event.type) {
    case 'command_ok':
    case 'command_error':
    case 'message_found':
    case 'message_not_found':
    case 'pong':
      return true;
    default:
      return false;
  }
}
