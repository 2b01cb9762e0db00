import { isUtf8 } from 'node:buffer';
import type { Readable, Writable } from 'node:stream';
import ndjson from 'ndjson';
import {
  MAX_OPEN_REQUESTS,
  printable,
  readGatewayCommand,
  readGatewayEvent,
} from './connection.ts';
import type { LineFault } from './connection.ts';
import type { CommandOf, GatewayCommand, GatewayRequest } from './gateway/command.ts';
import { MAX_LINE_BYTES, MAX_LINE_DEPTH } from './gateway/event.ts';
import type { GatewayAnswer, GatewayEvent, InboundEvent } from './gateway/event.ts';
import { GATEWAY_PROTOCOL } from './gateway/handshake.ts';
import type { GatewayReady } from './gateway/handshake.ts';
import type { GatewayErrorCode } from './gateway/messages.ts';
import { requestIdSchema } from './gateway/shared.ts';
import { type DecodedLine, encodeLine, LineDecoder } from './lines.ts';

/** What a reader tells of each line, in order. */
export interface LineHandlers {
  /** A JSON object, and the bytes of its line. */
  value(value: unknown, bytes: number): void;
  fault(fault: LineFault): void;
}

/**
 * Cuts a byte stream into JSON objects: at most `MAX_LINE_BYTES` a line and `MAX_LINE_DEPTH` levels.
 * It keeps at most one line. Handlers are called from within `push` and `end`. Empty lines are skipped.
 */
export class JsonLineReader {
  readonly #on: LineHandlers;
  readonly #decoder = new LineDecoder({ maxBytes: MAX_LINE_BYTES });
  readonly #parser = new LineParser();

  constructor(on: LineHandlers) {
    this.#on = on;
  }

  /** Takes the next bytes. They may be reused afterwards. */
  push(chunk: Uint8Array): void {
    for (const line of this.#decoder.push(chunk)) this.#take(line);
  }

  /** The stream has ended. What stands behind the last LF is no line, and a fault. */
  end(): void {
    const rest = this.#decoder.end();
    if (rest === null) return;
    this.#on.fault(rest.type === 'line' ? notJson(rest.bytes) : tooLong(rest.length));
  }

  #take(line: DecodedLine): void {
    if (line.type === 'too_long') {
      this.#on.fault(tooLong(line.length));
      return;
    }
    const { bytes } = line;
    if (!isUtf8(bytes)) {
      this.#on.fault(notJson(bytes));
      return;
    }
    // Without the byte order mark that some shells write in front of their first line.
    const text = new TextDecoder().decode(bytes);
    const trimmed = text.trim();
    if (trimmed === '') return;
    if (isTooDeep(bytes)) {
      this.#on.fault({ kind: 'too_deep' });
      return;
    }
    // To the parser's stream null is the end.
    const value = trimmed === 'null' ? null : this.#parser.parse(text);
    if (value === undefined) {
      this.#on.fault(notJson(bytes));
    } else if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.#on.fault({ kind: 'invalid', type: null, fault: 'a line is a JSON object' });
    } else {
      this.#on.value(value, bytes.length);
    }
  }
}

/** What a gateway sends with. */
export interface GatewayLink {
  /**
   * Sends an event that a person caused; `event_id` is needed. Resolves when the server made it
   * durable (`ack`): only then the platform is told. Rejects when the link ends first, and where
   * the event does not fit the protocol or 16 MiB wait to be read. Waits until the gateway is `ready`.
   */
  deliver(event: InboundEvent): Promise<void>;
  /**
   * Sends any other event, behind `ready` where it has to be. An `error` that is `fatal` ends the
   * gateway with exit code 1. Without effect once the link has ended.
   * @throws TypeError or RangeError when the event does not fit the protocol.
   */
  send(event: Exclude<GatewayEvent, InboundEvent>): void;
  /** Aborted when the gateway has to end. */
  readonly signal: AbortSignal;
}

/** What a request is answered with, without its id. */
export type AnswerBody =
  | { type: 'command_ok'; message_id?: string }
  | {
      type: 'command_error';
      code: GatewayErrorCode;
      message: string;
      retry_after_ms?: number;
      uncertain?: boolean;
    }
  | { type: 'message_found'; message_id: string }
  | { type: 'message_not_found' };

