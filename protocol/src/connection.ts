import type { z } from 'zod';
import { gatewayCommandSchema } from './gateway/command.ts';
import type { CommandOf, GatewayCommand, GatewayRequest } from './gateway/command.ts';
import { gatewayEventSchema } from './gateway/event.ts';
import type { GatewayAnswer, GatewayEvent } from './gateway/event.ts';
import { gatewayProtocols } from './gateway/handshake.ts';
import type { GatewayReady } from './gateway/handshake.ts';

/** What a line that could not be taken was. */
export type LineFault =
  /** Longer than `MAX_LINE_BYTES`; how long. It was not kept. */
  | { kind: 'too_long'; bytes: number }
  /** No JSON, or not UTF-8: at most its first 500 characters, made printable. */
  | { kind: 'not_json'; text: string }
  /** Nested deeper than `MAX_LINE_DEPTH`. */
  | { kind: 'too_deep' }
  /** JSON, but not valid to its schema; `fault` names the place. */
  | { kind: 'invalid'; type: string | null; fault: string }
  /** Of an unknown type: ignored and counted. */
  | { kind: 'unknown'; type: string }
  /** An answer to no open request: ignored and counted. */
  | { kind: 'unasked'; request_id: string };

/** Reads one JSON value as an event from a gateway. Unknown fields are kept. Never throws. */
export function readGatewayEvent(
  value: unknown,
): { ok: true; event: GatewayEvent } | { ok: false; fault: LineFault } {
  const result = read(gatewayEventSchema, eventTypes, value);
  return result.ok ? { ok: true, event: result.data } : result;
}

/** Reads one JSON value as a command to a gateway. Unknown fields are kept. Never throws. */
export function readGatewayCommand(
  value: unknown,
): { ok: true; command: GatewayCommand } | { ok: false; fault: LineFault } {
  const result = read(gatewayCommandSchema, commandTypes, value);
  return result.ok ? { ok: true, command: result.data } : result;
}

/**
 * What became of a request. `unsent`: the gateway never got it. `lost`: it may have done it; its
 * process ended, or the time was over, before it answered.
 */
export type RequestOutcome =
  | { type: 'answered'; answer: GatewayAnswer }
  | { type: 'unsent'; reason: string }
  | { type: 'lost'; reason: string };

/**
 * Why there is no connection. `timeout`: no `ready` in time; `version`: it speaks another major
 * version; `closed`: it ended first; `refused`: it said that starting it again would not help.
 */
export class GatewayHandshakeError extends Error {
  readonly code: 'timeout' | 'version' | 'closed' | 'refused';
  /** With `refused`: the gateway's own code, such as `unauthorized` or `conflict`. */
  readonly reason: string | null;

  constructor(
    code: GatewayHandshakeError['code'],
    message: string,
    options: { reason?: string } = {},
  ) {
    super(message);
    this.name = 'GatewayHandshakeError';
    this.code = code;
    this.reason = options.reason ?? null;
  }
}

/** What a connection is given to live on. */
export interface GatewayConnectionOptions {
  /** Writes one message; false: the peer is behind and the message was not taken. */
  write: (command: GatewayCommand) => boolean;
  /** Calls back once after `ms`. @returns a function that cancels it. */
  after: (ms: number, callback: () => void) => () => void;
  /**
   * Takes every event but the first `ready` and answers. Called in the order of the lines; one
   * that follows `ready` at once may come before whoever awaits `open` goes on.
   */
  onEvent: (event: GatewayEvent) => void;
  /** Takes every line that could not be taken. */
  onFault: (fault: LineFault) => void;
}

/** How many requests may wait for their answer at once. */
export const MAX_OPEN_REQUESTS = 256;

/** The server's end of one gateway process: handshake, correlation of answers, deadlines. No I/O of its own. */
export class GatewayConnection {
  readonly #options: GatewayConnectionOptions;
  readonly #requests = new Map<string, OpenRequest>();
  #phase: 'new' | 'opening' | 'open' | 'closed' = 'new';
  #handshake: Handshake | null = null;

  constructor(options: GatewayConnectionOptions) {
    this.#options = options;
  }

