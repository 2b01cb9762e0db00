import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as nextTick, setTimeout as delay } from 'node:timers/promises';
import { encode, errorBody, type Answer, type Encoded, type Wire } from './model-server-wire.ts';

export type { Answer, Wire } from './model-server-wire.ts';

/** What the server does with one request. */
export type Behaviour =
  | ({
      type: 'answer';
      /** Pause before each token, in ms. Default: none, everything goes out at once. */
      delayMs?: number;
      /** Holds the answer until the gate is released, after `holdAfter` tokens (default 0). */
      gate?: Gate;
      holdAfter?: number;
      /** Destroys the socket after that many tokens. */
      cutAfter?: number;
      /** Goes out in writes of that many bytes: events and characters are cut anywhere. */
      splitBytes?: number;
    } & Answer)
  /** Headers of a stream, then nothing; or not even headers. */
  | { type: 'stall'; headers?: boolean }
  /** A refusal; `body` defaults to the wire's own error body with `message`. */
  | {
      type: 'status';
      status: number;
      message?: string;
      errorType?: string;
      headers?: Record<string, string>;
      body?: string;
    }
  | { type: 'nonsense'; kind: Nonsense };

export type Nonsense =
  | 'html'
  | 'empty'
  | 'bad-json'
  | 'wrong-shape'
  | 'binary'
  | 'no-finish'
  /** One line that never ends. */
  | 'endless-line'
  /** Lines that are no events, without end. */
  | 'endless-lines'
  /** An error of the provider inside of a stream that began well. */
  | 'error-event'
  /** The socket is destroyed before any header. */
  | 'hang-up';

/** One request as it came in, and what became of its answer: the truth that tests compare with. */
export interface ModelServerRequest {
  wire: Wire;
  path: string;
  headers: IncomingHttpHeaders;
  /** The parsed body. */
  body: Record<string, unknown>;
  /** The body's text, to compare prefixes byte by byte. */
  text: string;
  /** Local port of the client: the same for requests over one connection. */
  clientPort: number | undefined;
  /** Tokens written so far; of an endless body, pieces of 64 KiB. */
  sent: number;
  /** The answer went out whole. */
  finished: boolean;
  /** The client closed the connection before the answer's end. */
  closedEarly: boolean;
}

/** Keeps answers back: `held` counts those that wait, `release` lets go of all, now and later. */
export class Gate {
  held = 0;
  readonly #opened = Promise.withResolvers<void>();

  release(): void {
    this.#opened.resolve();
  }

