import type { Readable } from 'node:stream';
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/client';
import type { Clock } from '../../ports/clock.ts';
import { JsonLines } from './json-lines.ts';
import type { ToolServerLimits } from './limits.ts';
import type { MessageGate } from './message-gate.ts';
import type { Exit, ServerProcess } from './server-process.ts';

/**
 * JSON lines over the stdin and stdout of a process that runs. Closed at once when the process or
 * its stdout ends, and when it does not read; `close` resolves when the process is gone.
 */
export class StdioTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;
  readonly #process: ServerProcess;
  readonly #limits: ToolServerLimits;
  readonly #clock: Clock;
  readonly #gate: MessageGate;
  readonly #lines: JsonLines;
  readonly #onEnd: (how: Exit | string) => void;
  #isClosed = false;
  #ended: Promise<void> | null = null;

  /** @param onEnd is called, at most once and before `onclose`, when it ends without having been asked to. */
  constructor(options: {
    process: ServerProcess;
    clock: Clock;
    limits: ToolServerLimits;
    gate: MessageGate;
    onEnd: (how: Exit | string) => void;
  }) {
    this.#process = options.process;
    this.#clock = options.clock;
    this.#limits = options.limits;
    this.#gate = options.gate;
    this.#lines = new JsonLines(options.limits);
    this.#onEnd = options.onEnd;
  }

  async start(): Promise<void> {
    const { stdout, stderr, exited } = this.#process;
    stdout.on('data', this.#onData);
    void this.#watch(exited, ended(stdout), ended(stderr));
  }

  async send(message: JSONRPCMessage): Promise<void> {
    const { stdin } = this.#process;
    if (this.#isClosed || !stdin.writable) throw new Error('the server has ended');
    if (stdin.writableLength > this.#limits.maxUnreadBytes) {
      const why = 'does not read what it is sent';
      this.kill(why);
      throw new Error(`the server ${why}`);
    }
    this.#gate.sent(message);
    stdin.write(`${JSON.stringify(message)}\n`);
  }

  /** Ends it without giving it time to, because of what it does: `why` goes on with "the server". */
  kill(why: string): void {
    if (this.#isClosed) return;
    this.#process.kill('SIGKILL');
    this.#break(why);
  }

  close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.onclose?.();
    }
    this.#ended ??= this.#end();
    return this.#ended;
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#lines.push(chunk, (line) => {
      if (this.#isClosed) return;
      for (const message of this.#gate.take(line)) this.onmessage?.(message);
    });
  };

  async #watch(exited: Promise<Exit>, stdout: Promise<void>, stderr: Promise<void>): Promise<void> {
    let exit: Exit | null = null;
    const noted = exited.then((how) => {
      exit = how;
    });
    await Promise.race([noted, stdout]);
    // What it wrote last may be the answer, or say why it ended.
    const all = Promise.all([noted, stdout, stderr]);
    await Promise.race([all, this.#after(this.#limits.drainMs)]);
    this.#break(exit ?? 'closed its stdout');
  }

  #break(how: Exit | string): void {
    if (this.#isClosed) return;
    this.#onEnd(how);
    void this.close();
  }

  async #end(): Promise<void> {
    const { stdin, stdout, stderr, exited } = this.#process;
    // Nobody reads on, and a full pipe would keep it from ending.
    stdout.off('data', this.#onData);
    stdout.resume();
    stdin.end();
    const isGone = exited.then(() => true);
    const { endMs, termMs } = this.#limits;
    if ((await Promise.race([isGone, this.#after(endMs)])) !== true) {
      this.#process.kill('SIGTERM');
      if ((await Promise.race([isGone, this.#after(termMs)])) !== true) {
        this.#process.kill('SIGKILL');
      }
    }
    await exited;
    for (const stream of [stdin, stdout, stderr]) stream.destroy();
  }

  #after(ms: number): Promise<undefined> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#clock.after(ms, () => resolve(undefined));
    return promise;
  }
}

function ended(stream: Readable): Promise<void> {
  return new Promise((resolve) => {
    for (const event of ['end', 'close', 'error']) stream.once(event, () => resolve());
  });
}
