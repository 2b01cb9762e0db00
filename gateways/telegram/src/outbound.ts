import type { CommandOf, GatewayRequest } from '@duragent/protocol';
import type { AnswerBody } from '@duragent/protocol/node';
import { Calls, type CallsOptions } from './outbound/calls.ts';
import { answerOf, refusal } from './outbound/failure.ts';
import { noId, readId } from './outbound/ids.ts';
import { sendMedia } from './outbound/media.ts';
import { Pacer } from './outbound/pacer.ts';
import { Previews, type PreviewsOptions } from './outbound/previews.ts';
import { keyboardOf, readForms, Texts } from './outbound/texts.ts';
import { Typing } from './outbound/typing.ts';

/** What the calls go through, and where their news go. */
export interface OutboundOptions
  extends
    Omit<CallsOptions, 'pacer'>,
    Pick<PreviewsOptions, 'streaming' | 'previewPosted' | 'onFault'> {
  pacer?: Pacer;
}

type Request = Exclude<GatewayRequest, CommandOf<'ping'>>;

/** Says to Telegram what the server asks for. It never repeats a call that may have posted something. */
export class Outbound {
  readonly #calls: Calls;
  readonly #texts: Texts;
  readonly #previews: Previews;
  readonly #typing: Typing;

  constructor(options: OutboundOptions) {
    const { pacer = new Pacer(), ...others } = options;
    this.#calls = new Calls({ ...others, pacer });
    this.#texts = new Texts(this.#calls);
    this.#typing = new Typing(this.#calls);
    this.#previews = new Previews({ ...others, pacer, texts: this.#texts, typing: this.#typing });
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
        return sendMedia(this.#calls, this.#typing, request, signal);
      case 'answer_callback_query':
        return this.#answerCallback(request, signal);
      case 'find_message':
        return refusal('invalid_request', 'Telegram gives bots no way to look for a message');
    }
  }

  /** Shows the text so far of a reply, as soon and as often as Telegram takes it. */
  preview(command: CommandOf<'preview_message'>): void {
    this.#previews.show(command);
  }

  /** Shows that the bot writes, until a message comes or the time is over. */
  typing(command: CommandOf<'send_typing'>): void {
    this.#typing.show(command);
  }

  /** Starts no more calls of its own; requests in flight go on. */
  close(): void {
    this.#typing.close();
    this.#previews.close();
  }

  async #sendMessage(command: CommandOf<'send_message'>, signal: AbortSignal): Promise<AnswerBody> {
    const chat = readId(command.chat_id);
    if (chat === null) return noId('chat_id');
    this.#typing.stop(command);
    const { preview_id: previewId, message_id: messageId } = command.replaces ?? {};
    let target = messageId === undefined ? null : readId(messageId);
    if (messageId !== undefined && target === null) return noId('replaces.message_id');
    if (previewId !== undefined) {
      const posted = await this.#previews.end(previewId, signal);
      target ??= posted;
    }
    const forms = await readForms(command.content, command.format);
    const refused = await this.#calls.turn(chat, target === null ? 'send' : 'edit', signal);
    if (refused !== null) return answerOf(refused);
    const where = { chat, thread: command.thread_id, replyTo: command.reply_to };
    const keyboard = keyboardOf(command.inline_keyboard);
    const result =
      target === null
        ? await this.#texts.post(where, forms, keyboard, signal)
        : await this.#texts.edit(chat, target, forms, keyboard, signal);
    if (!result.ok) return answerOf(result.failure);
    if (previewId !== undefined) this.#previews.forget(previewId);
    return { type: 'command_ok', message_id: String(result.value) };
  }

  async #editMessage(command: CommandOf<'edit_message'>, signal: AbortSignal): Promise<AnswerBody> {
    const chat = readId(command.chat_id);
    const messageId = readId(command.message_id);
    if (chat === null || messageId === null) return noId(chat === null ? 'chat_id' : 'message_id');
    const forms = await readForms(command.content, command.format);
    const refused = await this.#calls.turn(chat, 'edit', signal);
    if (refused !== null) return answerOf(refused);
    const keyboard = keyboardOf(command.inline_keyboard);
    const result = await this.#texts.edit(chat, messageId, forms, keyboard, signal);
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
    const result = await this.#calls.call(chat, 'delete', 'deleteMessage', signal, (id, its) =>
      this.#calls.api.deleteMessage({ chat_id: id, message_id: messageId }, its),
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
    const result = await this.#calls.call(0, 'answer', 'answerCallbackQuery', signal, (_, its) =>
      this.#calls.api.answerCallbackQuery({ callback_query_id, text }, its),
    );
    return result.ok ? { type: 'command_ok' } : answerOf(result.failure);
  }
}
