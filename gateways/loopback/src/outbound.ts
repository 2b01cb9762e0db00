import { createHash } from 'node:crypto';
import { createReadStream, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import type {
  CommandOf,
  GatewayCapability,
  GatewayErrorCode,
  GatewayRequest,
  InlineKeyboard,
} from '@duragent/protocol';
import type { AnswerBody } from '@duragent/protocol/node';
import { textLength, type LoopbackConfig, type Post, type PostedFile } from './format.ts';

/** What is kept: posts beyond this, or beyond so many characters of text, are forgotten, oldest first. */
const MAX_POSTS = 1000;
const MAX_CHARACTERS = 8 * 1024 * 1024;
/** Former texts that are kept of one post. */
const MAX_EDITS = 20;
/** Presses whose answers are kept. */
const MAX_PRESSES = 1000;

export interface ChatView {
  chat_id: string;
  /** Posts that are kept. */
  messages: number;
  /** The newest change in this chat. */
  last: number;
}

type Options = Pick<
  LoopbackConfig,
  'maxLength' | 'lengthUnit' | 'maxButtons' | 'mediaMaxBytes' | 'capabilities' | 'stateFile'
>;

/**
 * The platform of this gateway: the posts of the bot, in memory and, with a state file, on disk
 * before a request is answered. Not safe against loss of power: it is for tests.
 */
export class Chats {
  readonly #options: Options;
  readonly #changed: (post: Post) => void;
  /** By message id, oldest first. */
  readonly #posts = new Map<string, Post>();
  /** What was answered to presses, by their ids; null: answered without a text. */
  readonly #presses = new Map<string, string | null>();
  #lastChange = 0;
  #lastNumber = 0;
  /** Makes ids differ from those of a run whose posts are forgotten. */
  #run = Date.now().toString(36);

  /** @param changed is told each post after it was made or changed. */
  constructor(options: Options, changed: (post: Post) => void) {
    this.#options = options;
    this.#changed = changed;
    this.#load();
  }

  get lastChange(): number {
    return this.#lastChange;
  }

  /** A message id that nothing else here has. */
  newId(prefix: string): string {
    this.#lastNumber += 1;
    return `${prefix}${this.#run}-${this.#lastNumber}`;
  }

  chats(): ChatView[] {
    const views = new Map<string, ChatView>();
    for (const { chat_id, change } of this.#posts.values()) {
      const view = views.get(chat_id) ?? { chat_id, messages: 0, last: 0 };
      view.messages += 1;
      view.last = Math.max(view.last, change);
      views.set(chat_id, view);
    }
    return [...views.values()];
  }

  /** What changed after `after`, in the order of the changes. `chat` null: in every chat. */
  changes(chat: string | null, after: number): Post[] {
    // A number from before everything was forgotten: nothing of what is here was seen.
    const from = after > this.#lastChange ? 0 : after;
    return [...this.#posts.values()]
      .filter((post) => post.change > from && (chat === null || post.chat_id === chat))
      .sort((a, b) => a.change - b.change);
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
    const shown = this.#byPreview(command.chat_id, command.preview_id);
    if (shown === undefined) {
      const { preview_id } = command;
      return this.#post({ ...command, format: 'markdown' }, { preview: true, preview_id });
    }
    // One that comes after the final text is late.
    if (shown.preview) this.#change(shown, command.content);
    return null;
  }

  #send(command: CommandOf<'send_message'>): AnswerBody {
    const fault = this.#tooLong(command.content) ?? this.#tooMany(command.inline_keyboard);
    if (fault !== null) return fault;
    const repeated = this.#byNonce(command.chat_id, command.nonce);
    if (repeated !== undefined) return { type: 'command_ok', message_id: repeated.message_id };
    const { preview_id, message_id } = command.replaces ?? {};
    // What is switched off is left out of what is posted: this becomes a message of its own.
    const edited = this.#options.capabilities.has('edit') ? message_id : undefined;
    if (edited !== undefined) {
      const missing = this.#notOurs(command.chat_id, edited);
      if (missing !== null) return missing;
    }
    const replaced =
      edited !== undefined ? this.#posts.get(edited) : this.#byPreview(command.chat_id, preview_id);
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
    this.#change(replaced, command.content);
    return { type: 'command_ok', message_id: replaced.message_id };
  }

  #edit(command: CommandOf<'edit_message'>): AnswerBody {
    const fault =
      this.#tooLong(command.content) ??
      this.#tooMany(command.inline_keyboard) ??
      this.#notOurs(command.chat_id, command.message_id);
    if (fault !== null) return fault;
    const post = this.#posts.get(command.message_id);
    if (post !== undefined) {
      post.format = command.format;
      post.buttons = this.#buttons(command.inline_keyboard);
      this.#change(post, command.content);
    }
    return { type: 'command_ok', message_id: command.message_id };
  }

  #delete(command: CommandOf<'delete_message'>): AnswerBody {
    const fault = this.#notOurs(command.chat_id, command.message_id);
    if (fault !== null) return fault;
    const post = this.#posts.get(command.message_id);
    if (post !== undefined) {
      Object.assign(post, { deleted: true, text: '', buttons: [], files: [], edits: [] });
      this.#announce(post);
    }
    return { type: 'command_ok', message_id: command.message_id };
  }

  async #sendMedia(command: CommandOf<'send_media'>): Promise<AnswerBody> {
    const fault = this.#tooLong(command.caption ?? '');
    if (fault !== null) return fault;
    const file = await this.#readFile(command.media);
    if ('type' in file) return file;
    const repeated = this.#byNonce(command.chat_id, command.nonce);
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
    const found = [...this.#posts.values()].findLast(
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
      message_id: this.newId('m'),
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
    this.#posts.set(post.message_id, post);
    this.#announce(post);
    return post;
  }

  #change(post: Post, text: string): void {
    if (text !== post.text) {
      post.edits = [...post.edits, { text: post.text, at: post.changed_at }].slice(-MAX_EDITS);
      post.edit_count += 1;
      post.text = text;
    }
    this.#announce(post);
  }

  #announce(post: Post): void {
    this.#lastChange += 1;
    post.change = this.#lastChange;
    post.changed_at = new Date().toISOString();
    this.#forget();
    this.#save();
    this.#changed(post);
  }

  #forget(): void {
    forgetOldest(this.#posts, MAX_POSTS);
    let characters = 0;
    for (const post of [...this.#posts.values()].reverse()) {
      characters += post.text.length;
      for (const edit of post.edits) characters += edit.text.length;
      if (characters > MAX_CHARACTERS) this.#posts.delete(post.message_id);
    }
  }

  #keepNonce(post: Post, nonce: string | undefined): void {
    if (nonce !== undefined && this.#options.capabilities.has('nonce')) post.nonce = nonce;
  }

  #byNonce(chat: string, nonce: string | undefined): Post | undefined {
    if (nonce === undefined) return undefined;
    return [...this.#posts.values()].find(
      (post) => post.nonce === nonce && post.chat_id === chat && !post.deleted,
    );
  }

  #byPreview(chat: string, preview: string | undefined): Post | undefined {
    if (preview === undefined) return undefined;
    return [...this.#posts.values()].findLast(
      (post) => post.preview_id === preview && post.chat_id === chat,
    );
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
    const post = this.#posts.get(id);
    if (post !== undefined && post.chat_id === chat && !post.deleted) return null;
    return refuse('message_not_found', `there is no message ${id} of the bot in chat ${chat}`);
  }

  #load(): void {
    const file = this.#options.stateFile;
    if (file === null) return;
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    const state = JSON.parse(text) as State;
    if (state.version !== 1) throw new Error(`${file} is not of this version: remove it`);
    this.#run = state.run;
    this.#lastChange = state.change;
    this.#lastNumber = state.number;
    for (const post of state.posts) this.#posts.set(post.message_id, post);
  }

  /** Whole or not at all: a reader and the next run never see half of it. */
  #save(): void {
    const file = this.#options.stateFile;
    if (file === null) return;
    const state: State = {
      version: 1,
      run: this.#run,
      change: this.#lastChange,
      number: this.#lastNumber,
      posts: [...this.#posts.values()],
    };
    writeFileSync(`${file}.new`, JSON.stringify(state), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
}

/** The state file, as this program wrote it. */
interface State {
  version: 1;
  run: string;
  change: number;
  number: number;
  posts: Post[];
}

/** Tells a webhook each post, one at a time; of a post that waits, only its newest text. */
export class Webhook {
  readonly #options: { url: string; token: string | null; signal: AbortSignal };
  readonly #failed: (error: unknown) => void;
  readonly #waiting = new Map<string, Post>();
  #isBusy = false;

  /** @param failed is told why a post was given up. */
  constructor(
    options: { url: string; token: string | null; signal: AbortSignal },
    failed: (error: unknown) => void,
  ) {
    this.#options = options;
    this.#failed = failed;
  }

  push(post: Post): void {
    this.#waiting.set(post.message_id, structuredClone(post));
    forgetOldest(this.#waiting, MAX_POSTS);
    if (!this.#isBusy) void this.#work();
  }

  async #work(): Promise<void> {
    this.#isBusy = true;
    for (const [id, post] of this.#waiting) {
      this.#waiting.delete(id);
      await this.#tell(post);
    }
    this.#isBusy = false;
  }

  async #tell(post: Post): Promise<void> {
    const { url, token, signal } = this.#options;
    const options: RequestInit = {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify({ message: post }),
      redirect: 'error',
    };
    let failure: unknown;
    for (let attempt = 1; attempt <= 3 && !signal.aborted; attempt += 1) {
      try {
        const limit = AbortSignal.any([signal, AbortSignal.timeout(5000)]);
        const response = await fetch(url, { ...options, signal: limit });
        await response.body?.cancel();
        if (response.ok) return;
        failure = new Error(`it answered ${response.status}`);
      } catch (error) {
        failure = error;
      }
    }
    if (!signal.aborted) this.#failed(failure);
  }
}

function refuse(code: GatewayErrorCode, message: string): AnswerBody {
  return { type: 'command_error', code, message };
}

function forgetOldest(map: Map<string, unknown>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}
