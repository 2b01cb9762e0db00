import { isDeepStrictEqual } from 'node:util';
import type {
  ServerTool,
  ToolCallResult,
  ToolListing,
  ToolServer,
  ToolServerSpec,
} from '../../ports/tool-server.ts';
import { CallEnded, CallGuard } from './call-guard.ts';
import { readResult } from './call-result.ts';
import { member } from './json-values.ts';
import { type ConnectionDeps, McpConnection, untilAborted } from './mcp-connection.ts';
import { describePlace } from './redact.ts';
import { StartPacer } from './start-pacer.ts';

type CallOptions = Parameters<ToolServer['call']>[2];

/** A server that speaks MCP, over however many lives it has. */
export class McpServer implements ToolServer {
  readonly #spec: ToolServerSpec;
  readonly #deps: ConnectionDeps;
  readonly #pacer: StartPacer;
  /** Of lists that did not come in time: else each step of a turn would wait for the next one. */
  readonly #listPacer: StartPacer;
  readonly #closing = new AbortController();
  #connection: McpConnection | null = null;
  #connecting: Promise<McpConnection> | null = null;
  /** Ends that are under way. */
  readonly #ending = new Set<Promise<void>>();
  #tools: readonly ServerTool[] | null = null;
  /** Whether the tools were listed by the life that runs, and not changed since. */
  #isCurrent = false;
  #listing: Promise<void> | null = null;
  #changes = 0;
  #calls = 0;
  #lastCallAt = 0;
  #cancelIdle: () => void = () => undefined;

  constructor(spec: ToolServerSpec, deps: ConnectionDeps) {
    this.#spec = spec;
    this.#deps = deps;
    this.#pacer = new StartPacer(deps.clock, deps.limits);
    this.#listPacer = new StartPacer(deps.clock, deps.limits);
  }

