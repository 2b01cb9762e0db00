import type {
  JSONRPCMessage,
  StreamableHTTPClientTransport,
  Transport,
  TransportSendOptions,
} from '@modelcontextprotocol/client';
import { isObject } from './json-values.ts';
import type { MessageGate } from './message-gate.ts';

/** The SDK's Streamable HTTP behind a gate. A request whose stream ends without an answer fails at once. */
export class HttpTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;
  readonly hasPerRequestStream = true;
  readonly #inner: StreamableHTTPClientTransport;
  readonly #gate: MessageGate;
  readonly #onEnd: (why: string) => void;
  readonly #endSessionMs: number;
  readonly #mostUnclaimedBytes: number;
  /** What came since the last message. */
  #bytes = 0;
  #isClosed = false;
  #ended: Promise<void> | null = null;

  /** @param onEnd is called, at most once and before `onclose`, when it ends without having been asked to. */
  constructor(options: {
    inner: StreamableHTTPClientTransport;
    gate: MessageGate;
    onEnd: (why: string) => void;
    /** How long the server may take to be told that the session is over. */
    endSessionMs: number;
    /** What may come without a message in it. */
    mostUnclaimedBytes: number;
  }) {
    this.#inner = options.inner;
    this.#gate = options.gate;
    this.#onEnd = options.onEnd;
    this.#endSessionMs = options.endSessionMs;
    this.#mostUnclaimedBytes = options.mostUnclaimedBytes;
  }

  get sessionId(): string | undefined {
    return this.#inner.sessionId;
  }

  setProtocolVersion(version: string): void {
    this.#inner.setProtocolVersion(version);
  }

  start(): Promise<void> {
    this.#inner.onerror = (error) => this.onerror?.(error);
    this.#inner.onmessage = (message: JSONRPCMessage) => {
      const bytes = this.#bytes;
      this.#bytes = 0;
      if (isObject(message)) this.#pass(this.#gate.takeMessage(message, bytes));
    };
    return this.#inner.start();
  }

  async send(message: JSONRPCMessage, options: TransportSendOptions = {}): Promise<void> {
    this.#gate.sent(message);
    const id = 'method' in message && 'id' in message ? message.id : null;
    if (id === null) {
      await this.#inner.send(message, options);
      return;
    }
    const onRequestStreamEnd = (): void => {
      options.onRequestStreamEnd?.();
      this.#pass(this.#gate.giveUp(id, 'the connection ended before the answer came'));
    };
    try {
      await this.#inner.send(message, { ...options, onRequestStreamEnd });
    } catch (error) {
      this.#gate.giveUp(id, '');
      throw error;
    }
  }

  /** So many bytes came from the server. */
  received(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes <= this.#mostUnclaimedBytes) return;
    this.#gate.noise(this.#bytes);
    this.#bytes = 0;
  }

  /** Ends it because of what it does: `why` goes on with "the server". */
  kill(why: string): void {
    if (this.#isClosed) return;
    this.#onEnd(why);
    void this.close();
  }

  close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.onclose?.();
    }
    this.#ended ??= this.#end();
    return this.#ended;
  }

  #pass(messages: readonly JSONRPCMessage[]): void {
    for (const message of messages) {
      if (!this.#isClosed) this.onmessage?.(message);
    }
  }

  async #end(): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, this.#endSessionMs);
    // Whether it heard of it does not matter any more.
    await Promise.race([this.#inner.terminateSession().catch(() => undefined), late.promise]);
    clearTimeout(timer);
    await this.#inner.close();
  }
}