  async pass(signal: AbortSignal): Promise<void> {
    this.held++;
    const left = Promise.withResolvers<void>();
    const leave = (): void => left.resolve();
    signal.addEventListener('abort', leave, { once: true });
    await Promise.race([this.#opened.promise, left.promise]);
    signal.removeEventListener('abort', leave);
    this.held--;
  }
}

export interface ModelServer extends AsyncDisposable {
  /** `http://127.0.0.1:<port>`; the APIs are below `/v1`, and Ollama's list is at `/api/tags`. */
  readonly url: string;
  /** The last requests, oldest first (at most `keep`). */
  readonly requests: ModelServerRequest[];
  readonly started: number;
  readonly finished: number;
  readonly closedEarly: number;
  /** What requests get that found nothing in the queue. */
  respond: (request: ModelServerRequest) => Behaviour;
  /** What `/api/tags` lists; null: there is no such path. */
  ollamaModels: string[] | null;
  /** How the next request without a behaviour is treated; first in, first out. */
  enqueue(...behaviours: Behaviour[]): void;
  close(): Promise<void>;
}

export interface ModelServerOptions {
  /** 0 (default): any free port. */
  port?: number;
  /** What every request gets, unless `respond` or `enqueue` says otherwise. Default: 3 tokens. */
  behaviour?: Behaviour;
  /** How many requests are remembered. Default: 1000. */
  keep?: number;
}

/** A model provider on loopback: the chat completions of OpenAI and the messages of Anthropic. */
export async function startModelServer(options: ModelServerOptions = {}): Promise<ModelServer> {
  const fixed: Behaviour = options.behaviour ?? { type: 'answer' };
  const keep = options.keep ?? 1000;
  const queue: Behaviour[] = [];
  const requests: ModelServerRequest[] = [];
  const counts = { started: 0, finished: 0, closedEarly: 0 };

  const http = createServer((incoming, response) => {
    // A client that leaves in the middle of its body or our answer is an ordinary case here.
    void handle(incoming, response).catch((error: unknown) => {
      response.destroy(error instanceof Error ? error : undefined);
    });
  });

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = incoming.url ?? '/';
    if (path === '/api/tags' && server.ollamaModels !== null) {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ models: server.ollamaModels.map((name) => ({ name })) }));
      return;
    }
    const wire = path.endsWith('/chat/completions')
      ? 'openai'
      : path.endsWith('/messages')
        ? 'anthropic'
        : null;
    if (incoming.method !== 'POST' || wire === null) {
      response.statusCode = 404;
      response.end('no such path');
      return;
    }
    const left = new AbortController();
    const parts: Buffer[] = [];
    for await (const part of incoming) parts.push(part as Buffer);
    const text = Buffer.concat(parts).toString();
    const request: ModelServerRequest = {
      wire,
      path,
      headers: incoming.headers,
      body: JSON.parse(text) as Record<string, unknown>,
      text,
      clientPort: incoming.socket.remotePort,
      sent: 0,
      finished: false,
      closedEarly: false,
    };
    requests.push(request);
    if (requests.length > keep) requests.shift();
    counts.started++;
    let cutByUs = false;
    response.on('close', () => {
      left.abort();
      if (request.finished || cutByUs) return;
      request.closedEarly = true;
      counts.closedEarly++;
    });
    const behaviour = queue.shift() ?? server.respond(request);
    const outcome = await perform(behaviour, request, response, left.signal);
    if (outcome === 'cut') {
      cutByUs = true;
      response.destroy();
    } else if (outcome === 'whole' && !left.signal.aborted) {
      request.finished = true;
      counts.finished++;
      response.end();
    }
  }

  const server: ModelServer = {
    url: '',
    requests,
    get started() {
      return counts.started;
    },
    get finished() {
      return counts.finished;
    },
    get closedEarly() {
      return counts.closedEarly;
    },
    respond: () => fixed,
    ollamaModels: null,
    enqueue: (...behaviours) => void queue.push(...behaviours),
    close: async () => {
      const closed = Promise.withResolvers<void>();
      http.close(() => closed.resolve());
      http.closeAllConnections();
      await closed.promise;
    },
    [Symbol.asyncDispose]: () => server.close(),
  };
  const listening = Promise.withResolvers<void>();
  http.once('error', listening.reject);
  http.listen(options.port ?? 0, '127.0.0.1', () => listening.resolve());
  await listening.promise;
  const { port } = http.address() as AddressInfo;
  return Object.defineProperty(server, 'url', { value: `http://127.0.0.1:${port}` });
}

type Outcome = 'whole' | 'cut' | 'left';

async function perform(
  behaviour: Behaviour,
  request: ModelServerRequest,
  response: ServerResponse,
  left: AbortSignal,
): Promise<Outcome> {
  switch (behaviour.type) {
    case 'answer':
      startStream(response);
      return await answer(behaviour, request, response, left);
    case 'stall':
      if (behaviour.headers !== false) startStream(response);
      return 'left';
    case 'status': {
      const {
        status,
        message = `status ${behaviour.status}`,
        errorType = 'test_error',
      } = behaviour;
      response.writeHead(status, { 'content-type': 'application/json', ...behaviour.headers });
      response.write(behaviour.body ?? errorBody(request.wire, message, errorType));
      return 'whole';
    }
    case 'nonsense':
      return await nonsense(behaviour.kind, request, response, left);
  }
}

function startStream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  response.flushHeaders();
}

/** Bodies by behaviour, wire and model: a behaviour that is used again is encoded once. */
const encodings = new WeakMap<Answer, Map<string, Encoded>>();

