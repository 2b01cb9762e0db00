import { fstatSync, mkdirSync, openSync, statSync } from 'node:fs';
import path from 'node:path';
import { styleText } from 'node:util';
import pino, { type DestinationStream, type Logger, type StreamEntry } from 'pino';

export interface LogOptions {
  level: string;
  /** `auto`: readable on a terminal, JSON elsewhere. */
  format: 'auto' | 'json' | 'pretty';
  /** Also written there as JSON lines (0600), unless stderr is that file already; null: not. */
  file: string | null;
  /** Replaced by `[redacted]` wherever they appear. */
  secrets: readonly string[];
}

const STDERR = 2;

/** A log, and what a reload changes of it. */
export interface OpenLog {
  log: Logger;
  /** What is written from now on, and which secrets are hidden beside those that were so far. */
  change(to: { level: string; secrets: readonly string[] }): void;
}

/** The server's log: JSON lines on stderr, readable ones on a terminal, and a file. */
export function openLog(options: LogOptions): OpenLog {
  const isPretty =
    options.format === 'pretty' || (options.format === 'auto' && process.stderr.isTTY);
  const secrets = new Secrets();
  secrets.hide(options.secrets);
  // The level is the logger's, where it can be changed.
  const level: StreamEntry['level'] & string = 'trace';
  const stderr = isPretty ? prettyStream() : openSink(STDERR);
  const streams: StreamEntry[] = [{ level, stream: redacting(stderr, secrets) }];
  if (options.file !== null && !isStderr(options.file)) {
    mkdirSync(path.dirname(options.file), { recursive: true, mode: 0o700 });
    const file = openSink(openSync(options.file, 'a', 0o600));
    streams.push({ level, stream: redacting(file, secrets) });
  }
  const log = pino({ level: options.level, base: null }, pino.multistream(streams));
  return {
    log,
    change: (to) => {
      secrets.hide(to.secrets);
      log.level = to.level;
    },
  };
}

/** Bytes of log that wait to be written; beyond it, lines are dropped. */
const MAX_WAITING = 1024 * 1024;

/** Writes to a descriptor. A closed pipe or a full disk costs log lines and never the server. */
function openSink(dest: number): DestinationStream {
  const sink = pino.destination({ dest, sync: false, maxLength: MAX_WAITING });
  sink.on('error', () => undefined);
  return sink;
}

function isStderr(file: string): boolean {
  const here = statSync(file, { throwIfNoEntry: false });
  const there = fstatSync(STDERR);
  return here !== undefined && here.ino === there.ino && here.dev === there.dev;
}

/** What no line may show. Only grows: what was a secret may still be one elsewhere. */
class Secrets {
  readonly #texts = new Set<string>();
  /** The longest first: one may hold another. */
  #sorted: string[] = [];

  hide(secrets: readonly string[]): void {
    for (const secret of secrets) {
      if (secret.length < LEAST_SECRET) continue;
      this.#texts.add(secret);
      // As a line of JSON writes it.
      this.#texts.add(JSON.stringify(secret).slice(1, -1));
    }
    this.#sorted = [...this.#texts].sort((a, b) => b.length - a.length);
  }

  redact(line: string): string {
    return this.#sorted.reduce((text, secret) => text.replaceAll(secret, '[redacted]'), line);
  }
}

/** Shorter ones would also be cut out of what they are no part of. */
const LEAST_SECRET = 8;

/** Keeps secrets out by value, wherever a line may have got them from. */
function redacting(stream: DestinationStream, secrets: Secrets): DestinationStream {
  return {
    write(line) {
      stream.write(secrets.redact(line));
    },
  };
}

function prettyStream(): DestinationStream {
  process.stderr.on('error', () => undefined);
  return {
    write(line) {
      process.stderr.write(pretty(JSON.parse(line) as Record<string, unknown>));
    },
  };
}

const colours = { 30: 'gray', 40: 'yellow', 50: 'red', 60: 'red' } as const;

/** One log line for people: the time, the text, and the rest as `name=value`. */
function pretty(entry: Record<string, unknown>): string {
  const { level, time, msg, err, ...rest } = entry;
  const fields = Object.entries(rest).map(([name, value]) => `${name}=${shown(value)}`);
  const stack = (err as { stack?: unknown } | undefined)?.stack;
  const label = pino.levels.labels[Number(level)] ?? 'info';
  const colour = colours[Number(level) as keyof typeof colours];
  const head = `${new Date(Number(time)).toISOString().slice(11, 19)} ${label.padEnd(5)}`;
  const text = [colour ? styleText(colour, head) : head, msg, styleText('dim', fields.join(' '))];
  return `${text.join(' ').trimEnd()}\n${typeof stack === 'string' ? `${stack}\n` : ''}`;
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
