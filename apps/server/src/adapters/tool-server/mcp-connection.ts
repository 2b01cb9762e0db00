import type {
  CallToolResult,
  Client,
  FetchLike,
  ReconnectionScheduler,
  RequestOptions,
  VersionNegotiationMode,
} from '@modelcontextprotocol/client';
import { z } from 'zod';
import type { Clock } from '../../ports/clock.ts';
import type { ServerTool, ToolServerPlace, ToolServerSpec } from '../../ports/tool-server.ts';
import { guardedFetch } from './guarded-fetch.ts';
import { HttpTransport } from './http-transport.ts';
import type { ToolServerLimits } from './limits.ts';
import { MessageGate } from './message-gate.ts';
import { redactorOf } from './redact.ts';
import { type Log, ServerLog } from './server-log.ts';
import { serverEnvironment } from './server-environment.ts';
import { describeExit, type Exit, type SpawnServer } from './server-process.ts';
import { StdioTransport } from './stdio-transport.ts';
import { ToolList } from './tool-list.ts';

export interface ConnectionDeps {
  clock: Clock;
  log: Log;
  /** What servers are told of us. */
  version: string;
  /** Our own environment; little of it is handed on. */
  baseEnv: Readonly<Record<string, string | undefined>>;
  spawnServer: SpawnServer;
  /** For the URLs of the configuration, which may be private. */
  fetch: FetchLike;
  limits: ToolServerLimits;
}

/** Any result: what is in it is read with care, not refused. */
const anyResult = z.looseObject({});
const listPage = z.looseObject({
  tools: z.array(z.unknown()),
  nextCursor: z.string().min(1).max(10_000).optional().catch(undefined),
});

/** The version whose handshake differs from that of all before. Most servers of it speak those too. */
const NEWER_VERSION = '2026-07-28';

/** Method not found; unsupported protocol version. */
const refusalsOfOldHandshake: readonly number[] = [-32_601, -32_022];

type Sdk = typeof import('@modelcontextprotocol/client');

/** One life of a server: from its handshake until it ends, or is ended. */
export class McpConnection {
  /** Why it ended by itself, in words that go on with "the server"; null: it did not. */
  end: string | null = null;
  isClosed = false;
  readonly #spec: ToolServerSpec;
  readonly #deps: ConnectionDeps;
  readonly #sdk: Sdk;
  readonly #redact: (text: string) => string;
  readonly #serverLog: ServerLog;
  #client: Client;
  #transport: StdioTransport | HttpTransport | null = null;
  /** Called when the server says that its tools changed, and when it ended by itself. */
  onToolsChanged: () => void = () => undefined;
  onEnd: () => void = () => undefined;

  /** Starts nothing yet. */
  static async prepare(spec: ToolServerSpec, deps: ConnectionDeps): Promise<McpConnection> {
    // Loaded with the first server: it is large, and many have none.
    const sdk = await import('@modelcontextprotocol/client');
    return new McpConnection(spec, deps, sdk);
  }