/** What a gateway does. */
export interface GatewayHandlers {
  /**
   * Called once with `configure`; resolves when connected to the platform; what it gives is
   * announced as `ready`. @throws GatewayFatalError for `unauthorized`, `conflict` and a config
   * that cannot be used: reported as fatal, exit code 1. Any other error ends it too, and the
   * server starts it again.
   */
  configure(
    command: CommandOf<'configure'>,
    link: GatewayLink,
  ): Promise<Omit<GatewayReady, 'type' | 'protocol'>>;
  /**
   * Does a request; up to 256 run at once. What it throws is answered as `platform_error`,
   * `uncertain`. `signal` aborts when the time to end is over.
   */
  request(
    request: Exclude<GatewayRequest, CommandOf<'ping'>>,
    options: { signal: AbortSignal },
  ): Promise<AnswerBody>;
  /** Does what is not answered. What it throws goes to the log. */
  notify(command: CommandOf<'preview_message' | 'send_typing'>): void;
  /** Whether it reaches its platform. */
  connected(): boolean;
  /**
   * Ends within `deadlineMs`. Called once, behind the abort of the link's signal and unless
   * `configure` was never called or has thrown. Requests that are open still have their answers sent.
   */
  shutdown(options: { deadlineMs: number }): Promise<void>;
}

/** What keeps a gateway from working until a person changes something. */
export class GatewayFatalError extends Error {
  /** Such as `unauthorized`, `conflict` or `invalid_config`. */
  readonly code: string;

  constructor(code: string, message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'GatewayFatalError';
    this.code = code;
  }
}

/**
 * Speaks the protocol on stdin and stdout until stdin ends or `shutdown` comes. Nothing else may
 * write to stdout; stderr is the log.
 * @returns the exit code: 0 when it was asked to end, 1 when it could not go on.
 */
export function serveGateway(
  handlers: GatewayHandlers,
  streams: { stdin?: Readable; stdout?: Writable } = {},
): Promise<number> {
  const { stdin = process.stdin, stdout = process.stdout } = streams;
  process.stderr.off('error', ignore);
  process.stderr.on('error', ignore);
  return new GatewayServer(handlers, stdin, stdout).done;
}

/** How long the end may take when nobody said: the server sends SIGTERM 2 s after it closed stdin. */
const UNASKED_DEADLINE_MS = 2000;
const MAX_DEADLINE_MS = 10 * 60_000;
/** How much of a deadline is kept for the last lines to be read. */
const FLUSH_MS = 500;
/** What may wait to be read by the server, in bytes. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
const MAX_MESSAGE_LENGTH = 4000;

/** Events that may come before `ready`. */
const earlyTypes: ReadonlySet<string> = new Set<GatewayEvent['type']>([
  'ready',
  'error',
  'auth_required',
  'auth_success',
  'pong',
]);

/** One run of a gateway. */
class GatewayServer {
  /** The exit code. */
  readonly done: Promise<number>;
  readonly #handlers: GatewayHandlers;
  readonly #input: Readable;
  readonly #output: LineOutput;
  readonly #reader: JsonLineReader;
  readonly #startedAt = performance.now();
  /** The gateway has to end. */
  readonly #ending = new AbortController();
  /** The time to end is over. */
  readonly #over = new AbortController();
  /** Requests that are not answered, by their ids. */
  readonly #requests = new Map<string, Promise<void>>();
  readonly #unacked = new Map<string, PromiseWithResolvers<void>>();
  /** `failed` also where `configure` could not be read. */
  #state: 'new' | 'configuring' | 'ready' | 'failed' = 'new';
  readonly #resolve: (exitCode: number) => void;

