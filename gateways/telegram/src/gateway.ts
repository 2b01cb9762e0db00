import { setTimeout as delay } from 'node:timers/promises';
import type { ChatCommand, CommandOf, GatewayReady } from '@duragent/protocol';
import { GatewayFatalError, type GatewayHandlers, type GatewayLink } from '@duragent/protocol/node';
import { type Api, GrammyError } from 'grammy';
import type { Update } from 'grammy/types';
import { pino, type Logger } from 'pino';
import { readConfig, type TelegramConfig, withoutToken } from './gateway/config.ts';
import { Downloads } from './gateway/downloads.ts';
import { messageOf } from './gateway/message-of.ts';
import { Poller } from './gateway/poller.ts';
import { migration, wantedUpdates } from './inbound.ts';
import type { BotIdentity } from './inbound/content.ts';
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
const UPLOAD_LIMITS = { max_length: 4096, length_unit: 'utf16', max_buttons: 100 } as const;

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
  readonly #downloads: Downloads;
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
    this.#downloads = new Downloads({
      api: this.#api,
      apiRoot,
      botToken: token,
      mediaDir: command.media_dir,
      signal: link.signal,
    });
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
          withFile: (event, file) => this.#downloads.withFile(event, file),
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

  #redact(text: string): string {
    return withoutToken(text, this.#config.botToken);
  }
}

function backoffMs(failures: number): number {
  const most = Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** Math.min(failures + 1, 10));
  return MIN_BACKOFF_MS + Math.random() * (most - MIN_BACKOFF_MS);
}
