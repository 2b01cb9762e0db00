import { printable } from '@duragent/protocol';
import type { Clock } from '../../ports/clock.ts';
import type { GatewayProcessLimits } from './limits.ts';
import type { Redactor } from './redact.ts';

/** Where the server's own log goes. */
export interface ServerLog {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

type LogLimits = Pick<
  GatewayProcessLimits,
  'logLines' | 'logLineBytes' | 'maxEchoedLines' | 'echoWindowMs'
>;

/**
 * The newest lines that a gateway wrote, without its secrets and without control characters.
 * Some of them are repeated in the server's log; what is too much for it is counted there.
 */
export class GatewayLog {
  readonly #options: {
    name: string;
    clock: Clock;
    log: ServerLog;
    redact: Redactor;
    limits: LogLimits;
  };
  /** As they came, in a circle: they are made fit to be shown when somebody looks. */
  readonly #lines: string[] = [];
  #next = 0;
  #windowFrom = Number.NEGATIVE_INFINITY;
  #echoed = 0;
  #unechoed = 0;

  constructor(options: {
    name: string;
    clock: Clock;
    log: ServerLog;
    redact: Redactor;
    limits: LogLimits;
  }) {
    this.#options = options;
  }

  /** Oldest first. */
  get lines(): readonly string[] {
    return [...this.#lines.slice(this.#next), ...this.#lines.slice(0, this.#next)].map((line) =>
      this.#shown(line),
    );
  }

  push(text: string): void {
    this.#lines[this.#next] = text;
    this.#next = (this.#next + 1) % this.#options.limits.logLines;
    this.#echo(text);
  }

  #echo(text: string): void {
    const { name, clock, log, limits } = this.#options;
    const now = clock.monotonic();
    if (now - this.#windowFrom >= limits.echoWindowMs) {
      if (this.#unechoed > 0) {
        log.debug(
          { gateway: name, lines: this.#unechoed },
          'more lines of the gateway are in its log',
        );
      }
      this.#windowFrom = now;
      this.#echoed = 0;
      this.#unechoed = 0;
    }
    if (this.#echoed >= limits.maxEchoedLines) {
      this.#unechoed += 1;
      return;
    }
    this.#echoed += 1;
    log.debug({ gateway: name, line: this.#shown(text) }, 'gateway says');
  }

  #shown(text: string): string {
    const { redact, limits } = this.#options;
    const shown = printable(redact(text), limits.logLineBytes);
    // Characters may be several bytes.
    return Buffer.byteLength(shown) <= limits.logLineBytes
      ? shown
      : cut(shown, limits.logLineBytes);
  }
}

/** The beginning of a text, in at most so many bytes of UTF-8, without half a character. */
function cut(text: string, bytes: number): string {
  return Buffer.from(text)
    .toString('utf8', 0, bytes)
    .replace(/\uFFFD{1,3}$/, '');
}