  async tools(options: { signal: AbortSignal; current?: boolean }): Promise<ToolListing> {
    const known = this.#tools;
    const isRunning = this.#connection !== null;
    const isEnough = isRunning ? this.#isCurrent : options.current !== true;
    if (known !== null && isEnough) return { tools: known, fault: null };
    try {
      await this.#unlessAborted(() => this.#list(), options.signal);
      return { tools: this.#tools ?? [], fault: null };
    } catch (error) {
      const why = options.signal.aborted ? 'nobody waited for its tools' : wordsOf(error);
      return { tools: this.#tools ?? [], fault: `${this.#title}: ${why}` };
    }
  }

  async call(
    name: string,
    args: Readonly<Record<string, unknown>>,
    options: CallOptions,
  ): Promise<ToolCallResult> {
    const { maxCalls } = this.#deps.limits;
    if (this.#calls >= maxCalls) {
      return failed(`${this.#title}: ${maxCalls} calls are open. Wait until some have ended.`);
    }
    this.#calls += 1;
    try {
      return await this.#call(name, args, options);
    } finally {
      this.#calls -= 1;
      this.#lastCallAt = this.#deps.clock.monotonic();
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('it is closed'));
    this.#cancelIdle();
    await this.#connecting?.catch(() => undefined);
    if (this.#connection !== null) this.#end(this.#connection);
    await Promise.all(this.#ending);
  }

  get #title(): string {
    return `MCP server "${this.#spec.name}"`;
  }

  async #call(
    name: string,
    args: Readonly<Record<string, unknown>>,
    options: CallOptions,
  ): Promise<ToolCallResult> {
    // A server that was restarted knows no session of ours; it did nothing, so this is no second call.
    for (let attempt = 0; attempt < 2; attempt += 1) {
      let connection: McpConnection;
      try {
        connection = await this.#unlessAborted(() => this.#connect(), options.signal);
      } catch (error) {
        if (options.signal.aborted || this.#closing.signal.aborted) {
          return cancelled('The call was cancelled before it was sent.');
        }
        return failed(`${this.#title}: ${wordsOf(error)}. The tool was not called.`);
      }
      const result = await this.#callOn(connection, name, args, options);
      if (result !== 'forgotten') return result;
      this.#end(connection);
    }
    return failed(`${this.#title} refuses the call. The tool was not called.`);
  }

  async #callOn(
    connection: McpConnection,
    name: string,
    args: Readonly<Record<string, unknown>>,
    options: CallOptions,
  ): Promise<ToolCallResult | 'forgotten'> {
    const { clock, limits } = this.#deps;
    const { signal, onProgress, timeoutMs = limits.callMs } = options;
    const lastMs = timeoutMs * limits.progressFactor;
    const signals = [signal, this.#closing.signal];
    const guard = new CallGuard(clock, { signals, ms: timeoutMs, lastMs });
    const parameters = this.#tools?.find((tool) => tool.name === name)?.parameters ?? {};
    try {
      const request = connection.callTool({ name, parameters }, args, {
        signal: guard.signal,
        // The client's own deadline is behind ours.
        timeout: lastMs + 1000,
        onprogress: (progress) => {
          if (guard.signal.aborted) return;
          guard.extend();
          onProgress?.(progressText(progress));
        },
      });
      const result = readResult(await guard.wait(request), limits.maxResultBytes);
      this.#pacer.worked();
      const { isError, content, truncated } = result;
      return { outcome: isError ? 'error' : 'ok', content, truncated };
    } catch (error) {
      const ended: unknown = guard.signal.reason;
      if (ended instanceof CallEnded) {
        const content = `The call of ${this.#title} ${ended.message}. It was told to stop; it may have done a part of its work.`;
        return { outcome: ended.outcome, content, truncated: false };
      }
      if (connection.isForgotten(error)) return 'forgotten';
      if (connection.isUnreachable(error)) this.#end(connection);
      const why = `${this.#title}: ${connection.explain(error)}`;
      return failed(connection.isClosed ? `${why}. The call may have done its work.` : why);
    } finally {
      guard.clear();
    }
  }

  /** Waits for work that goes on for others when nobody here waits any more. */
  async #unlessAborted<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    return untilAborted(untilAborted(work(), signal), this.#closing.signal);
  }

  /** The life that runs, or a new one. @throws Error in words for people. */
  #connect(): Promise<McpConnection> {
    if (this.#connection !== null) return Promise.resolve(this.#connection);
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = null;
    });
    return this.#connecting;
  }

  async #open(): Promise<McpConnection> {
    if (this.#closing.signal.aborted) throw new Error('it is closed');
    throwIfPaused(this.#pacer, 'it is started');
    this.#pacer.starts();
    const { agent, name } = this.#spec;
    const { log } = this.#deps;
    const connection = await McpConnection.prepare(this.#spec, this.#deps);
    const stop = (): void => this.#end(connection);
    this.#closing.signal.addEventListener('abort', stop, { once: true });
    try {
      await connection.start();
    } catch (error) {
      const why = `it could not be started: ${wordsOf(error)}`;
      this.#pacer.failed('start', why);
      log.warn({ agent, server: name, why }, 'tool server did not start');
      this.#end(connection);
      throw new Error(why, { cause: error });
    } finally {
      this.#closing.signal.removeEventListener('abort', stop);
    }
    this.#isCurrent = false;
    connection.onToolsChanged = () => {
      this.#changes += 1;
      this.#isCurrent = false;
    };
    connection.onEnd = () => this.#lost(connection);
    log.info(
      { agent, server: name, place: describePlace(this.#spec.place) },
      'tool server started',
    );
    if (connection.isClosed) {
      this.#lost(connection);
      throw new Error(`it ${connection.end ?? 'was closed'}, right after its start`);
    }
    this.#connection = connection;
    this.#lastCallAt = this.#deps.clock.monotonic();
    this.#endWhenIdle();
    return connection;
  }

  #list(): Promise<void> {
    this.#listing ??= this.#listNow().finally(() => {
      this.#listing = null;
    });
    return this.#listing;
  }

  async #listNow(): Promise<void> {
    const { agent, name } = this.#spec;
    const { log, limits, clock } = this.#deps;
    throwIfPaused(this.#listPacer, 'they are asked for');
    const connection = await this.#connect();
    if (this.#isCurrent) return;
    const changes = this.#changes;
    const { listMs } = limits;
    const guard = new CallGuard(clock, {
      signals: [this.#closing.signal],
      ms: listMs,
      lastMs: listMs,
    });
    try {
      const list = await guard.wait(connection.listTools(guard.signal));
      for (const note of list.notes) log.warn({ agent, server: name }, `tool server: ${note}`);
      // The same tools stay the same: some servers say that they changed when they did not.
      if (!isDeepStrictEqual(this.#tools, list.tools)) this.#tools = list.tools;
      this.#isCurrent = this.#connection === connection && this.#changes === changes;
      this.#listPacer.worked();
    } catch (error) {
      if (connection.isForgotten(error) || connection.isUnreachable(error)) this.#end(connection);
      const ended: unknown = guard.signal.reason;
      const reason = guard.signal.aborted ? wordsOf(ended) : connection.explain(error);
      const why = `its tools cannot be listed: ${reason}`;
      if (ended instanceof CallEnded && ended.outcome === 'timed_out') {
        this.#listPacer.failed('start', why);
      }
      throw new Error(why, { cause: error });
    } finally {
      guard.clear();
    }
  }

  /** It ended by itself. */
  #lost(connection: McpConnection): void {
    const { agent, name } = this.#spec;
    const why = `it ${connection.end ?? 'ended'}`;
    this.#pacer.failed('end', why);
    this.#deps.log.warn({ agent, server: name, why }, 'tool server ended');
    this.#end(connection);
  }

  #end(connection: McpConnection): void {
    if (this.#connection === connection) {
      this.#connection = null;
      this.#cancelIdle();
    }
    const ended = connection.close().catch((error: unknown) => {
      const { agent, name } = this.#spec;
      this.#deps.log.warn({ agent, server: name, err: error }, 'tool server did not end well');
    });
    this.#ending.add(ended);
    void ended.finally(() => this.#ending.delete(ended));
  }

  /** Looks again when it may be idle, instead of at each call. */
  #endWhenIdle(): void {
    const { clock, limits, log } = this.#deps;
    this.#cancelIdle();
    const idleForMs = this.#calls > 0 ? 0 : clock.monotonic() - this.#lastCallAt;
    this.#cancelIdle = clock.after(limits.idleMs - idleForMs, () => {
      if (this.#connection === null) return;
      if (this.#calls > 0 || clock.monotonic() - this.#lastCallAt < limits.idleMs) {
        this.#endWhenIdle();
        return;
      }
      const { agent, name } = this.#spec;
      log.info({ agent, server: name }, 'tool server ended: nobody calls it');
      this.#end(this.#connection);
    });
  }
}

const MAX_PROGRESS_LENGTH = 1000;

function progressText(progress: unknown): string {
  const [done, total, message] = ['progress', 'total', 'message'].map((key) =>
    member(progress, key),
  );
  const count = typeof total === 'number' ? `${String(done)}/${total}` : String(done);
  const text = typeof message === 'string' ? `${message} (${count})` : count;
  return text.slice(0, MAX_PROGRESS_LENGTH).toWellFormed();
}

function failed(content: string): ToolCallResult {
  return { outcome: 'error', content, truncated: false };
}

function cancelled(content: string): ToolCallResult {
  return { outcome: 'cancelled', content, truncated: false };
}

/** @throws Error with what went wrong last, while it is too early for another try. */
function throwIfPaused(pacer: StartPacer, what: string): void {
  const pauseMs = pacer.pauseMs();
  if (pauseMs === 0) return;
  const seconds = Math.ceil(pauseMs / 1000);
  throw new Error(`${pacer.lastFault}; ${what} again in ${seconds} s at the soonest`);
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
