import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type {
  ChatCommand,
  CommandOf,
  GatewayReady,
  InboundEvent,
  MediaFile,
} from '@duragent/protocol';
import { GatewayFatalError, type GatewayHandlers, type GatewayLink } from '@duragent/protocol/node';
import { type Api, GrammyError } from 'grammy';
import type { Update } from 'grammy/types';
import { pino, type Logger } from 'pino';
import {
  type BotIdentity,
  MAX_DOWNLOAD_BYTES,
  migration,
  type PendingFile,
  readUpdate,
  wantedUpdates,
} from './inbound.ts';
import { Outbound } from './outbound.ts';
import { type CallSignal, openApi } from './outbound/calls.ts';
import { readFailure } from './outbound/failure.ts';
import { MAX_UPLOAD_BYTES } from './outbound/media.ts';

/** How long the first contact may take; the server waits 10 s for `ready`. */
const CONNECT_MS = 8000;
/** An answer that never ends is given up. Longer than any long poll. */
const CALL_TIMEOUT_SECONDS = 40;
const UPLOAD_TIMEOUT_SECONDS = 600;
const MIN_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 30_000;
/** While updates wait for their ack, how long until others are asked for. */
const SETTLE_MS = 1000;
const DOWNLOAD_TIMEOUT_MS = 120_000;
const MAX_DOWNLOADS = 4;
/** After a week without updates Telegram's ids start anew, anywhere: an older offset says nothing. */
const STALE_OFFSET_MS = 6 * 24 * 60 * 60 * 1000;
const UPLOAD_LIMITS = { max_length: 4096, length_unit: 'utf16', max_buttons: 100 } as const;

/** The gateway's map in duragent.yaml. */
export interface TelegramConfig {
  botToken: string;
  /** Without a slash at its end. */
  apiRoot: string;
  pollTimeoutSeconds: number;
  streaming: 'edit' | 'draft';
}

const configKeys = ['bot_token', 'api_root', 'poll_timeout_seconds', 'streaming'];

/** Reads the gateway's config. @throws GatewayFatalError that never shows the token. */
export function readConfig(config: Readonly<Record<string, unknown>>): TelegramConfig {
  for (const key of Object.keys(config)) {
    if (configKeys.includes(key)) continue;
    const near = configKeys.find((known) => distance(known, key) <= 3);
    const hint =
      near === undefined ? `known are ${configKeys.join(', ')}` : `did you mean "${near}"?`;
    throw invalid(`unknown key "${key.slice(0, 100)}": ${hint}`);
  }
  const {
    bot_token: token,
    api_root: root = 'https://api.telegram.org',
    poll_timeout_seconds: poll = 30,
    streaming = 'edit',
  } = config;
  if (typeof token !== 'string' || token === '') {
    throw invalid('bot_token is missing: @BotFather gives one for each bot');
  }
  if (!/^\d{1,20}:[\w-]{1,200}$/.test(token)) {
    throw invalid('bot_token is no token: @BotFather writes it as digits, a colon, and letters');
  }
  if (typeof root !== 'string' || !/^https?:\/\//.test(root) || !URL.canParse(root)) {
    throw invalid('api_root is no address: it starts with https:// or http://');
  }
  if (typeof poll !== 'number' || !Number.isInteger(poll) || poll < 1 || poll > 50) {
    throw invalid('poll_timeout_seconds is a whole number from 1 to 50');
  }
  if (streaming !== 'edit' && streaming !== 'draft') {
    throw invalid('streaming is "edit" or "draft"');
  }
  return {
    botToken: token,
    apiRoot: root.replace(/\/+$/, ''),
    pollTimeoutSeconds: poll,
    streaming,
  };
}

function invalid(message: string): GatewayFatalError {
  return new GatewayFatalError('invalid_request', `config of the Telegram gateway: ${message}`);
}

/** How many letters two words differ by. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 3) return 4;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of Array.from(a).entries()) {
    const next = [i + 1];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (letter === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** Telegram, as `serveGateway` wants it. */
export function telegramGateway(version: string): GatewayHandlers {
  let running: TelegramGateway | null = null;
  return {
    async configure(command, link) {
      running = new TelegramGateway(command, link);
      return { ...(await running.connect()), version };
    },
    async request(request, options) {
      if (running === null) throw new Error('a request came before "configure"');
      return running.request(request, options);
    },
    notify: (command) => running?.notify(command),
    connected: () => running?.isConnected ?? false,
    shutdown: async () => running?.close(),
  };
}

