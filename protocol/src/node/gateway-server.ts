import type { Readable, Writable } from 'node:stream';
import { readGatewayCommand } from '../connection.ts';
import type { CommandOf, GatewayCommand } from '../gateway/command.ts';
import type { GatewayEvent, InboundEvent } from '../gateway/event.ts';
import { GATEWAY_PROTOCOL } from '../gateway/handshake.ts';
import { requestIdSchema } from '../gateway/shared.ts';
import { encodeEvent } from './encode-event.ts';
import {
  type AnswerBody,
  GatewayFatalError,
  type GatewayHandlers,
  type GatewayLink,
} from './gateway-handlers.ts';
import { JsonLineReader } from './json-line-reader.ts';
import { LineOutput } from './line-output.ts';
import { cut, log, logError, messageOf } from './report.ts';
import { refusal, Requests } from './requests.ts';

/** How long the end may take when nobody said: the server sends SIGTERM 2 s after it closed stdin. */
const UNASKED_DEADLINE_MS = 2000;
/** What a process that SIGTERM ended exits with. */
const TERMINATED = 128 + 15;
const MAX_DEADLINE_MS = 10 * 60_000;
/** How much of a deadline is kept for the last lines to be read. */
const FLUSH_MS = 500;
/** What may wait to be read by the server, in bytes. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

/** Events that may come before `ready`. */
const earlyTypes: ReadonlySet<string> = new Set<GatewayEvent['type']>([
  'ready',
  'error',
  'auth_required',
  'auth_success',
  'pong',
]);

/** One run of a gateway, over any streams: from its making until `done`. */
export class GatewayServer {
  /** The exit code. */
  readonly done: Promise<number>;
  readonly #handlers: GatewayHandlers;
  readonly #input: Readable;
  readonly #output: LineOutput;
  readonly #reader: JsonLineReader;
  readonly #startedAt = performance.now();
  /** The gateway has to end. */
  readonly #ending = new AbortController();
  readonly #requests: Requests;
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
    this.#requests = new Requests(
      (request, options) => this.#handlers.request(request, options),
      (answer) => this.#emit(answer),
    );
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

  /** Whether it was told to end, or has to. */
  get isEnding(): boolean {
    return this.#ending.signal.aborted;
  }

  /** Ends it in order, though its server did not ask for that. */
  terminate(): void {
    const [deadlineMs, reason] = [UNASKED_DEADLINE_MS, 'SIGTERM'];
    this.#end({ deadlineMs, reason, exitCode: TERMINATED });
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
    if (id !== null) this.#requests.refuse(id, fault);
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
        this.#requests.take(command, this.#refuse());
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

  /** @returns why no request is taken now; null: one is. */
  #refuse(): AnswerBody | null {
    if (this.#ending.signal.aborted) return refusal('not_connected', 'the gateway is ending');
    if (this.#state !== 'ready') return refusal('not_connected', 'the gateway is not ready');
    return null;
  }

  async #deliver(event: InboundEvent): Promise<void> {
    const id = event.event_id;
    if (id === undefined) {
      throw new TypeError(`a ${event.type} needs an event_id, the same on every redelivery`);
    }
    const line = encodeEvent(event);
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
    const line = encodeEvent(event);
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
    const work: Promise<unknown>[] = [this.#requests.answered()];
    if (this.#state === 'configuring' || this.#state === 'ready') {
      const ended = Promise.try(() => this.#handlers.shutdown({ deadlineMs: workMs }));
      work.push(ended.catch(logError));
    }
    await Promise.race([over, Promise.all(work)]);
    clearTimeout(timer);
    this.#requests.giveUp();
    const last = encodeEvent({ type: 'shutdown', reason: cut(reason, 2000) });
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

function requestIdOf(value: unknown): string | null {
  if (typeof value !== 'object' || value === null || !('request_id' in value)) return null;
  const result = requestIdSchema.safeParse(value.request_id);
  return result.success ? result.data : null;
}
