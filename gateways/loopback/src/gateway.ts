import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import {
  DuragentError,
  type CommandOf,
  type GatewayReady,
  type GatewayRequest,
  type InboundEvent,
} from '@duragent/protocol';
import {
  GatewayFatalError,
  type AnswerBody,
  type GatewayHandlers,
  type GatewayLink,
} from '@duragent/protocol/node';
import pino from 'pino';
import manifest from '../package.json' with { type: 'json' };
import { readConfig, type LoopbackConfig, type Post } from './format.ts';
import { checkHost, checkToken, readJson, readMessage, readPress } from './inbound.ts';
import { Webhook } from './outbound/webhook.ts';
import { Chats } from './outbound.ts';

/** Messages and presses that wait for the server's ack. */
const MAX_UNACKED = 256;
const MAX_WAIT_SECONDS = 60;
const MAX_STREAMS = 32;
/** A stream whose reader is so far behind is ended; it can go on by `Last-Event-ID`. */
const MAX_STREAM_BYTES = 8 * 1024 * 1024;
const STDERR = 2;

const statuses: Partial<Record<DuragentError['code'], number>> = {
  invalid_request: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  payload_too_large: 413,
  unsupported_media_type: 415,
  misdirected_request: 421,
  too_many_requests: 429,
  draining: 503,
  request_timeout: 504,
};

/** Everything there is between `configure` and the end. */
interface Running {
  config: LoopbackConfig;
  link: GatewayLink;
  mediaDir: string;
  chats: Chats;
  server: Server;
  /** Where it listens; null: not yet. */
  url: string | null;
}

/** A chat platform of its own: callers speak as people over HTTP, and read what the bot posted. */
export class LoopbackGateway implements GatewayHandlers {
  readonly #log = pino({ base: null }, pino.destination({ dest: STDERR, sync: true }));
  #running: Running | null = null;
  /** Events that were taken, also by runs before this one: the cursor. */
  #received = 0;
  #unacked = 0;
  readonly #streams = new Set<ServerResponse>();
  /** Told of every change. */
  readonly #listeners = new Set<() => void>();