type Notice = Parameters<GatewayHandlers['notify']>[0];

/** One bot, from `configure` to its end. */
class TelegramGateway {
  readonly #command: CommandOf<'configure'>;
  readonly #link: GatewayLink;
  readonly #config: TelegramConfig;
  readonly #api: Api;
  readonly #log: Logger;
  readonly #outbound: Outbound;
  #isConnected = false;
  #polling: Promise<void> | null = null;

  constructor(command: CommandOf<'configure'>, link: GatewayLink) {
    const config = readConfig({ streaming: command.streaming, ...command.config });
    this.#command = command;
    this.#link = link;
    this.#config = config;
    const timeoutSeconds = Math.max(CALL_TIMEOUT_SECONDS, config.pollTimeoutSeconds + 10);
    const { botToken: token, apiRoot } = config;
    this.#api = openApi({ token, apiRoot, timeoutSeconds });
    this.#log = pino(
      { base: null },
      { write: (line) => void process.stderr.write(this.#redact(line)) },
    );
    this.#outbound = new Outbound({
      api: this.#api,
      uploads: openApi({ token, apiRoot, timeoutSeconds: UPLOAD_TIMEOUT_SECONDS }),
      streaming: config.streaming,
      previewPosted: (previewId, messageId) =>
        link.send({ type: 'preview_posted', preview_id: previewId, message_id: messageId }),
      chatMigrated: (from, to) => {
        // Told again by Telegram's own update, should this be lost.
        link.deliver(migration(from, to)).catch(() => undefined);
      },
      onFault: (what, failure) =>
        this.#log.warn({ code: failure.code }, `${what}: ${failure.message}`),
    });
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /**
   * Meets Telegram: who the bot is, and whether it may poll.
   * @throws GatewayFatalError when it may not; Error when Telegram cannot be reached.
   */
  async connect(): Promise<Omit<GatewayReady, 'type' | 'protocol' | 'version'>> {
    const { bot, updates, poller } = await this.#meet();
    this.#isConnected = true;
    this.#log.info({ id: bot.id, username: bot.username }, 'connected to Telegram');
    // What came with the first poll waits in the link until `ready` is out.
    this.#polling = this.#poll(poller, updates);
    void this.#registerCommands(this.#command.commands);
    return {
      gateway: 'telegram',
      capabilities: [
        'ack',
        'preview',
        'edit',
        'delete',
        'typing',
        'reply',
        'inline_keyboard',
        'media',
        'threads',
      ],
      limits: { ...UPLOAD_LIMITS, media_max_bytes: MAX_UPLOAD_BYTES },
      identity: { id: String(bot.id), username: bot.username },
    };
  }

  async request(...[request, options]: Parameters<GatewayHandlers['request']>) {
    const answer = await this.#outbound.request(request, options).catch((error: unknown) => {
      this.#log.error({ request: request.type }, messageOf(error));
      throw new Error(this.#redact(messageOf(error)));
    });
    return answer.type === 'command_error'
      ? { ...answer, message: this.#redact(answer.message) }
      : answer;
  }

  notify(command: Notice): void {
    if (command.type === 'preview_message') this.#outbound.preview(command);
    else this.#outbound.typing(command);
  }

  /** The link's signal ended the poll; nothing of ours is started any more. */
  async close(): Promise<void> {
    this.#isConnected = false;
    this.#outbound.close();
    await this.#polling;
  }