  constructor(handlers: GatewayHandlers, input: Readable, output: Writable) {
    this.#handlers = handlers;
    this.#input = input;
    const { promise, resolve } = Promise.withResolvers<number>();
    this.done = promise;
    this.#resolve = resolve;
    this.#output = new LineOutput(output, () =>
      this.#end({ deadlineMs: UNASKED_DEADLINE_MS, reason: 'stdout was closed', exitCode: 1 }),
    );
    this.#reader = new JsonLineReader({
      value: (value) => this.#take(value),
      fault: (fault) => log(`a line from the server was dropped: ${JSON.stringify(fault)}`),
    });
    input.on('data', this.#onData);
    for (const event of ['end', 'close', 'error']) input.on(event, this.#onEnd);
  }

  readonly #onData = (chunk: Uint8Array): void => this.#reader.push(chunk);

  readonly #onEnd = (): void => {
    this.#reader.end();
    this.#end({ deadlineMs: UNASKED_DEADLINE_MS, reason: 'stdin ended', exitCode: 0 });
    this.#rejectUnacked();
  };

  #take(value: unknown): void {
    const result = readGatewayCommand(value);
    if (result.ok) {
      this.#do(result.command);
      return;
    }
    // A newer server may send types that are not known here.
    if (result.fault.kind !== 'invalid') return;
    const { type, fault } = result.fault;
    log(`a line from the server was dropped: ${type ?? 'no type'}: ${fault}`);
    if (type === 'configure' && this.#state === 'new') {
      const message = `"configure" cannot be read (${fault}): install versions of this gateway and of the server that fit`;
      this.#fail(new GatewayFatalError('invalid_request', message));
      return;
    }
    const id = requestIdOf(value);
    if (id !== null && !this.#requests.has(id)) this.#answer(id, refusal('invalid_request', fault));
  }

  #do(command: GatewayCommand): void {
    switch (command.type) {
      case 'configure':
        if (this.#state === 'new') void this.#configure(command);
        else log('a second "configure" was dropped');
        return;
      case 'ack':
        for (const id of command.event_ids) {
          this.#unacked.get(id)?.resolve();
          this.#unacked.delete(id);
        }
        return;
      case 'ping':
        this.#emit({
          type: 'pong',
          request_id: command.request_id,
          uptime_seconds: Math.floor(performance.now() - this.#startedAt) / 1000,
          connected: this.#isConnected(),
        });
        return;
      case 'shutdown':
        this.#end({ deadlineMs: command.deadline_ms, reason: 'the server asked', exitCode: 0 });
        return;
      case 'preview_message':
      case 'send_typing':
        if (this.#state !== 'ready' || this.#ending.signal.aborted) return;
        // A function that returns a promise has the type of `notify` too.
        Promise.try(() => this.#handlers.notify(command)).catch(logError);
        return;
      default:
        this.#request(command);
    }
  }

  async #configure(command: CommandOf<'configure'>): Promise<void> {
    const { signal } = this.#ending;
    if (signal.aborted) return;
    this.#state = 'configuring';
    const link: GatewayLink = {
      deliver: (event) => {
        const delivery = this.#deliver(event);
        // Whoever awaits it is told; where nobody does, the end is no reason to crash.
        delivery.catch((error: unknown) => {
          if (!this.#ending.signal.aborted) logError(error);
        });
        return delivery;
      },
      send: (event) => this.#send(event),
      signal,
    };
    try {
      const ready = await this.#handlers.configure(command, link);
      if (signal.aborted) return;
      this.#emit({ ...ready, type: 'ready', protocol: GATEWAY_PROTOCOL });
      this.#state = 'ready';
      this.#output.release();
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  /** Says why it cannot go on, and ends. */
  #fail(error: unknown): void {
    this.#state = 'failed';
    const fatal = error instanceof GatewayFatalError;
    if (!fatal) logError(error);
    const code = (fatal ? error.code.slice(0, 100) : '') || 'failed';
    this.#emit({ type: 'error', code, message: messageOf(error), fatal });
    this.#end({ deadlineMs: UNASKED_DEADLINE_MS, reason: code, exitCode: 1 });
  }

  #request(request: Exclude<GatewayRequest, CommandOf<'ping'>>): void {
    const id = request.request_id;
    if (this.#requests.has(id)) {
      log(`a line from the server was dropped: the request_id of a ${request.type} is in use`);
      return;
    }
    const refused = this.#refuse();
    if (refused !== null) {
      this.#answer(id, refused);
      return;
    }
    const { signal } = this.#over;
    const { promise, resolve } = Promise.withResolvers<void>();
    const answer = (body: AnswerBody): void => {
      if (!this.#requests.delete(id)) return;
      signal.removeEventListener('abort', giveUp);
      this.#answer(id, body);
      resolve();
    };
    const giveUp = (): void => answer(uncertain('the gateway ended before the platform answered'));
    signal.addEventListener('abort', giveUp, { once: true });
    this.#requests.set(id, promise);
    void Promise.try(() => this.#handlers.request(request, { signal })).then(answer, (error) => {
      logError(error);
      // The platform may have done it before this was thrown.
      answer(uncertain(messageOf(error)));
    });
  }

  /** @returns why no request is taken now; null: one is. */
  #refuse(): AnswerBody | null {
    if (this.#ending.signal.aborted) return refusal('not_connected', 'the gateway is ending');
    if (this.#state !== 'ready') return refusal('not_connected', 'the gateway is not ready');
    if (this.#requests.size < MAX_OPEN_REQUESTS) return null;
    const message = `${MAX_OPEN_REQUESTS} requests are open already`;
    return { type: 'command_error', code: 'rate_limited', message, retry_after_ms: 1000 };
  }

  #answer(id: string, body: AnswerBody): void {
    try {
      this.#emit(answerOf(id, body));
    } catch (error) {
      logError(error);
      this.#emit(answerOf(id, uncertain(`the gateway made no valid answer: ${messageOf(error)}`)));
    }
  }

  async #deliver(event: InboundEvent): Promise<void> {
    const id = event.event_id;
    if (id === undefined) {
      throw new TypeError(`a ${event.type} needs an event_id, the same on every redelivery`);
    }
    const line = encode(event);
    if (this.#ending.signal.aborted) throw this.#ended();
    let waiting = this.#unacked.get(id);
    if (waiting === undefined) {
      if (this.#output.waitingBytes + line.length > MAX_WAITING_BYTES) {
        throw new RangeError(
          `${MAX_WAITING_BYTES} bytes wait for the server: deliver fewer at once`,
        );
      }
      waiting = Promise.withResolvers<void>();
      this.#unacked.set(id, waiting);
      this.#output.write(line);
    }
    await waiting.promise;
  }

  #send(event: Exclude<GatewayEvent, InboundEvent>): void {
    this.#emit(event);
    if (event.type === 'error' && event.fatal) {
      this.#end({ deadlineMs: UNASKED_DEADLINE_MS, reason: event.code, exitCode: 1 });
    }
  }

  #emit(event: GatewayEvent): void {
    const line = encode(event);
    if (earlyTypes.has(event.type)) this.#output.writeNow(line);
    else this.#output.write(line);
  }

  #isConnected(): boolean {
    try {
      return this.#state === 'ready' && this.#handlers.connected();
    } catch (error) {
      logError(error);
      return false;
    }
  }

  #ended(): Error {
    return new Error('the link to the server ended before the event was durable');
  }

  #rejectUnacked(): void {
    for (const { reject } of this.#unacked.values()) reject(this.#ended());
    this.#unacked.clear();
  }

  #end(how: Ending): void {
    if (this.#ending.signal.aborted) return;
    this.#ending.abort(new Error(how.reason));
    void this.#finish(how).then(this.#resolve);
  }

  /** Answers what is open, lets the handlers end, and writes the last line. Never rejects. */
  async #finish({ deadlineMs, reason, exitCode }: Ending): Promise<number> {
    const limited = Math.min(deadlineMs, MAX_DEADLINE_MS);
    const endAt = performance.now() + limited;
    const workMs = Math.max(limited - FLUSH_MS, limited / 2);
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, workMs);
    const work: Promise<unknown>[] = [...this.#requests.values()];
    if (this.#state === 'configuring' || this.#state === 'ready') {
      const ended = Promise.try(() => this.#handlers.shutdown({ deadlineMs: workMs }));
      work.push(ended.catch(logError));
    }
    await Promise.race([over, Promise.all(work)]);
    clearTimeout(timer);
    this.#over.abort(new Error('the time to end is over'));
    const last = encode({ type: 'shutdown', reason: cut(reason, 2000) });
    await this.#output.close(last, Math.max(endAt - performance.now(), FLUSH_MS));
    this.#rejectUnacked();
    this.#input.off('data', this.#onData);
    this.#input.pause();
    return exitCode;
  }
}

