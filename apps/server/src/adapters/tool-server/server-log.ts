import { printable } from '@duragent/protocol';
import type { Clock } from '../../ports/clock.ts';
import type { ToolServerLimits } from './limits.ts';

/** Where our own log goes. */
export interface Log {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
}

type LogLimits = Pick<
  ToolServerLimits,
  'tailLines' | 'logLineBytes' | 'maxEchoedLines' | 'echoWindowMs'
>;

const LF = 0x0a;

/** What a server says for people: its newest lines, and some of them in our own log. */
export class ServerLog {
  readonly #options: {
    fields: object;
    clock: Clock;
    log: Log;
    redact: (text: string) => string;
    limits: LogLimits;
  };
  readonly #tail: string[] = [];
  /** A line that has no end yet. */
  readonly #line: Buffer;
  #length = 0;
  #windowFrom = Number.NEGATIVE_INFINITY;
  #echoed = 0;
  #unechoed = 0;

  constructor(options: {
    fields: object;
    clock: Clock;
    log: Log;
    redact: (text: string) => string;
    limits: LogLimits;
  }) {
    this.#options = options;
    this.#line = Buffer.alloc(options.limits.logLineBytes);
  }

  /** The newest lines, oldest first, in one; empty where there are none. */
  get tail(): string {
    this.#endLine();
    return this.#tail.map((line) => this.#shown(line)).join(' | ');
  }

  /** Takes the next bytes of its stderr. */
  push(chunk: Buffer): void {
    let from = 0;
    for (let to = chunk.indexOf(LF); to >= 0; to = chunk.indexOf(LF, from)) {
      this.#keep(chunk.subarray(from, to));
      this.#endLine();
      from = to + 1;
    }
    this.#keep(chunk.subarray(from));
  }

  /** Takes a line. */
  line(text: string): void {
    if (text.trim() === '') return;
    // Made fit to be shown only when somebody looks: there may be very many.
    this.#tail.push(text);
    if (this.#tail.length > this.#options.limits.tailLines) this.#tail.shift();
    this.#echo(text);
  }

  #shown(text: string): string {
    const { redact, limits } = this.#options;
    return printable(redact(text), limits.logLineBytes).trim();
  }

  #keep(bytes: Buffer): void {
    this.#length += bytes.copy(this.#line, this.#length);
  }

  #endLine(): void {
    const text = this.#line.toString('utf8', 0, this.#length);
    this.#length = 0;
    this.line(text);
  }

  #echo(line: string): void {
    const { fields, clock, log, limits } = this.#options;
    const now = clock.monotonic();
    if (now - this.#windowFrom >= limits.echoWindowMs) {
      if (this.#unechoed > 0) log.debug({ ...fields, lines: this.#unechoed }, 'and more lines');
      this.#windowFrom = now;
      this.#echoed = 0;
      this.#unechoed = 0;
    }
    if (this.#echoed >= limits.maxEchoedLines) {
      this.#unechoed += 1;
      return;
    }
    this.#echoed += 1;
    log.debug({ ...fields, line: this.#shown(line) }, 'tool server says');
  }
}