  async #meet(): Promise<{ bot: BotIdentity; updates: Update[]; poller: Poller }> {
    const { signal } = this.#link;
    const until = performance.now() + CONNECT_MS;
    const given = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_MS)]);
    for (let tries = 0; ; tries++) {
      try {
        const me = await this.#api.raw.getMe(given as CallSignal);
        const bot = { id: me.id, username: me.username };
        const poller = new Poller({
          cursor: this.#command.cursor,
          bot,
          link: this.#link,
          fetchFile: (file, name) => this.#fetchFile(file, name),
          log: this.#log,
        });
        return { bot, poller, updates: await this.#getUpdates(poller.offset, 0, given) };
      } catch (error) {
        const fatal = this.#fatal(error);
        if (fatal !== null) throw fatal;
        const failure = readFailure(error, 'the first call');
        const waitMs = failure.retryAfterMs ?? backoffMs(tries);
        if (signal.aborted || performance.now() + waitMs > until) {
          throw new Error(this.#redact(`${failure.message} (${this.#config.apiRoot})`));
        }
        await delay(waitMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** Polls until the link ends. Never rejects. */
  async #poll(poller: Poller, first: readonly Update[]): Promise<void> {
    const { signal } = this.#link;
    poller.take(first);
    let failures = 0;
    while (!signal.aborted) {
      await poller.settled(SETTLE_MS);
      if (signal.aborted) return;
      try {
        // Telegram gives what is not confirmed at once: asking for longer would not wait. After a
        // failure a short poll tells soon that it is over.
        const isShort = poller.isWaiting || failures > 0;
        const seconds = isShort ? 0 : this.#config.pollTimeoutSeconds;
        poller.take(await this.#getUpdates(poller.offset, seconds, signal));
        if (failures > 0) this.#log.info('Telegram answers again');
        failures = 0;
        this.#isConnected = true;
      } catch (error) {
        if (signal.aborted) return;
        this.#isConnected = false;
        const fatal = this.#fatal(error);
        if (fatal !== null) {
          const { code, message } = fatal;
          this.#link.send({ type: 'error', code, message, fatal: true });
          return;
        }
        const failure = readFailure(error, 'getUpdates');
        const waitMs = Math.max(failure.retryAfterMs ?? 0, backoffMs(failures));
        failures += 1;
        this.#log.warn({ failures, wait_ms: Math.round(waitMs) }, failure.message);
        await delay(waitMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  #getUpdates(offset: number | undefined, seconds: number, signal: AbortSignal): Promise<Update[]> {
    return this.#api.raw.getUpdates(
      { offset, timeout: seconds, limit: 100, allowed_updates: wantedUpdates },
      signal as CallSignal,
    );
  }

  /** What a person has to mend before polling makes sense; null: it may go away by itself. */
  #fatal(error: unknown): GatewayFatalError | null {
    if (!(error instanceof GrammyError)) return null;
    const said = this.#redact(`${error.error_code} ${error.description}`);
    switch (error.error_code) {
      case 401:
      case 404:
        return new GatewayFatalError(
          'unauthorized',
          `Telegram does not know this bot token (${said}): put the one that @BotFather shows into config.bot_token`,
        );
      case 409:
        return new GatewayFatalError(
          'conflict',
          /webhook/i.test(error.description)
            ? `a webhook is set for this bot (${said}): end the program that uses it and call deleteWebhook`
            : `another process uses this bot's token (${said}): end it, or make a bot of its own for each server`,
        );
      default:
        return null;
    }
  }

  /** Telegram limits how often the list may be set: it is set when it differs. */
  async #registerCommands(commands: readonly ChatCommand[]): Promise<void> {
    if (commands.length === 0) return;
    const wanted = commands
      .slice(0, 100)
      .map(({ name, description }) => ({ command: name, description }));
    try {
      const signal = this.#link.signal as CallSignal;
      const listed = await this.#api.raw.getMyCommands({}, signal);
      const same =
        listed.length === wanted.length &&
        wanted.every(
          ({ command, description }, index) =>
            listed[index]?.command === command && listed[index].description === description,
        );
      if (!same) await this.#api.raw.setMyCommands({ commands: wanted }, signal);
    } catch (error) {
      if (this.#link.signal.aborted) return;
      this.#log.warn(`the commands are not listed: ${readFailure(error, 'setMyCommands').message}`);
    }
  }

  /** Puts a file that somebody sent into `media_dir`. @throws Error that says why it cannot. */
  async #fetchFile(file: PendingFile, name: string): Promise<MediaFile> {
    const signal = AbortSignal.any([this.#link.signal, AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS)]);
    for (let tries = 1; ; tries++) {
      try {
        return await this.#download(file, name, signal);
      } catch (error) {
        const refused = error instanceof GrammyError && error.error_code === 400;
        if (refused || error instanceof FileRefused || tries === 2 || signal.aborted) {
          throw new Error(this.#redact(fileFault(error)));
        }
        await delay(MIN_BACKOFF_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #download(file: PendingFile, name: string, signal: AbortSignal): Promise<MediaFile> {
    const found = await this.#api.raw.getFile({ file_id: file.fileId }, signal as CallSignal);
    if (found.file_path === undefined) throw new FileRefused('Telegram gave no path');
    const { apiRoot, botToken } = this.#config;
    const steps = found.file_path.split('/').map(encodeURIComponent).join('/');
    const response = await fetch(`${apiRoot}/file/bot${botToken}/${steps}`, { signal });
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      const fault = `HTTP ${response.status}`;
      throw response.status < 500 ? new FileRefused(fault) : new Error(fault);
    }
    const target = path.join(this.#command.media_dir, name);
    const part = `${target}.part`;
    const hash = createHash('sha256');
    let size = 0;
    try {
      await pipeline(
        Readable.fromWeb(response.body),
        async function* (chunks: AsyncIterable<Buffer>) {
          for await (const chunk of chunks) {
            size += chunk.length;
            if (size > MAX_DOWNLOAD_BYTES) throw new FileRefused('larger than 20 MB');
            hash.update(chunk);
            yield chunk;
          }
        },
        createWriteStream(part, { mode: 0o600 }),
        { signal },
      );
      await rename(part, target);
    } catch (error) {
      await rm(part, { force: true });
      throw error;
    }
    const { name: shownName, mime } = file;
    return { path: target, name: shownName, mime, size, sha256: hash.digest('hex') };
  }

  /** Takes the token out of what others will read. */
  #redact(text: string): string {
    const { botToken } = this.#config;
    const secret = botToken.slice(botToken.indexOf(':') + 1);
    const hidden = text.replaceAll(botToken, '[bot_token]');
    return secret.length < 8 ? hidden : hidden.replaceAll(secret, '[bot_token]');
  }
}

/** Trying again would not help. */
class FileRefused extends Error {}

function fileFault(error: unknown): string {
  if (error instanceof FileRefused) return error.message;
  if (error instanceof GrammyError) return error.description;
  return readFailure(error, 'the download').message;
}

function backoffMs(failures: number): number {
  const most = Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** Math.min(failures + 1, 10));
  return MIN_BACKOFF_MS + Math.random() * (most - MIN_BACKOFF_MS);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Where polling goes on after a restart. */
interface Cursor {
  offset: number;
  /** When it was true, in ms since 1970. */
  at: number;
}

function readCursor(value: unknown): Cursor | null {
  if (typeof value !== 'object' || value === null) return null;
  const { offset, at } = value as Partial<Record<string, unknown>>;
  return Number.isSafeInteger(offset) && Number.isFinite(at)
    ? { offset: Number(offset), at: Number(at) }
    : null;
}

/** An update that Telegram still keeps. */
interface Entry {
  id: number;
  /** Its event is on its way to the server, behind those that went before. */
  isSent: boolean;
  /** It is durable, or nothing that the server has to know. */
  isDone: boolean;
}

/** What a poller lives on. */
interface PollerOptions {
  cursor: unknown;
  bot: BotIdentity;
  link: GatewayLink;
  fetchFile(file: PendingFile, name: string): Promise<MediaFile>;
  log: Logger;
}

/**
 * Hands updates to the server, those of a chat in their order, and knows which of them Telegram
 * may forget: the first ones, up to the first that is not durable.
 */
class Poller {
  readonly #options: PollerOptions;
  /** Those after the offset, as they came: ids say nothing about their order. */
  #entries: Entry[] = [];
  readonly #known = new Set<number>();
  /** The last step of each chat. */
  readonly #chats = new Map<number, Promise<void>>();
  #offset: number | undefined;
  #heardAt: number;
  #downloads = 0;
  readonly #waitingDownloads: (() => void)[] = [];
  #onSettled: (() => void) | null = null;

  constructor(options: PollerOptions) {
    this.#options = options;
    const cursor = readCursor(options.cursor);
    this.#offset = cursor?.offset;
    this.#heardAt = cursor?.at ?? Date.now();
  }

  /** What the next poll confirms: everything before it. */
  get offset(): number | undefined {
    return Date.now() - this.#heardAt > STALE_OFFSET_MS ? undefined : this.#offset;
  }

  /** Whether updates wait for their ack. */
  get isWaiting(): boolean {
    return this.#entries.length > 0;
  }

  /** Takes what a poll gave; what is known already is skipped. */
  take(updates: readonly Update[]): void {
    // In one answer the lower id is the older: an offset behind another would confirm both.
    for (const update of updates.toSorted((a, b) => a.update_id - b.update_id)) {
      if (this.#known.has(update.update_id)) continue;
      const entry: Entry = { id: update.update_id, isSent: false, isDone: false };
      this.#known.add(entry.id);
      this.#entries.push(entry);
      this.#handle(update, entry);
    }
  }

  /** Resolves when nothing waits for an ack, or after `ms`. */
  async settled(ms: number): Promise<void> {
    if (!this.isWaiting) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    const { signal } = this.#options.link;
    const stop = (): void => resolve();
    signal.addEventListener('abort', stop, { once: true });
    this.#onSettled = stop;
    await promise;
    this.#onSettled = null;
    signal.removeEventListener('abort', stop);
    clearTimeout(timer);
  }

  #handle(update: Update, entry: Entry): void {
    const { bot, log } = this.#options;
    let read: ReturnType<typeof readUpdate>;
    try {
      read = readUpdate(update, bot, new Date());
    } catch (error) {
      // It would come again for ever.
      log.error({ update: entry.id }, `an update cannot be read: ${messageOf(error)}`);
      this.#done(entry);
      return;
    }
    if (read.kind === 'ignored') {
      this.#done(entry);
      return;
    }
    const { event, file } = read;
    const chat = Number(event.chat_id);
    const whole = file === null ? Promise.resolve(event) : this.#withFile(event, file);
    const before = this.#chats.get(chat) ?? Promise.resolve();
    const step = before.then(async () => this.#deliver(await whole, entry));
    this.#chats.set(chat, step);
    void step.then(() => {
      if (this.#chats.get(chat) === step) this.#chats.delete(chat);
    });
  }

  /** Resolves when the event is on its way. Never rejects. */
  async #deliver(event: InboundEvent, entry: Entry): Promise<void> {
    const { link, log } = this.#options;
    if (link.signal.aborted) return;
    entry.isSent = true;
    const next = this.#entries.find(({ isSent, isDone }) => !isSent && !isDone);
    const last = this.#entries.at(-1) ?? entry;
    // The server stores it with the event: it says nothing of updates that are not sent yet.
    const cursor: Cursor = { offset: next?.id ?? last.id + 1, at: Date.now() };
    link.deliver({ ...event, cursor }).then(
      () => this.#done(entry),
      (error: unknown) => {
        if (link.signal.aborted) return;
        if (error instanceof RangeError) {
          // More waits for the server than it may: later.
          entry.isSent = false;
          setTimeout(() => void this.#deliver(event, entry), SETTLE_MS).unref();
          return;
        }
        log.error({ update: entry.id }, `an event cannot be sent: ${messageOf(error)}`);
        this.#done(entry);
      },
    );
  }

  /** A file that cannot be had is named instead. Never rejects. */
  async #withFile(event: InboundEvent, file: PendingFile): Promise<InboundEvent> {
    if (event.type !== 'message_received') return event;
    if (this.#downloads >= MAX_DOWNLOADS) {
      await new Promise<void>((resolve) => this.#waitingDownloads.push(resolve));
    }
    this.#downloads += 1;
    try {
      // Another on every redelivery: the server may be taking the first one at this moment.
      const ending = `${randomUUID().slice(0, 8)}${path.extname(file.name)}`;
      const name = `${event.event_id}-${ending}`.replace(/[^\w.-]/g, '_');
      const media = await this.#options.fetchFile(file, name);
      return { ...event, content: { ...event.content, media: [media] } };
    } catch (error) {
      const unknown = `${file.kind}: ${messageOf(error)}`.slice(0, 200);
      return { ...event, content: { ...event.content, unknown } };
    } finally {
      this.#downloads -= 1;
      this.#waitingDownloads.shift()?.();
    }
  }

  #done(entry: Entry): void {
    entry.isDone = true;
    for (let first = this.#entries[0]; first?.isDone; first = this.#entries[0]) {
      this.#entries.shift();
      this.#known.delete(first.id);
      this.#offset = first.id + 1;
      this.#heardAt = Date.now();
    }
    if (!this.isWaiting) this.#onSettled?.();
  }
}