interface Ending {
  deadlineMs: number;
  reason: string;
  exitCode: number;
}

/** Lines to a stream, in order, as fast as it takes them. Until `release` only those written `now` go out. */
class LineOutput {
  readonly #stream: Writable;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #held = true;
  #behind = false;
  #closed = false;

  /** @param onBroken is called, at most once, when the stream takes no more. */
  constructor(stream: Writable, onBroken: () => void) {
    this.#stream = stream;
    const broken = (): void => {
      if (this.#closed) return;
      this.#closed = true;
      this.#waiting = [];
      onBroken();
    };
    // Never taken off: an error may come after the last line.
    stream.on('error', broken);
    stream.on('close', broken);
    stream.on('drain', () => {
      this.#behind = false;
      this.#flush();
    });
  }

  /** How much was written that the stream has not been given yet. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  write(line: Uint8Array): void {
    if (this.#closed) return;
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    this.#flush();
  }

  /** Writes in front of what waits. */
  writeNow(line: Uint8Array): void {
    if (!this.#closed) this.#behind = !this.#stream.write(line);
  }

  /** Lets go out what was written, and what will be. */
  release(): void {
    this.#held = false;
    this.#flush();
  }

  /** Writes what waits, unless it is held, and a last line. Resolves when they are taken, or after `ms`. Never rejects. */
  async close(last: Uint8Array, ms: number): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const lines = this.#held ? [last] : [...this.#waiting, last];
    this.#waiting = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#stream.write(Buffer.concat(lines), () => resolve());
    await promise;
    clearTimeout(timer);
  }

  #flush(): void {
    while (!this.#held && !this.#behind && !this.#closed) {
      const line = this.#waiting.shift();
      if (line === undefined) return;
      this.#waitingBytes -= line.length;
      this.#behind = !this.#stream.write(line);
    }
  }
}

