import type { Readable } from 'node:stream';
import {
  type CommandOf,
  encodeLine,
  type GatewayCommand,
  GatewayConnection,
  type GatewayEvent,
  type GatewayEventOf,
  GatewayHandshakeError,
  type GatewayReady,
  type GatewayRequest,
  type InboundEvent,
  type LineFault,
  MAX_LINE_BYTES,
  MAX_OPEN_REQUESTS,
  type RequestOutcome,
} from '@duragent/protocol';
import { JsonLineReader } from '@duragent/protocol/node';
import type { Clock } from '../../ports/clock.ts';
import { type Child, describeExit, type Exit } from './child.ts';
import { InboundWindow } from './inbound-window.ts';
import { describe, isText } from './line-faults.ts';
import type { GatewayProcessLimits } from './limits.ts';
import { TextLines } from './text-lines.ts';
import { Timers } from './timers.ts';

/**
 * Why a process ended. `fatal`: that does not go away by itself; `failed`: it may; `left`: it
 * ended by its own will and in order; `asked`: the server wanted it to.
 */
export interface LifeEnd {
  kind: 'fatal' | 'failed' | 'left' | 'asked';
  /** Fits behind "the gateway". May hold what the gateway said. */
  reason: string;
}

/** What a life tells of. Nothing of it may throw but `inbound`. */
export interface LifeListener {
  ready(ready: GatewayReady): void;
  /** Rejects when the event could not be made durable. */
  inbound(event: InboundEvent): Promise<void>;
  event(
    event: GatewayEventOf<
      'preview_posted' | 'inbound_gap' | 'error' | 'auth_required' | 'auth_success'
    >,
  ): void;
  /** @returns whether there were more than are endured. */
  fault(fault: LineFault): boolean;
  /** A line for its log. */
  text(text: string): void;
  /** An event could not be made durable; told once. */
  notDurable(error: unknown): void;
  /** It will end: no request is taken any more. */
  ending(end: LifeEnd): void;
}

interface LifeOptions {
  child: Child;
  configure: CommandOf<'configure'>;
  clock: Clock;
  limits: GatewayProcessLimits;
  on: LifeListener;
}

/** Codes of `error` after which starting again does not help, whether it says so or not. */
const fatalCodes: ReadonlySet<string> = new Set(['unauthorized', 'conflict']);

/** Bytes that an id takes in an `ack` beside itself. */
const ACK_OVERHEAD = 3;
/** So many ids of 200 characters fit in a line. */
const MAX_IDS_IN_ACK = 1000;
/** Acks wait for the next line when so many commands are not in its pipe yet. */
const MAX_UNREAD_ACKS = 8;
/** Lines that are taken before all others have their turn: a chunk may hold a thousand. */
const LINES_AT_ONCE = 32;

/** One process of a gateway, from its start until nothing of it is left. */
export class GatewayLife {
  /** Resolves when the process is gone and every complete line of it was taken. Never rejects. */
  readonly ended: Promise<LifeEnd>;
  readonly #child: Child;
  readonly #limits: GatewayProcessLimits;
  readonly #on: LifeListener;
  readonly #timers: Timers;
  /** Those of its end; a signal after its exit could hit another. */
  readonly #signals: Timers;
  readonly #connection: GatewayConnection;
  readonly #window: InboundWindow;
  readonly #over = new AbortController();
  /** The first cause of its end; null: it goes on. */
  #cause: LifeEnd | null = null;
  #exit: Exit | null = null;
  #isHurried = false;
  #isReady = false;
  /** An event could not be made durable: those after it are not taken either, so that none is passed over. */
  #isRefusing = false;
  /** Commands that are not in its pipe yet. */
  #unread = 0;
  #openRequests = 0;
  #pings = 0;
  #wasFull = false;
  #acks: string[] = [];
  #ackBytes = 0;
  #lineBytes = 0;
  /** Counts what comes from its pipes, to see whether anything still does. */
  #chunks = 0;
  #lastWords = '';
  /** What it said was wrong, in the words that are for people. */
  #lastError = '';
  #cancelDisconnected: (() => void) | null = null;

