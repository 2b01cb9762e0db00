import { stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type {
  CommandOf,
  GatewayErrorCode,
  GatewayRequest,
  InlineKeyboard,
} from '@duragent/protocol';
import type { AnswerBody } from '@duragent/protocol/node';
import { Api, GrammyError, HttpError, InputFile } from 'grammy';
import type { InlineKeyboardMarkup, ReplyParameters } from 'grammy/types';
import type { TextForm } from './format.ts';

/** The largest file that a bot may upload, and the largest that may be a photo. */
export const MAX_UPLOAD_BYTES = 50 * 1024 * 1024;
const MAX_PHOTO_BYTES = 10 * 1024 * 1024;
/** What Telegram shows as a photo; it may still refuse one, which then goes as a file. */
const photoTypes: ReadonlySet<string> = new Set(['image/jpeg', 'image/png', 'image/webp']);

/** How long a final waits here for its turn; what has to wait longer is answered `rate_limited`. */
const HOLD_MS = 1500;
/** A preview has no longer for its call: a final may be waiting for it. */
const PREVIEW_TIMEOUT_MS = 15_000;
/** Telegram shows that somebody writes for 5 s. */
const TYPING_MS = 4500;
const MAX_PREVIEWS = 1000;
const MAX_TYPING = 1000;

/**
 * The Bot API of one account. Nothing is repeated, and an answer that never ends is given up.
 * grammy's own `fetch` never notices one that is cut off; Node's does, and wants signals of its own kind.
 */
export function openApi(options: {
  token: string;
  apiRoot: string;
  timeoutSeconds: number;
  fetch?: typeof globalThis.fetch;
}): Api {
  const { token, apiRoot, timeoutSeconds, fetch: call = globalThis.fetch } = options;
  const nativeFetch = (url: string, init: RequestInit): Promise<Response> => {
    const theirs = init.signal;
    const ours = new AbortController();
    if (theirs?.aborted === true) ours.abort();
    theirs?.addEventListener('abort', () => ours.abort(), { once: true });
    return call(url, { ...init, signal: ours.signal });
  };
  return new Api(token, { apiRoot, timeoutSeconds, fetch: nativeFetch });
}

/** What the calls go through, and where their news go. */
export interface OutboundOptions {
  api: Api;
  /** The same account, with time for large files. */
  uploads: Api;
  /** How replies are shown while they are written: as a message that is edited, or as a draft. */
  streaming: 'edit' | 'draft';
  /** Called once for each preview that is a message. */
  previewPosted(previewId: string, messageId: string): void;
  chatMigrated(from: number, to: number): void;
  /** What went wrong and is answered to nobody. */
  onFault(what: string, failure: Failure): void;
  pacer?: Pacer;
}

type Request = Exclude<GatewayRequest, CommandOf<'ping'>>;
type Result<T> = { ok: true; value: T } | { ok: false; failure: Failure };

/** Says to Telegram what the server asks for. It never repeats a call that may have posted something. */
export class Outbound {
  readonly #options: OutboundOptions;
  readonly #pacer: Pacer;
  readonly #previews = new Map<string, Preview>();
  /** Previews that ended: what comes late for them is dropped. */
  readonly #ended = new Set<string>();
  readonly #typing = new Map<string, AbortController>();
  /** New ids of groups that became supergroups. */
  readonly #migrated = new Map<number, number>();
  /** Methods that this Bot API server does not have. */
  readonly #missing = new Set<string>();
  readonly #closed = new AbortController();

  constructor(options: OutboundOptions) {
    this.#options = options;
    this.#pacer = options.pacer ?? new Pacer();
  }

  /** Does a request. Never throws for what Telegram says. */
  async request(request: Request, { signal }: { signal: AbortSignal }): Promise<AnswerBody> {
    switch (request.type) {
      case 'send_message':
        return this.#sendMessage(request, signal);
      case 'edit_message':
        return this.#editMessage(request, signal);
      case 'delete_message':
        return this.#deleteMessage(request, signal);
      case 'send_media':
        return this.#sendMedia(request, signal);
      case 'answer_callback_query':
        return this.#answerCallback(request, signal);
      case 'find_message':
        return refusal('invalid_request', 'Telegram gives bots no way to look for a message');
    }
  }

  /** Shows the text so far of a reply, as soon and as often as Telegram takes it. */
  preview(command: CommandOf<'preview_message'>): void {
    if (this.#closed.signal.aborted || this.#ended.has(command.preview_id)) return;
    let preview = this.#previews.get(command.preview_id);
    if (preview === undefined) {
      const chat = readId(command.chat_id);
      if (chat === null) return;
      preview = new Preview(command, chat, this.#options.streaming === 'draft' && chat > 0);
      this.#previews.set(command.preview_id, preview);
      forgetOldest(this.#previews, MAX_PREVIEWS);
    }
    preview.newest = command.content;
    this.#pump(preview);
  }

  /** Shows that the bot writes, until a message comes or the time is over. */
  typing(command: CommandOf<'send_typing'>): void {
    const chat = readId(command.chat_id);
    if (chat === null || this.#closed.signal.aborted) return;
    this.#stopTyping(command);
    if (command.duration === 0) return;
    const ending = new AbortController();
    this.#typing.set(placeOf(command), ending);
    for (const [place, oldest] of this.#typing) {
      if (this.#typing.size <= MAX_TYPING) break;
      oldest.abort();
      this.#typing.delete(place);
    }
    void this.#keepTyping(command, chat, ending.signal).finally(() => {
      if (this.#typing.get(placeOf(command)) === ending) this.#typing.delete(placeOf(command));
    });
  }

  /** Starts no more calls of its own; requests in flight go on. */
  close(): void {
    this.#closed.abort();
    for (const ending of this.#typing.values()) ending.abort();
    for (const preview of this.#previews.values()) preview.close();
  }

  async #sendMessage(command: CommandOf<'send_message'>, signal: AbortSignal): Promise<AnswerBody> {
    const chat = readId(command.chat_id);
    if (chat === null) return noId('chat_id');
    this.#stopTyping(command);
    const { preview_id: previewId, message_id: messageId } = command.replaces ?? {};
    let target = messageId === undefined ? null : readId(messageId);
    if (messageId !== undefined && target === null) return noId('replaces.message_id');
    if (previewId !== undefined) {
      const posted = await this.#endPreview(previewId, signal);
      target ??= posted;
    }
    const forms = await readForms(command.content, command.format);
    const refused = await this.#turn(chat, target === null ? 'send' : 'edit', signal);
    if (refused !== null) return answerOf(refused);
    const where = { chat, thread: command.thread_id, replyTo: command.reply_to };
    const keyboard = keyboardOf(command.inline_keyboard);
    const result =
      target === null
        ? await this.#post(where, forms, keyboard, signal)
        : await this.#edit(chat, target, forms, keyboard, signal);
    if (!result.ok) return answerOf(result.failure);
    if (previewId !== undefined) this.#previews.delete(previewId);
    return { type: 'command_ok', message_id: String(result.value) };
  }

  async #editMessage(command: CommandOf<'edit_message'>, signal: AbortSignal): Promise<AnswerBody> {
    const chat = readId(command.chat_id);
    const messageId = readId(command.message_id);
    if (chat === null || messageId === null) return noId(chat === null ? 'chat_id' : 'message_id');
    const forms = await readForms(command.content, command.format);
    const refused = await this.#turn(chat, 'edit', signal);
    if (refused !== null) return answerOf(refused);
    const keyboard = keyboardOf(command.inline_keyboard);
    const result = await this.#edit(chat, messageId, forms, keyboard, signal);
    if (!result.ok) return answerOf(result.failure);
    return { type: 'command_ok', message_id: command.message_id };
  }

  async #deleteMessage(
    command: CommandOf<'delete_message'>,
    signal: AbortSignal,
  ): Promise<AnswerBody> {
    const chat = readId(command.chat_id);
    const messageId = readId(command.message_id);
    if (chat === null || messageId === null) return noId(chat === null ? 'chat_id' : 'message_id');
    const result = await this.#call(chat, 'delete', 'deleteMessage', signal, (id, its) =>
      this.#options.api.raw.deleteMessage({ chat_id: id, message_id: messageId }, its),
    );
    if (!result.ok) return answerOf(result.failure);
    return { type: 'command_ok', message_id: command.message_id };
  }

  async #answerCallback(
    command: CommandOf<'answer_callback_query'>,
    signal: AbortSignal,
  ): Promise<AnswerBody> {
    const { callback_query_id, text } = command;
    // Of no chat: a press has to be answered within seconds, whatever the chat's limits are.
    const result = await this.#call(0, 'answer', 'answerCallbackQuery', signal, (_, its) =>
      this.#options.api.raw.answerCallbackQuery({ callback_query_id, text }, its),
    );
    return result.ok ? { type: 'command_ok' } : answerOf(result.failure);
  }

  async #sendMedia(command: CommandOf<'send_media'>, signal: AbortSignal): Promise<AnswerBody> {
    const chat = readId(command.chat_id);
    if (chat === null) return noId('chat_id');
    const media = await readMedia(command.media);
    if (!media.ok) return refusal('invalid_request', media.fault);
    const { findMentions, MAX_CAPTION_LENGTH, toHtml } = await import('./format.ts');
    const caption = command.caption ?? '';
    const html = caption === '' ? null : toHtml(caption);
    const isFormatted = html !== null && html.length <= MAX_CAPTION_LENGTH;
    if (!isFormatted && caption.length > MAX_CAPTION_LENGTH) {
      const fault = `a caption may have ${MAX_CAPTION_LENGTH} characters: send the text as a message of its own`;
      return refusal('too_long', fault);
    }
    this.#stopTyping(command);
    const refused = await this.#turn(chat, 'send', signal);
    if (refused !== null) return answerOf(refused);

    const ways: { asPhoto: boolean; formatted: boolean }[] = [
      { asPhoto: media.isPhoto, formatted: isFormatted },
      // For a photo that Telegram cannot show, or a caption that it cannot read.
      { asPhoto: false, formatted: false },
    ];
    let failure: Failure | null = null;
    for (const { asPhoto, formatted } of ways) {
      const says = formatted
        ? { caption: html?.text, parse_mode: 'HTML' as const }
        : caption === ''
          ? {}
          : { caption, caption_entities: findMentions(caption) };
      const result = await this.#call(
        chat,
        'send',
        asPhoto ? 'sendPhoto' : 'sendDocument',
        signal,
        async (id, its) => {
          const { raw } = this.#options.uploads;
          const common = {
            chat_id: id,
            message_thread_id: readId(command.thread_id) ?? undefined,
            reply_parameters: replyTo(command.reply_to),
            ...says,
          };
          return asPhoto
            ? raw.sendPhoto({ ...common, photo: media.open() }, its)
            : raw.sendDocument({ ...common, document: media.open() }, its);
        },
      );
      if (result.ok) return { type: 'command_ok', message_id: String(result.value.message_id) };
      failure = result.failure;
      if (!failure.mayBeForm || (!asPhoto && !formatted)) break;
    }
    return failure === null ? { type: 'command_ok' } : answerOf(failure);
  }

  /** Posts a text in the best form that Telegram takes. */
  #post(
    where: Where,
    forms: readonly TextForm[],
    keyboard: InlineKeyboardMarkup | undefined,
    signal: AbortSignal,
  ): Promise<Result<number>> {
    const { raw } = this.#options.api;
    const common = {
      message_thread_id: readId(where.thread) ?? undefined,
      reply_parameters: replyTo(where.replyTo),
      reply_markup: keyboard,
    };
    return this.#firstTaken(forms, async (form) => {
      const method = form.kind === 'rich' ? 'sendRichMessage' : 'sendMessage';
      const posted = await this.#call<{ message_id: number }>(
        where.chat,
        'send',
        method,
        signal,
        (id, its) =>
          form.kind === 'rich'
            ? raw.sendRichMessage({ chat_id: id, rich_message: form.rich, ...common }, its)
            : raw.sendMessage({ chat_id: id, ...common, ...textOf(form) }, its),
      );
      return posted.ok ? { ok: true, value: posted.value.message_id } : posted;
    });
  }

  /** Gives a message of ours another text. That it has this text already is success. */
  #edit(
    chat: number,
    messageId: number,
    forms: readonly TextForm[],
    keyboard: InlineKeyboardMarkup | undefined,
    signal: AbortSignal,
  ): Promise<Result<number>> {
    const { raw } = this.#options.api;
    const common = { message_id: messageId, reply_markup: keyboard };
    return this.#firstTaken(forms, async (form) => {
      const edited = await this.#call(chat, 'edit', 'editMessageText', signal, (id, its) =>
        form.kind === 'rich'
          ? raw.editMessageText({ chat_id: id, rich_message: form.rich, ...common }, its)
          : raw.editMessageText({ chat_id: id, ...common, ...textOf(form) }, its),
      );
      return edited.ok || edited.failure.isUnmodified ? { ok: true, value: messageId } : edited;
    });
  }

  /** Tries one form after the other, while Telegram says that nothing was done for the form's sake. */
  async #firstTaken(
    forms: readonly TextForm[],
    attempt: (form: TextForm) => Promise<Result<number>>,
  ): Promise<Result<number>> {
    let last: Result<number> | null = null;
    for (const form of forms) {
      if (form.kind === 'rich' && this.#missing.has('sendRichMessage')) continue;
      last = await attempt(form);
      if (last.ok || !last.failure.mayBeForm) return last;
    }
    return last ?? { ok: false, failure: emptyText };
  }

  /**
   * One call. A group that moved is called once more under its new id: the refused call did
   * nothing. `retry_after` is remembered for this chat and kind of call.
   */
  async #call<T>(
    chat: number,
    family: Family,
    method: string,
    signal: AbortSignal,
    run: (chat: number, signal: CallSignal) => Promise<T>,
  ): Promise<Result<T>> {
    for (let moved = false; ; moved = true) {
      const id = this.#migrated.get(chat) ?? chat;
      if (signal.aborted) return { ok: false, failure: unsent(`${method} was not sent in time`) };
      try {
        return { ok: true, value: await run(id, signal as CallSignal) };
      } catch (error) {
        const failure = readFailure(error, method);
        if (failure.retryAfterMs !== undefined) {
          this.#pacer.refused(chat, family, failure.retryAfterMs);
        }
        if (failure.isMethodMissing) this.#missing.add(method);
        if (failure.migratedTo === undefined || moved) return { ok: false, failure };
        this.#migrated.set(chat, failure.migratedTo);
        forgetOldest(this.#migrated, MAX_PREVIEWS);
        this.#options.chatMigrated(id, failure.migratedTo);
      }
    }
  }

  /** Waits for a final's turn. @returns why it cannot have one now. */
  async #turn(chat: number, family: Family, signal: AbortSignal): Promise<Failure | null> {
    const blockedMs = this.#pacer.blockedMs(chat, family);
    if (blockedMs > HOLD_MS) return rateLimited(blockedMs);
    const waitMs = Math.min(HOLD_MS, Math.max(blockedMs, this.#pacer.reserve(chat)));
    if (waitMs > 0) await delay(waitMs, undefined, { signal }).catch(() => undefined);
    return signal.aborted ? unsent('there was no time left to send it') : null;
  }

  /** Starts the next call for a preview, now or when there may be one. */
  #pump(preview: Preview): void {
    if (!preview.isOwed()) return;
    const waitMs = this.#pacer.previewWaitMs(preview.chat, preview.family());
    if (waitMs > 0) {
      preview.wakeAfter(waitMs, () => this.#pump(preview));
      return;
    }
    this.#pacer.takePreview(preview.chat);
    preview.busy = this.#show(preview, preview.newest).finally(() => {
      preview.busy = null;
      this.#pump(preview);
    });
  }

  async #show(preview: Preview, content: string): Promise<void> {
    const signal = AbortSignal.timeout(PREVIEW_TIMEOUT_MS);
    const { chat, messageId } = preview;
    const forms = await readForms(content, 'markdown');
    if (preview.isDraft) {
      const result = await this.#draft(preview, forms, signal);
      if (result === 'no drafts') preview.isDraft = false;
      else this.#shown(preview, content, result);
      return;
    }
    const result =
      messageId === null
        ? await this.#post(preview, forms, undefined, signal)
        : await this.#edit(chat, messageId, forms, undefined, signal);
    if (result.ok && messageId === null) {
      preview.messageId = result.value;
      this.#stopTyping({ chat_id: String(chat), thread_id: preview.thread });
      this.#options.previewPosted(preview.id, String(result.value));
    }
    this.#shown(preview, content, result);
  }

  #shown(preview: Preview, content: string, result: Result<unknown>): void {
    if (result.ok) {
      preview.shown = content;
      return;
    }
    const { failure } = result;
    if (failure.code === 'rate_limited') return;
    // A posting whose answer was lost may be there, and is not repeated. Else the next text may be
    // taken where Telegram had a trouble of its own.
    const mayBePosted = failure.isUncertain && preview.messageId === null && !preview.isDraft;
    if (mayBePosted || !(failure.code === 'platform_error' || failure.code === 'not_connected')) {
      preview.isStuck = true;
    }
    preview.shown = content;
    this.#options.onFault('a preview', failure);
  }

  /** A draft is nobody's message yet: it shows for 30 s, and goes when a message comes. */
  async #draft(
    preview: Preview,
    forms: readonly TextForm[],
    signal: AbortSignal,
  ): Promise<Result<unknown> | 'no drafts'> {
    const { raw } = this.#options.api;
    const common = {
      message_thread_id: readId(preview.thread) ?? undefined,
      draft_id: preview.draftId,
      can_stop: true,
    };
    let last: Result<unknown> | 'no drafts' = 'no drafts';
    for (const form of forms) {
      const method = form.kind === 'rich' ? 'sendRichMessageDraft' : 'sendMessageDraft';
      if (this.#missing.has(method)) continue;
      const result = await this.#call(preview.chat, 'draft', method, signal, (id, its) =>
        form.kind === 'rich'
          ? raw.sendRichMessageDraft({ chat_id: id, rich_message: form.rich, ...common }, its)
          : raw.sendMessageDraft({ chat_id: id, ...draftText(form), ...common }, its),
      );
      if (result.ok) return result;
      if (!this.#missing.has(method)) last = result;
      if (!result.failure.mayBeForm) break;
    }
    return last;
  }

  /**
   * No call of the preview starts any more, and the one in flight is over: what is posted after
   * this stays. @returns the message that the preview is.
   */
  async #endPreview(id: string, signal: AbortSignal): Promise<number | null> {
    this.#ended.add(id);
    for (const oldest of this.#ended) {
      if (this.#ended.size <= MAX_PREVIEWS) break;
      this.#ended.delete(oldest);
    }
    const preview = this.#previews.get(id);
    if (preview === undefined) return null;
    preview.close();
    await untilAborted(preview.busy, signal);
    return preview.messageId;
  }

  async #keepTyping(
    command: CommandOf<'send_typing'>,
    chat: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { raw } = this.#options.api;
    const until = performance.now() + command.duration;
    while (!signal.aborted) {
      if (this.#pacer.takeSpare(chat, 'action')) {
        const what = { message_thread_id: readId(command.thread_id) ?? undefined };
        // Aborted with the typing: shown after the message it would say that another one comes.
        await this.#call(chat, 'action', 'sendChatAction', signal, (id, its) =>
          raw.sendChatAction({ chat_id: id, action: 'typing', ...what }, its),
        );
      }
      const leftMs = until - performance.now();
      if (leftMs <= 0) return;
      await delay(Math.min(TYPING_MS, leftMs), undefined, { signal, ref: false }).catch(
        () => undefined,
      );
      if (performance.now() >= until) return;
    }
  }

  #stopTyping(where: { chat_id: string; thread_id?: string | undefined }): void {
    this.#typing.get(placeOf(where))?.abort();
    this.#typing.delete(placeOf(where));
  }
}