function encoded(behaviour: Answer, request: ModelServerRequest): Encoded {
  const model = typeof request.body.model === 'string' ? request.body.model : 'unknown';
  const known = encodings.get(behaviour) ?? new Map<string, Encoded>();
  encodings.set(behaviour, known);
  const options = request.body.stream_options as { include_usage?: unknown } | undefined;
  const usage = options?.include_usage === true;
  const key = `${request.wire} ${model} ${usage}`;
  const body = known.get(key) ?? encode(behaviour, request.wire, model, usage);
  known.set(key, body);
  return body;
}

async function answer(
  behaviour: Behaviour & { type: 'answer' },
  request: ModelServerRequest,
  response: ServerResponse,
  left: AbortSignal,
): Promise<Outcome> {
  const { head, tokens, tail } = encoded(behaviour, request);
  const { delayMs = 0, gate, holdAfter = 0, cutAfter, splitBytes } = behaviour;
  if (splitBytes !== undefined) {
    const whole = Buffer.concat([head, ...tokens, tail]);
    for (let at = 0; at < whole.length && !left.aborted; at += splitBytes) {
      response.write(whole.subarray(at, at + splitBytes));
      await nextTick();
    }
    return 'whole';
  }
  if (delayMs === 0 && gate === undefined && cutAfter === undefined) {
    request.sent = tokens.length;
    response.write(Buffer.concat([head, ...tokens, tail]));
    return 'whole';
  }
  await write(response, head);
  for (const [index, token] of tokens.entries()) {
    if (gate !== undefined && index === holdAfter) await gate.pass(left);
    if (cutAfter === index) return 'cut';
    if (delayMs > 0) await delay(delayMs);
    if (left.aborted) return 'left';
    request.sent++;
    if (cutAfter === undefined) response.write(token);
    else await write(response, token);
  }
  if (gate !== undefined && holdAfter >= tokens.length) await gate.pass(left);
  if (cutAfter !== undefined) return 'cut';
  response.write(tail);
  return 'whole';
}

/** Waits until the bytes are out, so that a cut comes after them. */
async function write(response: ServerResponse, bytes: Buffer | string): Promise<void> {
  if (response.destroyed) return;
  const out = Promise.withResolvers<void>();
  response.once('close', out.resolve);
  response.write(bytes, () => out.resolve());
  await out.promise;
  response.off('close', out.resolve);
}

async function nonsense(
  kind: Nonsense,
  request: ModelServerRequest,
  response: ServerResponse,
  left: AbortSignal,
): Promise<Outcome> {
  switch (kind) {
    case 'hang-up':
      return 'cut';
    case 'html':
      response.writeHead(200, { 'content-type': 'text/html' });
      response.write('<!doctype html><title>Sign in</title><p>data: hello</p>\n\n');
      return 'whole';
    case 'empty':
      startStream(response);
      return 'whole';
    case 'binary':
      startStream(response);
      response.write(Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 31) % 256)));
      return 'whole';
    case 'bad-json':
      return await broken(request, response, 'data: {"id": "x", "choices": [{\n\n');
    case 'wrong-shape':
      return await broken(request, response, 'data: {"type":"surprise","choices":"none"}\n\n');
    case 'no-finish':
      return await broken(request, response, '');
    case 'error-event': {
      const error = errorBody(request.wire, 'Overloaded', 'overloaded_error');
      return await broken(request, response, `event: error\ndata: ${error}\n\n`);
    }
    case 'endless-line':
    case 'endless-lines': {
      startStream(response);
      const line = kind === 'endless-line' ? 'x'.repeat(65_536) : ': nothing\n'.repeat(6_554);
      while (!left.aborted) {
        request.sent++;
        await write(response, line);
      }
      return 'left';
    }
  }
}

/** A stream that begins well and then says something else. */
async function broken(
  request: ModelServerRequest,
  response: ServerResponse,
  then: string,
): Promise<Outcome> {
  startStream(response);
  const { head, tokens } = encoded({ tokens: ['well ', 'begun '] }, request);
  await write(response, Buffer.concat([head, ...tokens]));
  request.sent = tokens.length;
  if (then !== '') await write(response, then);
  return 'whole';
}
