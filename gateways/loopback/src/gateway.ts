import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import {
  DuragentError,
  type CommandOf,
  type GatewayReady,
  type GatewayRequest,
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
import { Arrivals } from './gateway/arrivals.ts';
import { EventStreams } from './gateway/event-streams.ts';
import { allow, decode, readCount, readWait, sendError, sendJson } from './gateway/http.ts';
import { listen, removeUrl, writeUrl } from './gateway/listen.ts';
import { Waiters } from './gateway/waiters.ts';
import { checkHost, checkToken, readJson } from './inbound.ts';
import { Webhook } from './outbound/webhook.ts';
import { Chats } from './outbound.ts';

const STDERR = 2;

/** Everything there is between `configure` and the end. */
interface Running {
  config: LoopbackConfig;
  link: GatewayLink;
  chats: Chats;
  arrivals: Arrivals;
  server: Server;
  /** Where it listens; null: not yet. */
  url: string | null;
}

/** A chat platform of its own: callers speak as people over HTTP, and read what the bot posted. */
export class LoopbackGateway implements GatewayHandlers {
  readonly #log = pino({ base: null }, pino.destination({ dest: STDERR, sync: true }));
  #running: Running | null = null;
  readonly #streams = new EventStreams();
  readonly #waiters = new Waiters();

  async configure(
    command: CommandOf<'configure'>,
    link: GatewayLink,
  ): Promise<Omit<GatewayReady, 'type' | 'protocol'>> {
    const config = readOwnConfig(command.config);
    const webhook =
      config.webhookUrl === null
        ? null
        : new Webhook(
            { url: config.webhookUrl, token: config.webhookToken, signal: link.signal },
            (error) => this.#log.warn({ err: error }, 'the webhook did not take a post'),
          );
    const chats = new Chats(config, (post) => {
      webhook?.push(post);
      this.#streams.publish('message', post, post.change);
      this.#waiters.tell();
    });
    const server = createServer((request, response) => void this.#serve(request, response));
    const arrivals = new Arrivals(command.cursor, {
      config,
      link,
      mediaDir: command.media_dir,
      newMessageId: () => chats.posts.newId('u'),
    });
    this.#running = { config, link, chats, arrivals, server, url: null };
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
    if (request.type === 'answer_callback_query') this.#waiters.tell();
    return answer;
  }

  notify(command: CommandOf<'preview_message' | 'send_typing'>): void {
    const { chats, config, link } = this.#get();
    if (command.type === 'send_typing') {
      if (!config.capabilities.has('typing')) return;
      const { chat_id, thread_id, duration } = command;
      this.#streams.publish('typing', {
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
    this.#streams.end();
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
      if (!(error instanceof DuragentError)) this.#log.error({ err: error }, 'a request failed');
      sendError(request, response, error);
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { config, link, chats, arrivals } = this.#get();
    const { signal } = link;
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
        const type = first === 'messages' ? 'message' : 'press';
        sendJson(response, 200, await arrivals.receive(type, await readJson(request)));
        return;
      }
      case 'presses/*/': {
        allow(request, 'GET');
        const answer = (): string | null | undefined => chats.pressAnswer(second ?? '');
        await this.#waiters.wait(readWait(url), response, signal, () => answer() !== undefined);
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
        await this.#waiters.wait(readWait(url), response, signal, () => found().length > 0);
        sendJson(response, 200, { messages: found(), last: chats.posts.lastChange });
        return;
      }
      case 'events//': {
        allow(request, 'GET');
        this.#streams.open(request, response, url, (after) => chats.posts.changes(null, after));
        return;
      }
      default:
        throw new DuragentError('not_found', 'There is no such path; see README.md for those.');
    }
  }
}

function readOwnConfig(config: Readonly<Record<string, unknown>>): LoopbackConfig {
  try {
    return readConfig(config);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new GatewayFatalError('invalid_config', message, { cause: error });
  }
}
