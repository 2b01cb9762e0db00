import type {
  JSONRPCMessage,
  JSONRPCNotification,
  JSONRPCRequest,
  JSONRPCResponse,
  RequestId,
} from '@modelcontextprotocol/client';
import type { Clock } from '../../ports/clock.ts';
import type { JsonLine } from './json-lines.ts';
import { isObject, member } from './json-values.ts';
import type { ToolServerLimits } from './limits.ts';

type GateLimits = Pick<ToolServerLimits, 'maxNoiseLines' | 'maxNoiseBytes' | 'noiseWindowMs'>;

/** Notifications that mean something here. */
const notifications: ReadonlySet<string> = new Set([
  'notifications/progress',
  'notifications/tools/list_changed',
  'notifications/subscriptions/acknowledged',
  'notifications/cancelled',
]);

/** The code of the errors that are made here: the server gave no answer that could be used. */
const NO_ANSWER = -32_000;

/**
 * Stands between a server and the client: what answers no open request goes no further, an answer
 * that cannot be read fails its request at once, and too much of what answers nothing is reported.
 */
export class MessageGate {
  readonly #clock: Clock;
  readonly #limits: GateLimits;
  readonly #onFlood: (why: string) => void;
  readonly #onText: (text: string) => void;
  readonly #open = new Set<RequestId>();
  /** Messages that could not be read: each may have been an answer. */
  #lost = 0;
  #windowFrom = Number.NEGATIVE_INFINITY;
  #noiseLines = 0;
  #noiseBytes = 0;

  /**
   * @param onFlood is called when there is too much noise.
   * @param onText is given what is no message, and what the server sends for a log.
   */
  constructor(options: {
    clock: Clock;
    limits: GateLimits;
    onFlood: (why: string) => void;
    onText: (text: string) => void;
  }) {
    this.#clock = options.clock;
    this.#limits = options.limits;
    this.#onFlood = options.onFlood;
    this.#onText = options.onText;
  }

  /** A message goes to the server. */
  sent(message: JSONRPCMessage): void {
    if (!('method' in message)) return;
    if ('id' in message) this.#open.add(message.id);
    if (message.method !== 'notifications/cancelled') return;
    const id = member(message.params, 'requestId');
    if (typeof id === 'string' || typeof id === 'number') this.#settle(id);
  }

  /** No answer to this request can come any more. @returns an error for the client in place of it. */
  giveUp(id: RequestId, why: string): JSONRPCMessage[] {
    if (!this.#open.has(id)) return [];
    this.#settle(id);
    return [{ jsonrpc: '2.0', id, error: { code: NO_ANSWER, message: why } }];
  }

  /** A line came from the server. @returns what is for the client. */
  take(line: JsonLine): JSONRPCMessage[] {
    switch (line.type) {
      case 'value':
        return this.takeMessage(line.value, line.bytes);
      case 'other':
        this.noise(line.bytes);
        this.#onText(line.text);
        return [];
      case 'unread':
        this.noise(line.bytes);
        this.#onText(`(a message that cannot be read: ${line.why})`);
        this.#lost += 1;
        // Only when every request that is open may have got one of them, its answer is gone for sure.
        return this.#open.size > this.#lost
          ? []
          : [...this.#open].flatMap((id) =>
              this.giveUp(id, `its answer cannot be read: ${line.why}`),
            );
    }
  }

  /** A message came from the server. @returns what is for the client. */
  takeMessage(value: Record<string, unknown>, bytes: number): JSONRPCMessage[] {
    if (isResponse(value)) {
      if (value.id !== undefined && this.#open.has(value.id)) {
        this.#settle(value.id);
        return [value];
      }
    } else if ('method' in value) {
      this.noise(bytes);
      if (isRequest(value)) return [value];
      if (!isNotification(value)) return [];
      if (notifications.has(value.method)) return [value];
      if (value.method === 'notifications/message') this.#onText(logText(value.params));
      return [];
    } else {
      const { id } = value;
      if (typeof id === 'string' || typeof id === 'number') {
        const given = this.giveUp(id, 'its answer is no MCP answer');
        if (given.length > 0) return given;
      }
    }
    this.noise(bytes);
    return [];
  }

  /** So many bytes came that answer nothing. */
  noise(bytes: number): void {
    const { maxNoiseLines, maxNoiseBytes, noiseWindowMs } = this.#limits;
    const now = this.#clock.monotonic();
    if (now - this.#windowFrom >= noiseWindowMs) {
      this.#windowFrom = now;
      this.#noiseLines = 0;
      this.#noiseBytes = 0;
    }
    this.#noiseLines += 1;
    this.#noiseBytes += bytes;
    if (this.#noiseLines > maxNoiseLines || this.#noiseBytes > maxNoiseBytes) {
      this.#onFlood('floods us with messages that answer nothing');
    }
  }

  #settle(id: RequestId): void {
    this.#open.delete(id);
    if (this.#open.size === 0) this.#lost = 0;
  }
}

/** The client matches numbers loosely: `null` would answer request 0. */
function isResponse(value: Record<string, unknown>): value is JSONRPCResponse & typeof value {
  const { id, error } = value;
  if (value['jsonrpc'] !== '2.0' || 'method' in value) return false;
  if (typeof id !== 'string' && typeof id !== 'number') return false;
  if (isObject(value['result'])) return error === undefined;
  return Number.isInteger(member(error, 'code')) && typeof member(error, 'message') === 'string';
}

function isRequest(value: Record<string, unknown>): value is JSONRPCRequest & typeof value {
  const { id } = value;
  return isCall(value) && (typeof id === 'string' || Number.isInteger(id));
}

function isNotification(
  value: Record<string, unknown>,
): value is JSONRPCNotification & typeof value {
  return isCall(value) && !('id' in value);
}

function isCall({ jsonrpc, method, params }: Record<string, unknown>): boolean {
  const isMethod = typeof method === 'string' && method.length <= 200;
  return jsonrpc === '2.0' && isMethod && (params === undefined || isObject(params));
}

function logText(params: unknown): string {
  const data = member(params, 'data');
  return typeof data === 'string'
    ? data.slice(0, 2000)
    : JSON.stringify(data ?? null).slice(0, 2000);
}