  /**
   * Sends `configure`. Resolves with the first `ready`. Called once.
   * @throws GatewayHandshakeError; the connection is closed then.
   */
  async open(
    configure: CommandOf<'configure'>,
    options: { timeoutMs: number },
  ): Promise<GatewayReady> {
    if (this.#phase !== 'new') {
      throw new GatewayHandshakeError('closed', 'a connection opens once: make another one');
    }
    this.#phase = 'opening';
    const { promise, resolve, reject } = Promise.withResolvers<GatewayReady>();
    const cancel = this.#options.after(options.timeoutMs, () => {
      const message = `the gateway did not say "ready" within ${options.timeoutMs} ms`;
      this.#fail(new GatewayHandshakeError('timeout', message));
    });
    this.#handshake = { resolve, reject, cancel };
    const refusal = this.#write(configure);
    if (refusal !== null) this.#fail(new GatewayHandshakeError('closed', refusal));
    return promise;
  }

  /** Takes one parsed line of the gateway. Never throws; without effect once closed. */
  receive(value: unknown): void {
    if (this.#phase === 'closed') return;
    const result = readGatewayEvent(value);
    if (!result.ok) {
      this.#options.onFault(result.fault);
    } else if (this.#phase === 'open') {
      if (isAnswer(result.event)) this.#answer(result.event);
      else this.#options.onEvent(result.event);
    } else {
      this.#shakeHands(result.event);
    }
  }

  /**
   * Sends a request and waits for its answer. Never rejects. Where `signal` aborts before it was
   * sent it is `unsent`, afterwards `lost`; so it is after `timeoutMs`.
   */
  request(
    request: GatewayRequest,
    options: { timeoutMs: number; signal: AbortSignal },
  ): Promise<RequestOutcome> {
    const { signal, timeoutMs } = options;
    const id = request.request_id;
    const unsent = (reason: string): Promise<RequestOutcome> =>
      Promise.resolve({ type: 'unsent', reason });
    if (this.#phase !== 'open') return unsent('the gateway is not ready');
    if (signal.aborted) return unsent('the request was cancelled before it was sent');
    if (this.#requests.has(id)) return unsent(`the request id ${id} is in use`);
    if (this.#requests.size >= MAX_OPEN_REQUESTS) {
      return unsent(`${MAX_OPEN_REQUESTS} requests are open already`);
    }

    const { promise, resolve } = Promise.withResolvers<RequestOutcome>();
    const settle = (outcome: RequestOutcome): void => {
      this.#requests.delete(id);
      cancel();
      signal.removeEventListener('abort', abort);
      resolve(outcome);
    };
    const abort = (): void =>
      settle({ type: 'lost', reason: 'the request was cancelled before it was answered' });
    const cancel = this.#options.after(timeoutMs, () =>
      settle({ type: 'lost', reason: `the gateway did not answer within ${timeoutMs} ms` }),
    );
    signal.addEventListener('abort', abort, { once: true });
    // Before it is written: a peer in the same process answers from within `write`.
    this.#requests.set(id, { type: request.type, settle });
    const refusal = this.#write(request);
    if (refusal !== null) settle({ type: 'unsent', reason: refusal });
    return promise;
  }

  /** Sends what is not answered. @returns false: it was not taken. */
  notify(command: GatewayCommand): boolean {
    return this.#phase === 'open' && this.#write(command) === null;
  }

  /** Ends it: every open request is `lost` with this reason, and an open handshake fails as `closed`. */
  close(reason: string): void {
    if (this.#phase === 'opening') this.#fail(new GatewayHandshakeError('closed', reason));
    this.#phase = 'closed';
    for (const { settle } of this.#requests.values()) settle({ type: 'lost', reason });
  }

  /** @returns why it was not written; null: it was. */
  #write(command: GatewayCommand): string | null {
    try {
      return this.#options.write(command) ? null : 'the gateway does not read what it is sent';
    } catch (error) {
      // Such as a message that is longer than a line may be.
      return error instanceof Error ? error.message : String(error);
    }
  }

  #fail(error: GatewayHandshakeError): void {
    const handshake = this.#handshake;
    this.#phase = 'closed';
    this.#handshake = null;
    handshake?.cancel();
    handshake?.reject(error);
  }

  #shakeHands(event: GatewayEvent): void {
    switch (event.type) {
      case 'ready': {
        const handshake = this.#handshake;
        if (handshake === null) break;
        if (!isSpoken(event.protocol)) {
          const message = `the gateway speaks protocol "${printable(event.protocol)}" and this server ${gatewayProtocols[0]}: install versions of both that fit`;
          this.#fail(new GatewayHandshakeError('version', message));
          return;
        }
        this.#phase = 'open';
        this.#handshake = null;
        handshake.cancel();
        handshake.resolve(event);
        return;
      }
      case 'error':
        this.#options.onEvent(event);
        if (event.fatal) {
          const message = event.message === '' ? event.code : `${event.code}: ${event.message}`;
          this.#fail(new GatewayHandshakeError('refused', message, { reason: event.code }));
        }
        return;
      case 'auth_required':
      case 'auth_success':
      case 'shutdown':
        this.#options.onEvent(event);
        return;
      case 'pong':
        return;
      default:
    }
    this.#options.onFault({ kind: 'invalid', type: event.type, fault: 'it came before "ready"' });
  }

  #answer(answer: GatewayAnswer): void {
    const id = answer.request_id ?? this.#oldestPing();
    const request = id === undefined ? undefined : this.#requests.get(id);
    if (request === undefined) {
      this.#options.onFault({ kind: 'unasked', request_id: printable(id ?? '') });
    } else if (!answersTo(request.type).includes(answer.type)) {
      const fault = `it answers no ${request.type}`;
      this.#options.onFault({ kind: 'invalid', type: answer.type, fault });
    } else {
      request.settle({ type: 'answered', answer });
    }
  }

  /** The ping that a `pong` without an id (v1alpha1) answers. */
  #oldestPing(): string | undefined {
    return [...this.#requests].find(([, { type }]) => type === 'ping')?.[0];
  }
}