  constructor(options: LifeOptions) {
    const { child, clock, limits, on } = options;
    this.#child = child;
    this.#limits = limits;
    this.#on = on;
    this.#timers = new Timers(clock);
    this.#signals = new Timers(clock);
    this.#window = new InboundWindow({
      events: limits.maxPendingEvents,
      bytes: limits.maxPendingBytes,
    });
    this.#connection = new GatewayConnection({
      write: (command) => this.#write(command),
      after: (ms, callback) => this.#timers.after(ms, callback),
      onEvent: (event) => this.#onEvent(event),
      onFault: (fault) => this.#onFault(fault),
    });
    child.stdin.once('error', () => this.#onClosed('stdin'));
    void this.#open(options.configure);
    this.ended = this.#live();
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Whether it takes requests. */
  get isOpen(): boolean {
    return this.#isReady && this.#cause === null && this.#exit === null;
  }

  /** See `RunningGateway.request`. */
  async request(
    request: GatewayRequest,
    options: { timeoutMs: number; signal: AbortSignal },
  ): Promise<RequestOutcome> {
    if (!this.isOpen) return { type: 'unsent', reason: 'the gateway is not ready' };
    // One place is left for the ping.
    if (this.#openRequests >= MAX_OPEN_REQUESTS - 1) {
      return { type: 'unsent', reason: 'the gateway has too many open requests' };
    }
    this.#openRequests += 1;
    try {
      return await this.#connection.request(request, options);
    } finally {
      this.#openRequests -= 1;
    }
  }

  /** See `RunningGateway.notify`. */
  notify(command: CommandOf<'preview_message' | 'send_typing'>): boolean {
    const { maxUnreadBytes, maxUnreadCommands } = this.#limits;
    const isBehind =
      this.#unread > maxUnreadCommands / 4 || this.#child.stdin.writableLength > maxUnreadBytes / 4;
    return this.isOpen && !isBehind && this.#connection.notify(command);
  }

  /**
   * Ends the process: `shutdown`, the end of its stdin, SIGTERM, SIGKILL, all `withinMs` where that
   * is less than it takes otherwise. The first cause is the one that counts; one that asks does not
   * wait for events to become durable.
   */
  end(cause: LifeEnd, withinMs = Infinity): void {
    if (cause.kind === 'asked') this.#isHurried = true;
    const wholeMs = this.#limits.endMs + this.#limits.termMs;
    const killMs = Math.min(wholeMs, withinMs);
    const isEnding = this.#cause !== null;
    this.#cause ??= cause;
    if (this.#exit !== null || (isEnding && killMs === wholeMs)) return;
    if (!isEnding) {
      this.#on.ending(cause);
      const termMs = Math.floor((this.#limits.endMs * killMs) / wholeMs);
      const { stdin } = this.#child;
      if (stdin.writable) {
        const shutdown: CommandOf<'shutdown'> = { type: 'shutdown', deadline_ms: termMs };
        stdin.end(encodeLine(shutdown, { maxBytes: MAX_LINE_BYTES }));
      }
      this.#signals.after(termMs, () => this.#child.kill('SIGTERM'));
    }
    this.#signals.after(killMs, () => this.#child.kill('SIGKILL'));
  }

  async #open(configure: CommandOf<'configure'>): Promise<void> {
    try {
      const ready = await this.#connection.open(configure, { timeoutMs: this.#limits.readyMs });
      this.#isReady = true;
      if (this.#cause !== null) return;
      this.#on.ready(ready);
      this.#pingLater();
    } catch (error) {
      // Closed: it has ended, and how is the better reason.
      if (!(error instanceof GatewayHandshakeError) || error.code === 'closed') return;
      this.end({
        kind: error.code === 'timeout' ? 'failed' : 'fatal',
        reason: error.message.replace(/^the gateway /, ''),
      });
    }
  }

  async #live(): Promise<LifeEnd> {
    const pipes = Promise.all([this.#readStdout(), this.#readStderr()]);
    this.#exit = await this.#child.exited;
    this.#signals.close();
    await this.#drained(pipes);
    // What the last line caused comes first, such as a refused handshake.
    await nextTick();
    const end = this.#judge(this.#exit);
    this.#connection.close(`the gateway ${end.reason}`);
    this.#over.abort();
    this.#timers.close();
    return end;
  }

  #judge(exit: Exit): LifeEnd {
    const how = describeExit(exit);
    const isClean = exit.code === 0;
    if (this.#cause === null) {
      if (isClean && this.#isReady) return { kind: 'left', reason: how };
      // An error that it lived on with says nothing about a later crash.
      const said = (this.#isReady ? '' : this.#lastError) || this.#lastWords;
      const before = this.#isReady ? '' : ' before it was ready';
      return { kind: 'failed', reason: `${how}${before}${behind(said)}` };
    }
    if (this.#cause.kind !== 'left' || isClean) return this.#cause;
    const said = this.#lastError || this.#lastWords;
    return { kind: 'failed', reason: `${this.#cause.reason}, and ${how}${behind(said)}` };
  }

  /** Waits for the ends of its pipes, but not for ever for whatever else may hold them open. */
  async #drained(pipes: Promise<unknown>): Promise<void> {
    const { drainIdleMs, drainMs } = this.#limits;
    const giveUp = (): void => {
      this.#over.abort();
      this.#window.release();
      this.#child.stdout.destroy();
      this.#child.stderr.destroy();
    };
    const watch = (chunks: number): void => {
      this.#timers.after(drainIdleMs, () => {
        const isWaiting = this.#chunks !== chunks || this.#window.isFull;
        if (isWaiting && !this.#isHurried) watch(this.#chunks);
        else giveUp();
      });
    };
    watch(this.#chunks);
    this.#timers.after(drainMs, giveUp);
    await pipes;
  }

  async #readStdout(): Promise<void> {
    const reader = new JsonLineReader({
      value: (value, bytes) => {
        this.#lineBytes = bytes;
        this.#connection.receive(value);
      },
      fault: (fault) => this.#onFault(fault),
    });
    let lines = 0;
    await this.#read(this.#child.stdout, async (chunk) => {
      for (const piece of lineByLine(chunk)) {
        if (this.#over.signal.aborted) return;
        reader.push(piece);
        lines += 1;
        // Whoever waits for `ready` goes on before the next line does.
        if (!this.#isReady || lines % LINES_AT_ONCE === 0) await nextTick();
        if (this.#window.isFull) {
          this.#wasFull = true;
          await this.#window.whenOpen();
        }
      }
    });
    reader.end();
    if (this.#exit === null) this.#onClosed('stdout');
  }

  async #readStderr(): Promise<void> {
    const lines = new TextLines(this.#limits.logLineBytes);
    const onLine = (text: string): void => this.#onText(text);
    await this.#read(this.#child.stderr, (chunk) => lines.push(chunk, onLine));
    lines.end(onLine);
  }

  /** Reads until the stream ends or breaks; never more than one chunk without letting others run. */
  async #read(stream: Readable, take: (chunk: Buffer) => void | Promise<void>): Promise<void> {
    try {
      for await (const chunk of stream) {
        this.#chunks += 1;
        await take(chunk as Buffer);
        free(chunk as Buffer);
        await nextTick();
      }
    } catch (error) {
      // A pipe that breaks has ended. Anything else is a fault of this program, and no reason to stop it.
      if (error instanceof Error && 'code' in error) return;
      this.end({ kind: 'failed', reason: `could not be read: ${String(error)}` });
    }
  }

  #onText(text: string): void {
    this.#lastWords = text;
    this.#on.text(text);
  }

  #onFault(fault: LineFault): void {
    if (fault.kind === 'not_json') this.#onText(fault.text);
    if (isText(fault) || !this.#on.fault(fault)) return;
    const { maxInvalidLines, invalidWindowMs } = this.#limits;
    this.end({
      kind: 'failed',
      reason: `wrote more than ${maxInvalidLines} lines that are no valid events within ${invalidWindowMs} ms; the last: ${describe(fault)}`,
    });
  }

  #onEvent(event: GatewayEvent): void {
    switch (event.type) {
      case 'message_received':
      case 'callback_query':
      case 'chat_migrated':
        void this.#onInbound(event);
        return;
      case 'preview_posted':
      case 'inbound_gap':
      case 'auth_required':
      case 'auth_success':
        this.#on.event(event);
        return;
      case 'error':
        this.#lastError = event.message || event.code;
        this.#on.event(event);
        if (event.fatal || fatalCodes.has(event.code)) {
          const reason = event.message === '' ? event.code : `${event.code}: ${event.message}`;
          this.end({ kind: 'fatal', reason: `cannot go on: ${reason}` });
        }
        return;
      case 'shutdown': {
        const reason = event.reason === '' ? 'ended by itself' : `ended by itself: ${event.reason}`;
        this.end({ kind: 'left', reason });
        return;
      }
      // Announced once is enough, and answers do not come here.
      default:
    }
  }

  async #onInbound(event: InboundEvent): Promise<void> {
    if (this.#isRefusing) return;
    const bytes = this.#lineBytes;
    this.#window.add(bytes);
    try {
      await this.#on.inbound(event);
      if (event.event_id !== undefined && !this.#isRefusing) this.#ack(event.event_id);
    } catch (error) {
      if (!this.#isRefusing) {
        this.#isRefusing = true;
        this.#on.notDurable(error);
        this.end({ kind: 'failed', reason: 'sent an event that could not be stored' });
      }
    } finally {
      this.#window.remove(bytes);
    }
  }

  /** Those of one tick go in one line, and those of many where it is slow to read. */
  #ack(eventId: string): void {
    this.#acks.push(eventId);
    this.#ackBytes += eventId.length + ACK_OVERHEAD;
    if (this.#ackBytes > this.#limits.maxUnreadBytes) {
      this.end({ kind: 'failed', reason: 'does not read its stdin: too many acks wait' });
    }
    if (this.#acks.length === 1) setImmediate(() => this.#sendAcks());
  }

  #sendAcks(): void {
    while (this.#acks.length > 0 && this.#unread < MAX_UNREAD_ACKS) {
      const ids = this.#acks.splice(0, MAX_IDS_IN_ACK);
      for (const id of ids) this.#ackBytes -= id.length + ACK_OVERHEAD;
      if (!this.#connection.notify({ type: 'ack', event_ids: ids })) return;
    }
  }

  #write(command: GatewayCommand): boolean {
    const { stdin } = this.#child;
    if (this.#cause !== null || !stdin.writable) return false;
    const line = encodeLine(command, { maxBytes: MAX_LINE_BYTES });
    const { maxUnreadBytes, maxUnreadCommands } = this.#limits;
    if (this.#unread >= maxUnreadCommands || stdin.writableLength > maxUnreadBytes) {
      const unread = `${this.#unread} commands and ${stdin.writableLength} bytes wait`;
      this.end({ kind: 'failed', reason: `does not read its stdin: ${unread}` });
      return false;
    }
    this.#unread += 1;
    if (stdin.writableCorked === 0) {
      // What is sent in one breath goes in one write.
      stdin.cork();
      setImmediate(() => stdin.uncork());
    }
    stdin.write(line, () => {
      this.#unread -= 1;
      this.#sendAcks();
    });
    return true;
  }

  /** It has closed a stream that it cannot do without, unless this is how its exit begins. */
  #onClosed(stream: 'stdin' | 'stdout'): void {
    this.#timers.after(this.#limits.closedStreamMs, () => {
      if (this.#exit === null) this.end({ kind: 'failed', reason: `closed its ${stream}` });
    });
  }

  #pingLater(): void {
    this.#timers.after(this.#limits.pingEveryMs, () => void this.#ping(0));
  }

  async #ping(unanswered: number): Promise<void> {
    this.#pings += 1;
    this.#wasFull = this.#window.isFull;
    const outcome = await this.#connection.request(
      { type: 'ping', request_id: `ping-${this.#pings}` },
      { timeoutMs: this.#limits.pingAnswerMs, signal: this.#over.signal },
    );
    if (!this.isOpen) return;
    if (outcome.type === 'answered') {
      if (outcome.answer.type === 'pong') this.#onConnected(outcome.answer.connected);
      this.#pingLater();
    } else if (this.#wasFull) {
      // Its answer may stand behind what could not be read yet: the delay is the server's.
      this.#pingLater();
    } else if (unanswered === 0) {
      await this.#ping(1);
    } else {
      this.end({ kind: 'failed', reason: 'did not answer two pings' });
    }
  }

  #onConnected(connected: boolean): void {
    if (connected) {
      this.#cancelDisconnected?.();
      this.#cancelDisconnected = null;
      return;
    }
    const { disconnectedMs } = this.#limits;
    this.#cancelDisconnected ??= this.#timers.after(disconnectedMs, () =>
      this.end({
        kind: 'failed',
        reason: `did not reach its platform for ${disconnectedMs / 1000} s`,
      }),
    );
  }
}

/** What was said, where anything was, behind what it explains. */
function behind(said: string): string {
  return said === '' ? '' : `: ${said}`;
}

const LF = 0x0a;

/** The pieces of a chunk, each up to its LF. */
function* lineByLine(chunk: Buffer): Generator<Buffer> {
  let from = 0;
  for (let to = chunk.indexOf(LF); to >= 0; to = chunk.indexOf(LF, from)) {
    yield chunk.subarray(from, to + 1);
    from = to + 1;
  }
  if (from < chunk.length) yield chunk.subarray(from);
}

/**
 * Frees the memory of a chunk that nobody needs any more. Left to the collector, which counts only
 * objects at first, a fast stream piles up 60 MB before it runs.
 */
function free(chunk: Buffer): void {
  const { buffer } = chunk;
  // One that is not whole may be a part of the pool that small buffers share.
  const isWhole = chunk.byteLength === buffer.byteLength;
  if (isWhole && buffer instanceof ArrayBuffer) buffer.transfer(0);
}

function nextTick(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