  async configure(
    command: CommandOf<'configure'>,
    link: GatewayLink,
  ): Promise<Omit<GatewayReady, 'type' | 'protocol'>> {
    const config = readOwnConfig(command.config);
    this.#received = readCursor(command.cursor);
    const webhook =
      config.webhookUrl === null
        ? null
        : new Webhook(
            { url: config.webhookUrl, token: config.webhookToken, signal: link.signal },
            (error) => this.#log.warn({ err: error }, 'the webhook did not take a post'),
          );
    const chats = new Chats(config, (post) => {
      webhook?.push(post);
      this.#publish('message', post, post.change);
      for (const listener of this.#listeners) listener();
    });
    const server = createServer((request, response) => void this.#serve(request, response));
    const mediaDir = command.media_dir;
    this.#running = { config, link, mediaDir, chats, server, url: null };
    const url = await listen(server, config.port);
    this.#running.url = url;
    if (config.urlFile !== null) writeUrl(config.urlFile, url);
    this.#log.info({ url }, 'the loopback gateway listens');
    return {
      gateway: 'loopback',
      version: manifest.version,
      capabilities: [...config.capabilities],
      limits: {
        max_length: config.maxLength,
        length_unit: config.lengthUnit,
        max_buttons: config.maxButtons,
        media_max_bytes: config.mediaMaxBytes,
      },
      identity: { id: 'duragent', username: 'duragent' },
    };
  }

  async request(
    request: Exclude<GatewayRequest, CommandOf<'ping'>>,
    { signal }: { signal: AbortSignal },
  ): Promise<AnswerBody> {
    const { config, chats } = this.#get();
    if (config.delayMs > 0) await delay(config.delayMs, undefined, { signal });
    const answer = await chats.request(request);
    if (request.type === 'answer_callback_query') {
      for (const listener of this.#listeners) listener();
    }
    return answer;
  }

  notify(command: CommandOf<'preview_message' | 'send_typing'>): void {
    const { chats, config, link } = this.#get();
    if (command.type === 'send_typing') {
      if (!config.capabilities.has('typing')) return;
      const { chat_id, thread_id, duration } = command;
      this.#publish('typing', {
        chat_id,
        ...(thread_id === undefined ? {} : { thread_id }),
        duration,
      });
      return;
    }
    const post = chats.preview(command);
    if (post === null) return;
    const { preview_id } = command;
    link.send({ type: 'preview_posted', preview_id, message_id: post.message_id });
  }

  connected(): boolean {
    return this.#running?.server.listening === true;
  }

  async shutdown(): Promise<void> {
    if (this.#running === null) return;
    const { server, config, url } = this.#running;
    // Only now: those who wait were told that it ends, by the link's signal.
    for (const stream of this.#streams) stream.end();
    const { promise, resolve } = Promise.withResolvers<void>();
    server.close(() => resolve());
    server.closeIdleConnections();
    // Whoever still reads an answer has a moment; who sends a body, or nothing, has not.
    const cut = setTimeout(() => server.closeAllConnections(), 200);
    await promise;
    clearTimeout(cut);
    if (config.urlFile !== null && url !== null) removeUrl(config.urlFile, url);
  }

  #get(): Running {
    if (this.#running === null) throw new Error('the gateway is not configured');
    return this.#running;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => undefined);
    try {
      await this.#route(request, response);
    } catch (error) {
      const known = error instanceof DuragentError;
      if (!known) this.#log.error({ err: error }, 'a request failed');
      if (response.headersSent || response.destroyed) {
        response.destroy();
        return;
      }
      const code = known ? error.code : 'internal';
      const message = known ? error.message : 'It failed; the log of the gateway says why.';
      // What is left of a body that was refused is not read.
      if (!request.complete) response.setHeader('connection', 'close');
      sendJson(response, statuses[code] ?? 500, { code, message, ...(known ? error.details : {}) });
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { config, chats } = this.#get();
    checkHost(request);
    checkToken(request, config.token);
    const url = new URL(request.url ?? '/', 'http://localhost');
    const [first, second, third, ...more] = url.pathname.slice(1).split('/').map(decode);
    const path = [first, second === undefined ? '' : '*', third ?? '', ...more].join('/');
    switch (path) {
      case '///': {
        allow(request, 'GET');
        const { name, version } = manifest;
        sendJson(response, 200, { gateway: name, version, last: chats.posts.lastChange });
        return;
      }
      case 'messages//':
      case 'presses//': {
        allow(request, 'POST');
        await this.#receive(first === 'messages', await readJson(request), response);
        return;
      }
      case 'presses/*/': {
        allow(request, 'GET');
        const answer = (): string | null | undefined => chats.pressAnswer(second ?? '');
        await this.#wait(readWait(url), response, () => answer() !== undefined);
        sendJson(response, 200, { answered: answer() !== undefined, text: answer() ?? null });
        return;
      }
      case 'chats//': {
        allow(request, 'GET');
        sendJson(response, 200, { chats: chats.posts.chats(), last: chats.posts.lastChange });
        return;
      }
      case 'chats/*/messages': {
        allow(request, 'GET');
        const after = readCount(url, 'after', Number.MAX_SAFE_INTEGER);
        const found = (): Post[] => chats.posts.changes(second ?? '', after);
        await this.#wait(readWait(url), response, () => found().length > 0);
        sendJson(response, 200, { messages: found(), last: chats.posts.lastChange });
        return;
      }
      case 'events//': {
        allow(request, 'GET');
        this.#stream(request, response, url);
        return;
      }
      default:
        throw new DuragentError('not_found', 'There is no such path; see README.md for those.');
    }
  }

  /** Passes an arrival on; answers when the server made it durable. */
  async #receive(isMessage: boolean, body: unknown, response: ServerResponse): Promise<void> {
    const { chats, config, link, mediaDir } = this.#get();
    if (link.signal.aborted) throw ending();
    if (this.#unacked >= MAX_UNACKED) {
      throw new DuragentError(
        'too_many_requests',
        `${MAX_UNACKED} messages wait for the server already. Send this one again later.`,
      );
    }
    this.#unacked += 1;
    try {
      const arrival = {
        messageId: chats.posts.newId('u'),
        at: new Date().toISOString(),
        mediaDir,
      };
      const event = isMessage ? await readMessage(body, arrival) : readPress(body, arrival);
      // Only now, when it is sent: the cursors are in the order of the lines.
      this.#received += 1;
      event.cursor = { received: this.#received };
      await this.#deliver(event, config, link);
      sendJson(response, 200, {
        event_id: event.event_id,
        message_id: event.message_id,
        ...(event.type === 'callback_query' ? { callback_query_id: event.callback_query_id } : {}),
      });
    } finally {
      this.#unacked -= 1;
    }
  }

  async #deliver(
    event: InboundEvent & { event_id: string },
    config: LoopbackConfig,
    link: GatewayLink,
  ): Promise<void> {
    const details = { event_id: event.event_id };
    const again = 'Send it again with the same event_id: then it counts once.';
    const delivered = link.deliver(event).catch((error: unknown) => {
      if (link.signal.aborted) {
        throw new DuragentError('draining', `The gateway ends. ${again}`, { details });
      }
      const reason = error instanceof Error ? error.message : String(error);
      throw new DuragentError('invalid_request', `It cannot be passed on: ${reason}`);
    });
    // Whether or not somebody still waits for it.
    delivered.catch(() => undefined);
    if (!config.capabilities.has('ack')) return;
    const late = new AbortController();
    try {
      await Promise.race([
        delivered,
        delay(config.ackTimeoutMs, undefined, { signal: late.signal }).then(() => {
          const message = `The server did not confirm it within ${config.ackTimeoutMs} ms. ${again}`;
          throw new DuragentError('request_timeout', message, { details });
        }),
        aborted(link.signal, late.signal).then(() => {
          throw new DuragentError('draining', `The gateway ends. ${again}`, { details });
        }),
      ]);
    } finally {
      late.abort();
    }
  }

  /** Waits until `isDone`, at most so long, and no longer than the caller and the gateway are there. */
  async #wait(ms: number, response: ServerResponse, isDone: () => boolean): Promise<void> {
    const { link } = this.#get();
    if (ms === 0 || isDone()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const listener = (): void => {
      if (isDone()) resolve();
    };
    const timer = setTimeout(resolve, ms);
    const end = (): void => resolve();
    this.#listeners.add(listener);
    response.once('close', end);
    link.signal.addEventListener('abort', end, { once: true });
    if (link.signal.aborted) resolve();
    await promise;
    clearTimeout(timer);
    this.#listeners.delete(listener);
    response.off('close', end);
    link.signal.removeEventListener('abort', end);
  }

  #stream(request: IncomingMessage, response: ServerResponse, url: URL): void {
    if (this.#streams.size >= MAX_STREAMS) {
      throw new DuragentError('too_many_requests', `${MAX_STREAMS} streams are open: close one.`);
    }
    const seen = request.headers['last-event-id'];
    if (seen !== undefined) url.searchParams.set('after', String(seen));
    const after = readCount(url, 'after', Number.MAX_SAFE_INTEGER);
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write(': everything the bot posts\n\n');
    this.#streams.add(response);
    response.once('close', () => this.#streams.delete(response));
    // Without `after` a stream begins now.
    if (!url.searchParams.has('after')) return;
    for (const post of this.#get().chats.posts.changes(null, after)) {
      response.write(frame('message', post, post.change));
    }
  }

  #publish(event: string, data: object, id?: number): void {
    const text = frame(event, data, id);
    for (const stream of this.#streams) {
      if (stream.writableLength > MAX_STREAM_BYTES) stream.destroy();
      else stream.write(text);
    }
  }
}

function frame(event: string, data: object, id?: number): string {
  const name = id === undefined ? '' : `id: ${id}\n`;
  return `${name}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

function readOwnConfig(config: Readonly<Record<string, unknown>>): LoopbackConfig {
  try {
    return readConfig(config);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new GatewayFatalError('invalid_config', message, { cause: error });
  }
}

/** The number that this gateway gave as its cursor; of anything else it starts anew. */
function readCursor(cursor: unknown): number {
  if (typeof cursor !== 'object' || cursor === null || !('received' in cursor)) return 0;
  const { received } = cursor;
  return typeof received === 'number' && Number.isSafeInteger(received) && received > 0
    ? received
    : 0;
}

/** @returns the URL to call. Never another address: this gateway lets anybody speak as anybody. */
async function listen(server: Server, port: number): Promise<string> {
  server.maxConnections = 256;
  server.headersTimeout = 10_000;
  server.requestTimeout = 30_000;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ port, host: '127.0.0.1' }, resolve);
  try {
    await promise;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    const message = `port ${port} is taken: end what listens there, or set config.port to 0 for any`;
    throw new Error(message, { cause: error });
  }
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('it listens nowhere');
  return `http://127.0.0.1:${address.port}`;
}

function writeUrl(file: string, url: string): void {
  writeFileSync(`${file}.new`, urlText(url), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Unless it is of the run after this one already. */
function removeUrl(file: string, url: string): void {
  if (existsSync(file) && readFileSync(file, 'utf8') === urlText(url)) rmSync(file);
}

function urlText(url: string): string {
  return `${JSON.stringify({ url })}\n`;
}

function allow(request: IncomingMessage, method: string): void {
  if (request.method === method) return;
  throw new DuragentError('method_not_allowed', `Call this path with ${method}.`);
}

function readWait(url: URL): number {
  return readCount(url, 'wait', MAX_WAIT_SECONDS) * 1000;
}

function readCount(url: URL, name: string, most: number): number {
  const text = url.searchParams.get(name) ?? '0';
  if (/^\d{1,16}$/.test(text) && Number(text) <= most) return Number(text);
  throw new DuragentError('invalid_request', `${name} takes a whole number from 0 to ${most}.`);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw new DuragentError('invalid_request', 'The path is not percent-encoded UTF-8.', {
      cause: error,
    });
  }
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  if (response.destroyed) return;
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(`${JSON.stringify(body)}\n`);
}

function ending(): DuragentError {
  return new DuragentError('draining', 'The gateway ends. Send it again when it is back.');
}

/** Resolves when a signal aborts; its listener is gone when `until` aborts. */
async function aborted(signal: AbortSignal, until: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => resolve(), { once: true, signal: until });
  if (signal.aborted) resolve();
  await promise;
}
