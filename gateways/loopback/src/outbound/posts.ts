import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Post } from '../format.ts';
import { forgetOldest } from './forget-oldest.ts';

/** What is kept: posts beyond this, or beyond so many characters of text, are forgotten, oldest first. */
const MAX_POSTS = 1000;
const MAX_CHARACTERS = 8 * 1024 * 1024;
/** Former texts that are kept of one post. */
const MAX_EDITS = 20;

export interface ChatView {
  chat_id: string;
  /** Posts that are kept. */
  messages: number;
  /** The newest change in this chat. */
  last: number;
}

/**
 * What the bot posted, in memory and, with a state file, on disk before a change is told. Not safe
 * against loss of power: it is for tests.
 */
export class Posts {
  readonly #stateFile: string | null;
  readonly #changed: (post: Post) => void;
  /** By message id, oldest first. */
  readonly #posts = new Map<string, Post>();
  #lastChange = 0;
  #lastNumber = 0;
  /** Makes ids differ from those of a run whose posts are forgotten. */
  #run = Date.now().toString(36);

  /** @param changed is told each post after it was made or changed. */
  constructor(stateFile: string | null, changed: (post: Post) => void) {
    this.#stateFile = stateFile;
    this.#changed = changed;
    this.#load();
  }

  /** The number of the newest change; 0: there was none. */
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

  get(id: string): Post | undefined {
    return this.#posts.get(id);
  }

  /** The newest for which this holds. */
  findLast(isWanted: (post: Post) => boolean): Post | undefined {
    return [...this.#posts.values()].findLast(isWanted);
  }

  /** The post that was made with this nonce; one that was deleted is none. */
  byNonce(chat: string, nonce: string | undefined): Post | undefined {
    if (nonce === undefined) return undefined;
    return [...this.#posts.values()].find(
      (post) => post.nonce === nonce && post.chat_id === chat && !post.deleted,
    );
  }

  /** The newest post that began as this preview. */
  byPreview(chat: string, preview: string | undefined): Post | undefined {
    if (preview === undefined) return undefined;
    return [...this.#posts.values()].findLast(
      (post) => post.preview_id === preview && post.chat_id === chat,
    );
  }

  /** Keeps a new post, and tells it. */
  add(post: Post): void {
    this.#posts.set(post.message_id, post);
    this.announce(post);
  }

  /** Gives a post another text, and keeps the former one. */
  change(post: Post, text: string): void {
    if (text !== post.text) {
      post.edits = [...post.edits, { text: post.text, at: post.changed_at }].slice(-MAX_EDITS);
      post.edit_count += 1;
      post.text = text;
    }
    this.announce(post);
  }

  /** Keeps what became of a post as its newest change, and tells it. */
  announce(post: Post): void {
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

  #load(): void {
    const file = this.#stateFile;
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
    const file = this.#stateFile;
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
