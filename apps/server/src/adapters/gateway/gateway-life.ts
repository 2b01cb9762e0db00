import {
  type CommandOf,
  GatewayConnection,
  type GatewayEvent,
  type GatewayEventOf,
  GatewayHandshakeError,
  type GatewayReady,
  type GatewayRequest,
  type InboundEvent,
  type LineFault,
  MAX_OPEN_REQUESTS,
  type RequestOutcome,
} from '@duragent/protocol';
import type { Clock } from '../../ports/clock.ts';
import { type Child, describeExit, type Exit } from './child.ts';
import { CommandPipe } from './command-pipe.ts';
import { GatewayOutput, nextTick } from './gateway-output.ts';
import { Heartbeat } from './heartbeat.ts';
import { InboundWindow } from './inbound-window.ts';
import { describe, isText } from './line-faults.ts';
import type { GatewayProcessLimits } from './limits.ts';
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
  readonly #commands: CommandPipe;
  readonly #connection: GatewayConnection;
  readonly #window: InboundWindow;
  readonly #output: GatewayOutput;
  readonly #heartbeat: Heartbeat;
  readonly #over = new AbortController();
  /** The first cause of its end; null: it goes on. */
  #cause: LifeEnd | null = null;
  #exit: Exit | null = null;
  #isReady = false;
  /** An event could not be made durable: those after it are not taken either, so that none is passed over. */
  #isRefusing = false;
  #openRequests = 0;
  #lineBytes = 0;
  #lastWords = '';
  /** What it said was wrong, in the words that are for people. */
  #lastError = '';

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
    const fail = (reason: string): void => this.end({ kind: 'failed', reason });
    this.#commands = new CommandPipe({
      stdin: child.stdin,
      limits,
      send: (acks) => this.#connection.notify(acks),
      onHung: fail,
    });
    this.#connection = new GatewayConnection({
      write: (command) => this.#cause === null && this.#commands.write(command),
      after: (ms, callback) => this.#timers.after(ms, callback),
      onEvent: (event) => this.#onEvent(event),
      onFault: (fault) => this.#onFault(fault),
    });
    this.#heartbeat = new Heartbeat({
      timers: this.#timers,
      limits,
      ask: (ping) =>
        this.#connection.request(ping, {
          timeoutMs: limits.pingAnswerMs,
          signal: this.#over.signal,
        }),
      isOpen: () => this.isOpen,
      window: this.#window,
      onLost: fail,
    });
    this.#output = new GatewayOutput({
      child,
      window: this.#window,
      timers: this.#timers,
      limits,
      on: {
        value: (value, bytes) => {
          this.#lineBytes = bytes;
          this.#connection.receive(value);
        },
        fault: (fault) => this.#onFault(fault),
        text: (text) => this.#onText(text),
        paused: () => this.#heartbeat.readingPaused(),
        ended: () => {
          if (this.#exit === null) this.#onClosed('stdout');
        },
        failed: (error) => fail(`could not be read: ${String(error)}`),
      },
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
    return this.isOpen && !this.#commands.isBehind && this.#connection.notify(command);
  }

  /**
   * Ends the process: `shutdown`, the end of its stdin, SIGTERM, SIGKILL, all `withinMs` where that
   * is less than it takes otherwise. The first cause is the one that counts; one that asks does not
   * wait for events to become durable.
   */
  end(cause: LifeEnd, withinMs = Infinity): void {
    if (cause.kind === 'asked') this.#output.hurry();
    const wholeMs = this.#limits.endMs + this.#limits.termMs;
    const killMs = Math.min(wholeMs, withinMs);
    const isEnding = this.#cause !== null;
    this.#cause ??= cause;
    if (this.#exit !== null || (isEnding && killMs === wholeMs)) return;
    if (!isEnding) {
      this.#on.ending(cause);
      const termMs = Math.floor((this.#limits.endMs * killMs) / wholeMs);
      this.#commands.end({ type: 'shutdown', deadline_ms: termMs });
      this.#signals.after(termMs, () => this.#child.kill('SIGTERM'));
    }
    this.#signals.after(killMs, () => this.#child.kill('SIGKILL'));
  }

  async #open(configure: CommandOf<'configure'>): Promise<void> {
    try {
      const ready = await this.#connection.open(configure, { timeoutMs: this.#limits.readyMs });
      this.#isReady = true;
      this.#output.isLineByLine = false;
      if (this.#cause !== null) return;
      this.#on.ready(ready);
      this.#heartbeat.start();
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
    const read = this.#output.read();
    this.#exit = await this.#child.exited;
    this.#signals.close();
    this.#output.exited();
    await read;
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
      if (event.event_id !== undefined && !this.#isRefusing) this.#commands.ack(event.event_id);
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

  /** It has closed a stream that it cannot do without, unless this is how its exit begins. */
  #onClosed(stream: 'stdin' | 'stdout'): void {
    this.#timers.after(this.#limits.closedStreamMs, () => {
      if (this.#exit === null) this.end({ kind: 'failed', reason: `closed its ${stream}` });
    });
  }
}

/** What was said, where anything was, behind what it explains. */
function behind(said: string): string {
  return said === '' ? '' : `: ${said}`;
}