  private constructor(spec: ToolServerSpec, deps: ConnectionDeps, sdk: Sdk) {
    const { clock, log, limits } = deps;
    this.#spec = spec;
    this.#deps = deps;
    this.#sdk = sdk;
    this.#redact = redactorOf(spec.place);
    this.#serverLog = new ServerLog({
      fields: { agent: spec.agent, server: spec.name },
      clock,
      log,
      redact: this.#redact,
      limits,
    });
    this.#client = this.#newClient('legacy');
  }

  /** @throws Error in words for people when it cannot be started or does not answer in time; it has to be closed then. */
  async start(): Promise<void> {
    const { limits, clock } = this.#deps;
    const late = new AbortController();
    const cancel = clock.after(limits.handshakeMs, () => {
      late.abort(new Error(`it did not answer within ${limits.handshakeMs / 1000} s`));
    });
    try {
      await untilAborted(this.#connect(), late.signal);
    } catch (error) {
      throw new Error(this.explain(error), { cause: error });
    } finally {
      cancel();
    }
  }

  /** The tools that it lists now, within bounds, and what was left out. @throws Error */
  async listTools(signal: AbortSignal): Promise<ToolList> {
    const { limits } = this.#deps;
    const list = new ToolList(limits);
    if (this.#client.getServerCapabilities()?.tools === undefined) return list;
    let cursor: string | undefined;
    for (let page = 0; page < limits.maxListPages && !list.isFull; page += 1) {
      const params = cursor === undefined ? {} : { cursor };
      const options = { signal, timeout: limits.listMs };
      const read = await this.#client.request({ method: 'tools/list', params }, listPage, options);
      list.add(read.tools);
      if (read.nextCursor === undefined || read.nextCursor === cursor) break;
      cursor = read.nextCursor;
    }
    return list;
  }

  /** @returns the result as it came. @throws Error, of the signal too. */
  async callTool(
    tool: Pick<ServerTool, 'name' | 'parameters'>,
    args: Readonly<Record<string, unknown>>,
    options: RequestOptions,
  ): Promise<unknown> {
    const params = { name: tool.name, arguments: { ...args } };
    if (this.#client.getProtocolEra() !== 'modern') {
      return this.#client.request({ method: 'tools/call', params }, anyResult, options);
    }
    // Newer servers may want arguments as headers too. Without an output schema nothing is checked
    // here: a pattern of theirs could take for ever.
    const toolDefinition = {
      name: tool.name,
      inputSchema: { ...tool.parameters, type: 'object' as const },
    };
    const result: CallToolResult = await this.#client.callTool(params, {
      ...options,
      toolDefinition,
    });
    return result;
  }

  /** Whether a call was refused because the server has forgotten who we are: it did nothing. */
  isForgotten(error: unknown): boolean {
    return (
      this.#spec.place.type === 'url' &&
      error instanceof this.#sdk.SdkHttpError &&
      (error.status === 404 || error.status === 400)
    );
  }

  /** Whether nobody is there any more. */
  isUnreachable(error: unknown): boolean {
    return this.#spec.place.type === 'url' && error instanceof TypeError;
  }

  /** What went wrong, in words for people and the model that hold no secret. */
  explain(error: unknown): string {
    if (this.end !== null) return `the server ${this.end}`;
    return printableError(error, this.#redact, this.#sdk);
  }

  /** Ends it. When it resolves nothing of it is left. */
  async close(): Promise<void> {
    this.isClosed = true;
    await this.#transport?.close();
    await this.#client.close();
  }

  async #connect(): Promise<void> {
    try {
      await this.#connectAs('legacy');
    } catch (error) {
      if (this.isClosed || !this.#mayBeNewer(error)) throw error;
      await this.#transport?.close();
      try {
        await this.#connectAs({ pin: NEWER_VERSION });
      } catch {
        throw error;
      }
    }
  }

  async #connectAs(mode: VersionNegotiationMode): Promise<void> {
    const transport = await this.#openTransport();
    if (this.isClosed) {
      // The deadline was faster.
      await transport.close();
      return;
    }
    this.#transport = transport;
    this.#client = this.#newClient(mode);
    // The newer handshake also waits, for so long, for a stream of changes that some never open.
    // The whole deadline is `start`'s, which says it in words.
    const { handshakeMs } = this.#deps.limits;
    const timeout = mode === 'legacy' ? 2 * handshakeMs : handshakeMs / 4;
    await this.#client.connect(transport, { timeout });
  }

  /** Whether a server has refused a handshake that those of the newer version do not know. */
  #mayBeNewer(error: unknown): boolean {
    const { ProtocolError, SdkHttpError } = this.#sdk;
    if (error instanceof ProtocolError) return refusalsOfOldHandshake.includes(error.code);
    return error instanceof SdkHttpError && error.status === 400;
  }

  #newClient(mode: VersionNegotiationMode): Client {
    const { Client } = this.#sdk;
    const onChanged = (): void => this.onToolsChanged();
    const client = new Client(
      { name: 'duragent', version: this.#deps.version },
      {
        capabilities: {},
        versionNegotiation: { mode },
        inputRequired: { autoFulfill: false },
        listChanged: { tools: { autoRefresh: false, debounceMs: 0, onChanged } },
      },
    );
    client.setNotificationHandler('notifications/tools/list_changed', onChanged);
    client.onerror = (error) => {
      const { agent, name } = this.#spec;
      const text = printableError(error, this.#redact, this.#sdk);
      this.#deps.log.debug({ agent, server: name, error: text }, 'tool server trouble');
    };
    return client;
  }

  async #openTransport(): Promise<StdioTransport | HttpTransport> {
    const { place } = this.#spec;
    const { clock, limits } = this.#deps;
    const gate = new MessageGate({
      clock,
      limits,
      onFlood: (why) => this.#transport?.kill(why),
      onText: (text) => this.#serverLog.line(text),
    });
    if (place.type === 'url') return this.#openHttp(place, gate);
    const process = await this.#deps.spawnServer(place.argv, {
      env: serverEnvironment(this.#deps.baseEnv, place.env),
      cwd: place.cwd,
    });
    process.stderr.on('data', (chunk: Buffer) => this.#serverLog.push(chunk));
    const onEnd = (how: Exit | string): void => {
      this.#hasEnded(typeof how === 'string' ? how : describeExit(how));
    };
    return new StdioTransport({ process, clock, limits, gate, onEnd });
  }

  #openHttp(place: Extract<ToolServerPlace, { type: 'url' }>, gate: MessageGate): HttpTransport {
    const { limits } = this.#deps;
    const { url, headers } = addressOf(place);
    const inner = new this.#sdk.StreamableHTTPClientTransport(url, {
      fetch: guardedFetch(this.#deps.fetch, {
        maxBytes: limits.maxMessageBytes,
        onBytes: (bytes) => transport.received(bytes),
      }),
      requestInit: { headers },
      reconnectionScheduler: this.#paceReconnects(),
    });
    const transport = new HttpTransport({
      inner,
      gate,
      onEnd: (why) => this.#hasEnded(why),
      endSessionMs: limits.endMs,
      mostUnclaimedBytes: 2 * limits.maxMessageBytes,
    });
    return transport;
  }

  /** The server may name the pause between connections, and end each at once: here it gets longer. */
  #paceReconnects(): ReconnectionScheduler {
    const { clock, limits } = this.#deps;
    let pauseMs = limits.backoffMs;
    let lastAt = Number.NEGATIVE_INFINITY;
    return (reconnect, delayMs) => {
      const now = clock.monotonic();
      const isSoon = now - lastAt < limits.healthyMs;
      pauseMs = isSoon ? Math.min(limits.maxBackoffMs, 2 * pauseMs) : limits.backoffMs;
      lastAt = now;
      return clock.after(Math.max(delayMs, pauseMs), reconnect);
    };
  }

  #hasEnded(how: string): void {
    const { tail } = this.#serverLog;
    this.end = tail === '' ? how : `${how}; its last words: ${tail}`;
    this.isClosed = true;
    this.onEnd();
  }
}

/** A URL may hold a name and a password, which `fetch` refuses there. */
function addressOf(place: Extract<ToolServerPlace, { type: 'url' }>): {
  url: URL;
  headers: Record<string, string>;
} {
  const url = new URL(place.url);
  if (url.username === '' && url.password === '') return { url, headers: { ...place.headers } };
  const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = '';
  url.password = '';
  const basic = `Basic ${Buffer.from(credentials).toString('base64')}`;
  return { url, headers: { authorization: basic, ...place.headers } };
}

const MAX_ERROR_LENGTH = 1000;

function printableError(error: unknown, redact: (text: string) => string, sdk: Sdk): string {
  return redact(wordsOf(error, sdk)).slice(0, MAX_ERROR_LENGTH).toWellFormed();
}

function wordsOf(error: unknown, sdk: Sdk): string {
  if (error instanceof sdk.SdkHttpError) {
    const { status } = error;
    if (status === 401 || status === 403) {
      return `it refuses us (HTTP ${status}): check the credentials of its URL in agent.yaml`;
    }
    return `it answered HTTP ${status ?? '?'}: ${error.message}`;
  }
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}`;
}

/** Waits for a promise, or rejects with the signal's reason as soon as it aborts. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
