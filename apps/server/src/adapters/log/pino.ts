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

/** The server's log: JSON lines on stderr, readable ones on a terminal, and a file. */
export function openLog(options: LogOptions): Logger {
  const isPretty =
    options.format === 'pretty' || (options.format === 'auto' && process.stderr.isTTY);
  const level = options.level as StreamEntry['level'] & string;
  const stderr = isPretty ? prettyStream() : openSink(STDERR);
  const streams: StreamEntry[] = [{ level, stream: redacting(stderr, options.secrets) }];
  if (options.file !== null && !isStderr(options.file)) {
    mkdirSync(path.dirname(options.file), { recursive: true, mode: 0o700 });
    const file = openSink(openSync(options.file, 'a', 0o600));
    streams.push({ level, stream: redacting(file, options.secrets) });
  }
  return pino({ level, base: null }, pino.multistream(streams));
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

/** Keeps secrets out by value, wherever a line may have got them from. */
function redacting(stream: DestinationStream, secrets: readonly string[]): DestinationStream {
  const hidden = secrets.filter((secret) => secret.length >= 8);
  return {
    write(line) {
      stream.write(hidden.reduce((text, secret) => text.replaceAll(secret, '[redacted]'), line));
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
