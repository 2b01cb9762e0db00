import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import type {
  CommandOf,
  GatewayCapability,
  GatewayErrorCode,
  GatewayRequest,
  InlineKeyboard,
} from '@duragent/protocol';
import type { AnswerBody } from '@duragent/protocol/node';
import { textLength, type LoopbackConfig, type Post, type PostedFile } from './format.ts';
import { forgetOldest } from './outbound/forget-oldest.ts';
import { Posts } from './outbound/posts.ts';

/** Presses whose answers are kept. */
const MAX_PRESSES = 1000;

type Options = Pick<
  LoopbackConfig,
  'maxLength' | 'lengthUnit' | 'maxButtons' | 'mediaMaxBytes' | 'capabilities' | 'stateFile'
>;

/** The platform of this gateway: what the server asks becomes posts of the bot. */
export class Chats {
  /** What the bot posted, for those who read it. */
  readonly posts: Posts;
  readonly #options: Options;
  /** What was answered to presses, by their ids; null: answered without a text. */
  readonly #presses = new Map<string, string | null>();

  /** @param changed is told each post after it was made or changed. */
  constructor(options: Options, changed: (post: Post) => void) {
    this.#options = options;
    this.posts = new Posts(options.stateFile, changed);
  }

  /** What a press was answered; undefined: nothing yet. */
  pressAnswer(id: string): string | null | undefined {
    return this.#presses.get(id);
  }

  /** Does what the server asks; a refusal is an answer. */
  async request(request: Exclude<GatewayRequest, CommandOf<'ping'>>): Promise<AnswerBody> {
    switch (request.type) {
      case 'send_message':
        return this.#send(request);
      case 'edit_message':
        return this.#without('edit') ?? this.#edit(request);
      case 'delete_message':
        return this.#without('delete') ?? this.#delete(request);
      case 'send_media':
        return this.#without('media') ?? (await this.#sendMedia(request));
      case 'find_message':
        return this.#without('find') ?? this.#find(request);
      case 'answer_callback_query':
        this.#presses.set(request.callback_query_id, request.text ?? null);
        forgetOldest(this.#presses, MAX_PRESSES);
        return { type: 'command_ok' };
    }
  }

  /** Shows the text so far. @returns the post when this was the first of it, otherwise null. */
  preview(command: CommandOf<'preview_message'>): Post | null {
    if (!this.#options.capabilities.has('preview')) return null;
    if (this.#tooLong(command.content) !== null) return null;
    const shown = this.posts.byPreview(command.chat_id, command.preview_id);
    if (shown === undefined) {
      const { preview_id } = command;
      return this.#post({ ...command, format: 'markdown' }, { preview: true, preview_id });
    }
    // One that comes after the final text is late.
    if (shown.preview) this.posts.change(shown, command.content);
    return null;
  }

  #send(command: CommandOf<'send_message'>): AnswerBody {
    const fault = this.#tooLong(command.content) ?? this.#tooMany(command.inline_keyboard);
    if (fault !== null) return fault;
    const repeated = this.posts.byNonce(command.chat_id, command.nonce);
    if (repeated !== undefined) return { type: 'command_ok', message_id: repeated.message_id };
    const { preview_id, message_id } = command.replaces ?? {};
    // What is switched off is left out of what is posted: this becomes a message of its own.
    const edited = this.#options.capabilities.has('edit') ? message_id : undefined;
    if (edited !== undefined) {
      const missing = this.#notOurs(command.chat_id, edited);
      if (missing !== null) return missing;
    }
    const replaced =
      edited !== undefined
        ? this.posts.get(edited)
        : this.posts.byPreview(command.chat_id, preview_id);
    if (replaced === undefined || replaced.deleted) {
      const post = this.#post(command, preview_id === undefined ? {} : { preview_id });
      return { type: 'command_ok', message_id: post.message_id };
    }
    replaced.preview = false;
    replaced.format = command.format;
    replaced.buttons = this.#buttons(command.inline_keyboard);
    replaced.part = command.part;
    replaced.parts = command.parts;
    this.#keepNonce(replaced, command.nonce);
    this.posts.change(replaced, command.content);
    return { type: 'command_ok', message_id: replaced.message_id };
  }

  #edit(command: CommandOf<'edit_message'>): AnswerBody {
    const fault =
      this.#tooLong(command.content) ??
      this.#tooMany(command.inline_keyboard) ??
      this.#notOurs(command.chat_id, command.message_id);
    if (fault !== null) return fault;
    const post = this.posts.get(command.message_id);
    if (post !== undefined) {
      post.format = command.format;
      post.buttons = this.#buttons(command.inline_keyboard);
      this.posts.change(post, command.content);
    }
    return { type: 'command_ok', message_id: command.message_id };
  }

  #delete(command: CommandOf<'delete_message'>): AnswerBody {
    const fault = this.#notOurs(command.chat_id, command.message_id);
    if (fault !== null) return fault;
    const post = this.posts.get(command.message_id);
    if (post !== undefined) {
      Object.assign(post, { deleted: true, text: '', buttons: [], files: [], edits: [] });
      this.posts.announce(post);
    }
    return { type: 'command_ok', message_id: command.message_id };
  }