/** The type that grammy gives a signal; a real one fits. */
export type CallSignal = NonNullable<Parameters<Api['raw']['getMe']>[0]>;

interface Where {
  chat: number;
  thread?: string | undefined;
  replyTo?: string | undefined;
}

/** A reply that is being written. */
class Preview implements Where {
  readonly id: string;
  readonly chat: number;
  readonly thread: string | undefined;
  readonly replyTo: string | undefined;
  readonly draftId: number;
  isDraft: boolean;
  newest: string;
  /** What Telegram shows, or refused. */
  shown: string | null = null;
  messageId: number | null = null;
  /** The call in flight. Never rejects. */
  busy: Promise<void> | null = null;
  /** It was refused for good, or its posting may have happened: the final is the next call. */
  isStuck = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(command: CommandOf<'preview_message'>, chat: number, isDraft: boolean) {
    this.id = command.preview_id;
    this.chat = chat;
    this.thread = command.thread_id;
    this.replyTo = command.reply_to;
    this.newest = command.content;
    this.isDraft = isDraft;
    this.draftId = hash(command.preview_id);
  }

  isOwed(): boolean {
    const mayCall = this.busy === null && this.#timer === null && !this.#isClosed && !this.isStuck;
    return mayCall && this.newest !== this.shown;
  }