/** The `ndjson` parser, given one whole line at a time: it answers from within `write`. */
class LineParser {
  #stream: ReturnType<typeof ndjson.parse> | null = null;
  #value: unknown;

  /** @returns the value of a line that is not `null`; undefined: it is no JSON. */
  parse(line: string): unknown {
    this.#stream ??= this.#open();
    this.#value = undefined;
    this.#stream.write(`${line}\n`);
    const value = this.#value;
    this.#value = undefined;
    // What gave nothing may have ended: the next line gets a new one.
    if (value === undefined) this.#stream = null;
    return value;
  }

  #open(): ReturnType<typeof ndjson.parse> {
    const stream = ndjson.parse({ strict: false });
    stream.on('data', (value: unknown) => {
      this.#value = value;
    });
    stream.on('error', () => {});
    return stream;
  }
}

/** Whether JSON is nested deeper than a line may be, in one pass and before it is parsed. */
function isTooDeep(json: Uint8Array): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < json.length; at += 1) {
    const byte = json[at];
    if (inString) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) {
      inString = true;
    } else if (byte === OPEN_OBJECT || byte === OPEN_LIST) {
      depth += 1;
      if (depth > MAX_LINE_DEPTH) return true;
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) {
      depth -= 1;
    }
  }
  return false;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

function notJson(bytes: Uint8Array): LineFault {
  // At most 4 bytes a character.
  return { kind: 'not_json', text: printable(new TextDecoder().decode(bytes.subarray(0, 2000))) };
}

function tooLong(bytes: number): LineFault {
  return { kind: 'too_long', bytes };
}

/** An event as a line. @throws TypeError or RangeError when the server would not take it. */
function encode(event: GatewayEvent): Uint8Array {
  const result = readGatewayEvent(event);
  if (!result.ok) {
    const why = result.fault.kind === 'invalid' ? result.fault.fault : result.fault.kind;
    throw new TypeError(`"${event.type}" does not fit the protocol: ${why}`);
  }
  const line = encodeLine(event, { maxBytes: MAX_LINE_BYTES });
  if (isTooDeep(line)) {
    throw new TypeError(`"${event.type}" is nested deeper than ${MAX_LINE_DEPTH} levels`);
  }
  return line;
}

function answerOf(id: string, body: AnswerBody): GatewayAnswer {
  if (body.type !== 'command_error') return { ...body, request_id: id };
  const message = cut(body.message, MAX_MESSAGE_LENGTH);
  return { ...body, request_id: id, message, uncertain: body.uncertain ?? false };
}

function refusal(code: GatewayErrorCode, message: string): AnswerBody {
  return { type: 'command_error', code, message };
}

function uncertain(message: string): AnswerBody {
  return { type: 'command_error', code: 'platform_error', message, uncertain: true };
}

function requestIdOf(value: unknown): string | null {
  if (typeof value !== 'object' || value === null || !('request_id' in value)) return null;
  const result = requestIdSchema.safeParse(value.request_id);
  return result.success ? result.data : null;
}

function messageOf(error: unknown): string {
  return cut(error instanceof Error ? error.message : String(error), MAX_MESSAGE_LENGTH);
}

function cut(text: string, length: number): string {
  return text.slice(0, length).toWellFormed();
}

function logError(error: unknown): void {
  log(error instanceof Error ? (error.stack ?? error.message) : String(error));
}

/** The log's reader may end first: that is no reason to crash. */
function ignore(): void {}

function log(text: string): void {
  process.stderr.write(`${text}\n`);
}