  async #sendMedia(command: CommandOf<'send_media'>): Promise<AnswerBody> {
    const fault = this.#tooLong(command.caption ?? '');
    if (fault !== null) return fault;
    const file = await this.#readFile(command.media);
    if ('type' in file) return file;
    const repeated = this.posts.byNonce(command.chat_id, command.nonce);
    if (repeated !== undefined) return { type: 'command_ok', message_id: repeated.message_id };
    const post = this.#post(
      { ...command, content: command.caption ?? '', format: 'markdown' },
      { files: [file] },
    );
    return { type: 'command_ok', message_id: post.message_id };
  }

  async #readFile(media: CommandOf<'send_media'>['media']): Promise<PostedFile | AnswerBody> {
    const { name, mime, path, url, base64 } = media;
    const ways = [path, url, base64].filter((way) => way !== undefined);
    if (ways.length !== 1) {
      return refuse('invalid_request', 'media takes exactly one of path, url and base64');
    }
    if (url !== undefined) return { name, mime, size: null, sha256: null, url };
    const most = this.#options.mediaMaxBytes;
    const tooLong = refuse('too_long', `a file may have ${most} bytes here`);
    if (base64 !== undefined) {
      const bytes = Buffer.from(base64, 'base64');
      if (bytes.length > most) return tooLong;
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      return { name, mime, size: bytes.length, sha256 };
    }
    const file = path ?? '';
    try {
      if (!statSync(file).isFile()) return refuse('invalid_request', `${file} is no file`);
      const hash = createHash('sha256');
      let size = 0;
      for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > most) return tooLong;
        hash.update(chunk);
      }
      return { name, mime, size, sha256: hash.digest('hex'), path: file };
    } catch (error) {
      return refuse('invalid_request', `the file cannot be read: ${String(error)}`);
    }
  }

  #find(command: CommandOf<'find_message'>): AnswerBody {
    const { chat_id, content, nonce } = command;
    const after = Date.parse(command.after);
    const knowsNonces = nonce !== undefined && this.#options.capabilities.has('nonce');
    const found = this.posts.findLast(
      (post) =>
        post.chat_id === chat_id &&
        !post.deleted &&
        !(Date.parse(post.changed_at) < after) &&
        (knowsNonces ? post.nonce === nonce : post.text === content),
    );
    if (found === undefined) return { type: 'message_not_found' };
    return { type: 'message_found', message_id: found.message_id };
  }

  #post(
    command: Pick<CommandOf<'send_message'>, 'chat_id' | 'content' | 'format'> &
      Omit<Partial<CommandOf<'send_message'>>, 'type'>,
    more: Partial<Post>,
  ): Post {
    const { capabilities } = this.#options;
    const { thread_id, reply_to } = command;
    const at = new Date().toISOString();
    const post: Post = {
      change: 0,
      message_id: this.posts.newId('m'),
      chat_id: command.chat_id,
      ...(thread_id !== undefined && capabilities.has('threads') ? { thread_id } : {}),
      text: command.content,
      format: command.format,
      buttons: this.#buttons(command.inline_keyboard),
      files: [],
      ...(reply_to !== undefined && capabilities.has('reply') ? { reply_to } : {}),
      part: command.part ?? 1,
      parts: command.parts ?? 1,
      preview: false,
      deleted: false,
      edit_count: 0,
      edits: [],
      posted_at: at,
      changed_at: at,
      ...more,
    };
    this.#keepNonce(post, command.nonce);
    this.posts.add(post);
    return post;
  }

  #keepNonce(post: Post, nonce: string | undefined): void {
    if (nonce !== undefined && this.#options.capabilities.has('nonce')) post.nonce = nonce;
  }

  #without(capability: GatewayCapability): AnswerBody | null {
    if (this.#options.capabilities.has(capability)) return null;
    return refuse('invalid_request', `${capability} is switched off in this gateway's config`);
  }

  #tooLong(text: string): AnswerBody | null {
    const { maxLength, lengthUnit } = this.#options;
    const length = textLength(text, lengthUnit);
    if (length <= maxLength) return null;
    return refuse('too_long', `the text has ${length} ${lengthUnit}; ${maxLength} are allowed`);
  }

  #buttons(keyboard: InlineKeyboard = []): InlineKeyboard {
    return this.#options.capabilities.has('inline_keyboard') ? keyboard : [];
  }

  #tooMany(keyboard: InlineKeyboard | undefined): AnswerBody | null {
    const { maxButtons } = this.#options;
    if (this.#buttons(keyboard).flat().length <= maxButtons) return null;
    return refuse('invalid_request', `a message may have ${maxButtons} buttons here`);
  }

  #notOurs(chat: string, id: string): AnswerBody | null {
    const post = this.posts.get(id);
    if (post !== undefined && post.chat_id === chat && !post.deleted) return null;
    return refuse('message_not_found', `there is no message ${id} of the bot in chat ${chat}`);
  }
}

function refuse(code: GatewayErrorCode, message: string): AnswerBody {
  return { type: 'command_error', code, message };
}