  family(): Family {
    if (this.isDraft) return 'draft';
    return this.messageId === null ? 'send' : 'edit';
  }

  wakeAfter(ms: number, wake: () => void): void {
    this.#timer = setTimeout(() => {
      this.#timer = null;
      wake();
    }, ms);
    this.#timer.unref();
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

/** Kinds of calls that Telegram limits apart from each other. */
export type Family = 'send' | 'edit' | 'draft' | 'action' | 'delete' | 'answer';

/**
 * Says when the next call may be made, so that Telegram does not have to refuse it. In any second
 * at most 30 calls in all and about 1 in a chat, in any minute 20 in a group (Telegram's FAQ names
 * these, and that they may change: `retry_after` is believed). Previews leave a part of each
 * budget to finals, and become rare where Telegram refused one.
 */
export class Pacer {
  readonly #now: () => number;
  readonly #account: Bucket;
  readonly #chats = new Map<number, ChatPace>();
  #slow = 1;
  #nextPreviewAt = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#account = new Bucket({ capacity: 10, perSecond: 20, now: now() });
  }

  /** Counts a final. @returns how long it should wait, in ms. */
  reserve(chat: number): number {
    const now = this.#now();
    const buckets = [this.#account, ...this.#pace(chat).buckets];
    return Math.max(...buckets.map((bucket) => bucket.take(now)));
  }

  /** How long calls of this kind are refused in this chat, in ms. */
  blockedMs(chat: number, family: Family): number {
    const until = this.#chats.get(chat)?.blocked.get(family) ?? 0;
    return Math.max(0, until - this.#now());
  }

  /** How long a preview waits; 0: its call may be made. */
  previewWaitMs(chat: number, family: Family): number {
    const now = this.#now();
    const pace = this.#pace(chat);
    return Math.max(
      0,
      this.#nextPreviewAt - now,
      pace.nextPreviewAt - now,
      // An edit is no good while Telegram refuses to post: the chat as a whole is too loud.
      ...[family, 'send' as const, 'edit' as const].map((kind) => this.blockedMs(chat, kind)),
      ...[this.#account, ...pace.buckets].map((bucket) => bucket.waitMs(now)),
    );
  }

  takePreview(chat: number): void {
    this.reserve(chat);
    const now = this.#now();
    const pace = this.#pace(chat);
    pace.nextPreviewAt = now + (pace.slow > 1 ? pace.intervalMs * pace.slow : 0);
    pace.slow = Math.max(1, pace.slow * 0.9);
    this.#nextPreviewAt = now + (this.#slow > 1 ? 50 * this.#slow : 0);
    this.#slow = Math.max(1, this.#slow * 0.99);
  }

  /** Counts a call that may as well not be made. @returns whether it may. */
  takeSpare(chat: number, family: Family): boolean {
    const now = this.#now();
    if (this.blockedMs(chat, family) > 0 || this.#account.waitMs(now) > 0) return false;
    this.#account.take(now);
    return true;
  }

  /** Telegram refused a call, and said when to come again. */
  refused(chat: number, family: Family, retryAfterMs: number): void {
    const pace = this.#pace(chat);
    const until = this.#now() + retryAfterMs;
    pace.blocked.set(family, Math.max(until, pace.blocked.get(family) ?? 0));
    pace.slow = Math.min(8, pace.slow * 2);
    this.#slow = Math.min(16, this.#slow * 1.25);
  }

  #pace(chat: number): ChatPace {
    let pace = this.#chats.get(chat);
    if (pace === undefined) {
      pace = newPace(chat, this.#now());
      this.#chats.set(chat, pace);
      this.#forgetIdle();
    }
    return pace;
  }

  /** Chats with a full budget and no refusal are as if they were new. */
  #forgetIdle(): void {
    if (this.#chats.size <= MAX_PACED_CHATS) return;
    const now = this.#now();
    for (const [chat, { buckets, blocked }] of this.#chats) {
      const isBlocked = [...blocked.values()].some((until) => until > now);
      if (!isBlocked && buckets.every((bucket) => bucket.isFull(now))) this.#chats.delete(chat);
    }
    forgetOldest(this.#chats, MAX_PACED_CHATS);
  }
}

const MAX_PACED_CHATS = 2000;

interface ChatPace {
  buckets: readonly Bucket[];
  /** Until when, for each kind of call. */
  blocked: Map<Family, number>;
  /** How many times rarer than usual previews are. */
  slow: number;
  intervalMs: number;
  nextPreviewAt: number;
}

function newPace(chat: number, now: number): ChatPace {
  const second = new Bucket({ capacity: 1, perSecond: 1 / 1.05, now });
  // Ids below zero are groups and channels. 8 at once and 12 a minute are never more than 20 in one.
  const minute = new Bucket({ capacity: 8, perSecond: 0.2, keep: 4, now });
  return {
    buckets: chat < 0 ? [second, minute] : [second],
    blocked: new Map(),
    slow: 1,
    intervalMs: chat < 0 ? 5000 : 1050,
    nextPreviewAt: 0,
  };
}

/** Calls that may be made: they come back with time, up to `capacity`. */
class Bucket {
  readonly #capacity: number;
  readonly #perMs: number;
  /** What previews leave to others. */
  readonly #keep: number;
  #tokens: number;
  #at: number;

  constructor(of: { capacity: number; perSecond: number; keep?: number; now: number }) {
    this.#capacity = of.capacity;
    this.#perMs = of.perSecond / 1000;
    this.#keep = of.keep ?? (of.capacity > 1 ? of.capacity / 2 : 0);
    this.#tokens = of.capacity;
    this.#at = of.now;
  }

  /** Counts a call, also one that comes too soon. @returns how long it should wait, in ms. */
  take(now: number): number {
    this.#refill(now);
    const waitMs = Math.max(0, (1 - this.#tokens) / this.#perMs);
    this.#tokens = Math.max(-this.#capacity, this.#tokens - 1);
    return waitMs;
  }

  /** How long a preview has to wait. */
  waitMs(now: number): number {
    this.#refill(now);
    return Math.max(0, Math.ceil((1 + this.#keep - this.#tokens) / this.#perMs));
  }

  isFull(now: number): boolean {
    this.#refill(now);
    return this.#tokens >= this.#capacity;
  }

  #refill(now: number): void {
    const passedMs = Math.max(0, now - this.#at);
    this.#tokens = Math.min(this.#capacity, this.#tokens + passedMs * this.#perMs);
    this.#at += passedMs;
  }
}

/** Why a call came to nothing, or may have. */
export interface Failure {
  code: GatewayErrorCode;
  message: string;
  /** The call may have been done: its answer was lost. */
  isUncertain: boolean;
  /** Telegram read the call and did nothing; another form of the text may be taken. */
  mayBeForm: boolean;
  isUnmodified: boolean;
  isMethodMissing: boolean;
  retryAfterMs?: number;
  migratedTo?: number;
}

/** What an error of a call means. */
export function readFailure(error: unknown, method: string): Failure {
  if (error instanceof GrammyError) return readRefusal(error, method);
  const cause = error instanceof HttpError ? error.error : error;
  const name = networkCode(cause);
  if (name !== null && neverSent.has(name)) {
    const message = `Telegram cannot be reached (${name}): check the network and api_root`;
    return { ...unsent(message), code: 'not_connected' };
  }
  const why = name ?? (cause instanceof Error ? cause.message : 'no answer');
  return {
    ...unsent(`the answer to ${method} was lost (${why})`),
    isUncertain: true,
  };
}

function readRefusal(error: GrammyError, method: string): Failure {
  const { error_code: status, description, parameters } = error;
  const message = `Telegram refused ${method}: ${description}`;
  const failure = { ...unsent(message), code: codeOf(status, description) };
  if (status >= 500) return { ...failure, isUncertain: true };
  if (status === 429) return { ...failure, retryAfterMs: 1000 * (parameters.retry_after ?? 1) };
  if (status === 404 || (status === 400 && /method not found/i.test(description))) {
    return { ...failure, isMethodMissing: true, mayBeForm: true };
  }
  if (parameters.migrate_to_chat_id !== undefined) {
    return { ...failure, migratedTo: parameters.migrate_to_chat_id };
  }
  const isUnmodified = /message is not modified/i.test(description);
  const mayBeForm =
    status === 400 &&
    !isUnmodified &&
    (failure.code === 'invalid_request' || failure.code === 'too_long') &&
    !/query is too old|query id is invalid/i.test(description);
  return { ...failure, isUnmodified, mayBeForm };
}

function codeOf(status: number, description: string): GatewayErrorCode {
  if (status === 401) return 'unauthorized';
  if (status === 403) return 'blocked';
  if (status === 409) return 'conflict';
  if (status === 429) return 'rate_limited';
  if (status >= 500) return 'platform_error';
  const known = refusals.find(([pattern]) => pattern.test(description));
  return known?.[1] ?? 'invalid_request';
}

/** What Telegram says with status 400, in its words. */
const refusals: readonly (readonly [RegExp, GatewayErrorCode])[] = [
  [/chat not found|peer_id_invalid|chat_id is empty|upgraded to a supergroup/i, 'chat_not_found'],
  [/message thread not found|topic_(closed|deleted)|topic_id_invalid/i, 'chat_not_found'],
  [/message to (edit|delete) not found|message_id_invalid/i, 'message_not_found'],
  [/message can't be (edited|deleted)/i, 'message_not_found'],
  [/too long|message_too_long/i, 'too_long'],
  [/not enough rights|have no rights|need administrator rights/i, 'blocked'],
  [/chat_(write_forbidden|restricted|send_\w+_forbidden)|user_is_blocked|kicked/i, 'blocked'],
];

/** Errors of a connection over which no request went. */
const neverSent: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

/** The system's name of an error, wherever in its causes it stands. */
function networkCode(error: unknown): string | null {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 5; depth++) {
    if ('code' in cause && typeof cause.code === 'string') return cause.code;
    // A host with several addresses fails with one error for each.
    cause = cause instanceof AggregateError ? cause.errors[0] : cause.cause;
  }
  return null;
}

function unsent(message: string): Failure {
  return {
    code: 'platform_error',
    message,
    isUncertain: false,
    mayBeForm: false,
    isUnmodified: false,
    isMethodMissing: false,
  };
}

const emptyText: Failure = { ...unsent('there is no text to send'), code: 'invalid_request' };

function rateLimited(ms: number): Failure {
  const retryAfterMs = Math.ceil(ms);
  const message = `Telegram refuses calls to this chat for another ${retryAfterMs} ms`;
  return { ...unsent(message), code: 'rate_limited', retryAfterMs };
}

function answerOf(failure: Failure): AnswerBody {
  const { code, message, isUncertain, retryAfterMs } = failure;
  return {
    type: 'command_error',
    code,
    message,
    ...(retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs }),
    uncertain: isUncertain,
  };
}

function refusal(code: GatewayErrorCode, message: string): AnswerBody {
  return { type: 'command_error', code, message };
}

function noId(field: string): AnswerBody {
  return refusal('invalid_request', `${field} is no id of Telegram: those are whole numbers`);
}

/** An id as Telegram makes them; null: it is none. */
function readId(id: string | undefined): number | null {
  if (id === undefined || !/^-?[1-9]\d{0,15}$/.test(id)) return null;
  const number = Number(id);
  return Number.isSafeInteger(number) ? number : null;
}

function placeOf(where: { chat_id: string; thread_id?: string | undefined }): string {
  return `${where.chat_id}/${where.thread_id ?? ''}`;
}

function replyTo(id: string | undefined): ReplyParameters | undefined {
  const messageId = readId(id);
  // It may be gone by now: then the message stands alone.
  return messageId === null
    ? undefined
    : { message_id: messageId, allow_sending_without_reply: true };
}

function keyboardOf(rows: InlineKeyboard | undefined): InlineKeyboardMarkup | undefined {
  if (rows === undefined) return undefined;
  return {
    inline_keyboard: rows.map((row) =>
      row.map((button) => ({ text: button.text, callback_data: button.data })),
    ),
  };
}

type WrittenForm = Exclude<TextForm, { kind: 'rich' }>;

function textOf(form: WrittenForm) {
  return { ...draftText(form), link_preview_options: { is_disabled: true } };
}

function draftText(form: WrittenForm) {
  return form.kind === 'html'
    ? { text: form.text, parse_mode: 'HTML' as const }
    : { text: form.text, entities: form.entities };
}

/** Loaded with the first text: the parser takes memory that an idle gateway does not need. */
async function readForms(content: string, format: 'markdown' | 'text'): Promise<TextForm[]> {
  const { MAX_TEXT_LENGTH, textForms } = await import('./format.ts');
  const forms = textForms(content, format);
  return forms.filter((form) => form.kind !== 'html' || form.length <= MAX_TEXT_LENGTH);
}

type ReadMedia =
  | { ok: true; isPhoto: boolean; /** Anew for each attempt. */ open(): InputFile | string }
  | { ok: false; fault: string };

async function readMedia(media: CommandOf<'send_media'>['media']): Promise<ReadMedia> {
  const { path: file, url, base64 } = media;
  const given = [file, url, base64].filter((source) => source !== undefined);
  if (given.length !== 1) return { ok: false, fault: 'give one of path, url and base64' };
  // It stands in a header, without quotes.
  const name = path.basename(media.name).replace(/[\p{Cc}";\\]/gu, '_') || 'file';
  const mayBePhoto = photoTypes.has(media.mime);
  if (url !== undefined) {
    if (!URL.canParse(url) || new URL(url).protocol !== 'https:') {
      return { ok: false, fault: 'a url of media starts with https://' };
    }
    // Telegram fetches it.
    return { ok: true, isPhoto: mayBePhoto, open: () => url };
  }
  if (base64 !== undefined) {
    const bytes = Buffer.from(base64, 'base64');
    if (bytes.length === 0) return { ok: false, fault: 'the media is empty' };
    return { ok: true, isPhoto: mayBePhoto, open: () => new InputFile(bytes, name) };
  }
  const found = file === undefined ? null : await stat(file).catch(() => null);
  if (file === undefined || found === null || !found.isFile()) {
    return { ok: false, fault: `there is no file ${file ?? ''} to send` };
  }
  if (found.size === 0)
    return { ok: false, fault: `${file} is empty, and Telegram takes no empty files` };
  if (found.size > MAX_UPLOAD_BYTES) {
    return { ok: false, fault: `${file} is larger than the 50 MB that a bot may send` };
  }
  const isPhoto = mayBePhoto && found.size <= MAX_PHOTO_BYTES;
  return { ok: true, isPhoto, open: () => new InputFile(file, name) };
}

/** A number above 0 that the same text always gives (FNV-1a). */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const character of text) {
    value = Math.imul(value ^ (character.codePointAt(0) ?? 0), 0x01000193);
  }
  return value >>> 1 || 1;
}

/** Waits for a promise that never rejects, or the abort. */
async function untilAborted(promise: Promise<void> | null, signal: AbortSignal): Promise<void> {
  if (promise === null || signal.aborted) return;
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  const stop = (): void => resolve();
  signal.addEventListener('abort', stop, { once: true });
  await Promise.race([promise, aborted]);
  signal.removeEventListener('abort', stop);
}

function forgetOldest<K>(map: Map<K, unknown>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}