/** At most `length` characters of a text that a peer chose, without what moves or hides others on a screen. */
export function printable(text: string, length = 500): string {
  return text
    .slice(0, length)
    .toWellFormed()
    .replaceAll('\t', ' ')
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\uFFFD');
}

interface Handshake {
  resolve: (ready: GatewayReady) => void;
  reject: (error: GatewayHandshakeError) => void;
  cancel: () => void;
}

interface OpenRequest {
  type: GatewayRequest['type'];
  settle: (outcome: RequestOutcome) => void;
}

const eventTypes = typesOf(gatewayEventSchema.options);
const commandTypes = typesOf(gatewayCommandSchema.options);

function typesOf(options: readonly { shape: { type: { value: string } } }[]): ReadonlySet<string> {
  return new Set(options.map(({ shape }) => shape.type.value));
}

function read<T>(
  schema: z.ZodType<T>,
  types: ReadonlySet<string>,
  value: unknown,
): { ok: true; data: T } | { ok: false; fault: LineFault } {
  const invalid = (type: string | null, fault: string): { ok: false; fault: LineFault } => ({
    ok: false,
    fault: { kind: 'invalid', type, fault },
  });
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return invalid(null, 'a line is a JSON object');
  }
  const type = 'type' in value ? value.type : undefined;
  if (typeof type !== 'string') return invalid(null, '/type: a text is needed');
  if (!types.has(type))
    return { ok: false, fault: { kind: 'unknown', type: printable(type, 100) } };
  const result = schema.safeParse(value);
  if (result.success) return { ok: true, data: result.data };
  const issue = result.error.issues[0];
  const place = `/${issue?.path.map(String).join('/') ?? ''}`;
  return invalid(type, printable(`${place}: ${issue?.message ?? 'invalid'}`));
}

/** Whether a version is one of this major version: `v1`, `v1.3`, or `v1alpha1`. */
function isSpoken(protocol: string): boolean {
  const major = protocol.replace(/\.\d{1,9}$/, '');
  return gatewayProtocols.some((known) => known === major);
}

function isAnswer(event: GatewayEvent): event is GatewayAnswer {
  return answerTypes.has(event.type);
}

const answerTypes: ReadonlySet<string> = new Set<GatewayAnswer['type']>([
  'command_ok',
  'command_error',
  'message_found',
  'message_not_found',
  'pong',
]);

/** What a request may be answered with. */
function answersTo(type: GatewayRequest['type']): readonly GatewayAnswer['type'][] {
  switch (type) {
    case 'ping':
      return ['pong', 'command_error'];
    case 'find_message':
      return ['message_found', 'message_not_found', 'command_error'];
    default:
      return ['command_ok', 'command_error'];
  }
}
