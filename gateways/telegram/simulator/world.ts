import type {
  BotCommand,
  Chat,
  ChatMember,
  InlineKeyboardMarkup,
  Message,
  MessageEntity,
  Update,
  User,
  UserFromGetMe,
} from 'grammy/types';
import { SimulatorClock } from './clock.ts';
import { FileStore } from './files.ts';
import { SeededRandom } from './random.ts';
import { UpdateQueue, type UpdateRecord } from './update-queue.ts';

/** How the bot stands in a chat; in a private chat `kicked` is blocked. */
export type BotStatus = 'member' | 'administrator' | 'left' | 'kicked';

export interface Topic {
  message_thread_id: number;
  name: string;
  isClosed: boolean;
  /** The service message that began it. */
  created: Message;
}

/** One state of a message that people saw. */
export interface Version {
  text: string;
  entities: MessageEntity[];
  buttons: InlineKeyboardMarkup['inline_keyboard'];
  /** In ms since 1970. */
  at: number;
}

export interface KeptMessage {
  message: Message;
  isFromBot: boolean;
  /** Place among all messages of this simulator. */
  order: number;
  at: number;
  deletedAt: number | null;
  /** The first is what was posted, the last what is shown. */
  versions: Version[];
  /** The update that told the bot about it; null: there was none. */
  updateId: number | null;
  fileIds: string[];
}

export interface ChatState {
  chat: Chat;
  bot: BotStatus;
  /** A private chat in which nobody spoke yet. */
  isStarted: boolean;
  members: Set<number>;
  topics: Map<number, Topic>;
  messages: Map<number, KeptMessage>;
  lastMessageId: number;
  migratedTo: number | undefined;
}

export interface PressedButton {
  id: string;
  at: number;
  user: User;
  chatId: number;
  messageId: number;
  data: string;
  updateId: number | null;
  answer: { text: string; show_alert: boolean; at: number } | null;
}

export interface Draft {
  chatId: number;
  threadId: number | undefined;
  draftId: number;
  versions: Version[];
  canStop: boolean;
  keepOnStop: boolean;
  stoppedAt: number | null;
  /** A message of the bot took its place. */
  replacedAt: number | null;
}

export interface Typing {
  action: string;
  at: number;
  threadId: number | undefined;
}

export interface WorldOptions {
  seed: number;
  token: string | undefined;
  username: string;
  /** With privacy mode a bot in a group sees commands, mentions and replies to it only. */
  privacy: boolean;
  /** Whether private chats may have topics. */
  privateTopics: boolean;
}

const MAX_MESSAGES = 100_000;
const MAX_PRESSES = 10_000;
const MAX_DRAFTS = 1000;

/** What the simulated Telegram knows: people, chats, messages, and what waits for the bot. */
export class World {
  readonly clock = new SimulatorClock();
  readonly random: SeededRandom;
  readonly updates: UpdateQueue;
  readonly files: FileStore;
  readonly bot: UserFromGetMe;
  readonly token: string;
  readonly hasPrivateTopics: boolean;
  readonly users = new Map<number, User>();
  readonly chats = new Map<number, ChatState>();
  readonly presses = new Map<string, PressedButton>();
  readonly drafts: Draft[] = [];
  readonly typing = new Map<number, Typing>();
  readonly commands = new Map<string, BotCommand[]>();
  readonly descriptions = new Map<string, string>();
  readonly #order: KeptMessage[] = [];
  #nextOrder = 0;
  #lastMessageId: number;

  constructor({ seed, token, username, privacy, privateTopics }: WorldOptions) {
    this.random = new SeededRandom(seed);
    this.updates = new UpdateQueue(this.clock, this.random);
    this.files = new FileStore(this.clock, this.random);
    this.token = token ?? `${this.random.between(1e9, 8e9)}:AA${this.random.letters(33)}`;
    this.hasPrivateTopics = privateTopics;
    this.#lastMessageId = this.random.between(10, 5000);
    this.bot = {
      id: Number(this.token.split(':', 1)[0]),
      is_bot: true,
      first_name: 'Simulated Bot',
      username,
      can_join_groups: true,
      can_read_all_group_messages: !privacy,
      supports_guest_queries: false,
      supports_inline_queries: false,
      can_connect_to_business: false,
      has_main_web_app: false,
      has_topics_enabled: privateTopics,
      allows_users_to_create_topics: privateTopics,
      can_manage_bots: false,
      supports_join_request_queries: false,
    };
    this.users.set(this.bot.id, this.botUser);
  }

  /** The bot as it stands in messages. */
  get botUser(): User {
    const { id, is_bot, first_name, username } = this.bot;
    return { id, is_bot, first_name, username };
  }

  newUserId(): number {
    return this.#unused(() => this.random.between(100_000_000, 7_999_999_999));
  }

  newGroupId(): number {
    return this.#unused(() => -this.random.between(1_000_000_000, 5_099_999_999));
  }

  newSupergroupId(): number {
    return this.#unused(
      () => -1_000_000_000_000 - this.random.between(1_000_000_000, 3_999_999_999),
    );
  }

  addChat(chat: Chat, { bot, isStarted }: { bot: BotStatus; isStarted: boolean }): ChatState {
    const state: ChatState = {
      chat,
      bot,
      isStarted,
      members: new Set(),
      topics: new Map(),
      messages: new Map(),
      // The first messages of a group say that it was made.
      lastMessageId: this.random.between(1, 60),
      migratedTo: undefined,
    };
    this.chats.set(chat.id, state);
    return state;
  }

  /** Supergroups and channels count their own messages, all other chats of a bot share one count. */
  nextMessageId(state: ChatState): number {
    const { type } = state.chat;
    if (type === 'supergroup' || type === 'channel') return ++state.lastMessageId;
    return ++this.#lastMessageId;
  }

  /** Keeps a message as it is shown now; beyond 100,000 the oldest are forgotten. */
  keep(
    state: ChatState,
    message: Message,
    version: Version,
    { isFromBot, fileIds = [] }: { isFromBot: boolean; fileIds?: string[] },
  ): KeptMessage {
    const kept: KeptMessage = {
      message,
      isFromBot,
      order: this.#nextOrder++,
      at: this.clock.now(),
      deletedAt: null,
      versions: [version],
      updateId: null,
      fileIds,
    };
    state.messages.set(message.message_id, kept);
    this.#order.push(kept);
    if (this.#order.length > MAX_MESSAGES) {
      const oldest = this.#order.shift();
      if (oldest !== undefined) {
        this.chats.get(oldest.message.chat.id)?.messages.delete(oldest.message.message_id);
      }
    }
    return kept;
  }

  /** All messages that are kept, oldest first. */
  get messages(): readonly KeptMessage[] {
    return this.#order;
  }

  /** Tells the bot about a message, if it is in the chat and may see it. */
  announce(state: ChatState, kept: KeptMessage, isEdit: boolean): UpdateRecord | null {
    const { message } = kept;
    if (state.bot === 'kicked' || state.bot === 'left') return null;
    if (!this.#maySee(state, message)) return null;
    const about = { chatId: message.chat.id, messageId: message.message_id };
    let record: UpdateRecord | null = null;
    if (isChannelPost(message)) {
      if (isEdit && isEdited(message)) {
        record = this.updates.push('edited_channel_post', message, about);
      } else record = this.updates.push('channel_post', message, about);
    } else if (isOrdinary(message)) {
      if (isEdit && isEdited(message)) record = this.updates.push('edited_message', message, about);
      else record = this.updates.push('message', message, about);
    }
    if (!isEdit) kept.updateId = record?.update_id ?? null;
    return record;
  }

  /** Tells the bot that it stands otherwise in a chat. */
  announceStatus(state: ChatState, from: User, next: BotStatus): UpdateRecord | null {
    const previous = state.bot;
    state.bot = next;
    const chat = state.chat;
    const about = { chatId: chat.id };
    return this.updates.push(
      'my_chat_member',
      {
        chat,
        from,
        date: this.clock.seconds(),
        old_chat_member: this.memberOf(previous),
        new_chat_member: this.memberOf(next),
      },
      about,
    );
  }

  /** The bot as a member with this status. */
  memberOf(status: BotStatus): ChatMember {
    const user = this.botUser;
    switch (status) {
      case 'member':
      case 'left':
        return { user, status };
      case 'kicked':
        return { user, status, until_date: 0 };
      case 'administrator':
        return {
          user,
          status,
          can_be_edited: false,
          is_anonymous: false,
          can_manage_chat: true,
          can_delete_messages: true,
          can_manage_video_chats: false,
          can_restrict_members: true,
          can_promote_members: false,
          can_change_info: true,
          can_invite_users: true,
          can_post_stories: false,
          can_edit_stories: false,
          can_delete_stories: false,
          can_pin_messages: true,
          can_manage_topics: true,
          can_send_welcome_messages: false,
        };
    }
  }

  addPress(press: PressedButton): void {
    this.presses.set(press.id, press);
    const [oldest] = this.presses.keys();
    if (this.presses.size > MAX_PRESSES && oldest !== undefined) this.presses.delete(oldest);
  }

  addDraft(draft: Draft): void {
    this.drafts.push(draft);
    if (this.drafts.length > MAX_DRAFTS) this.drafts.shift();
  }

  close(): void {
    this.updates.close();
  }

  #maySee(state: ChatState, message: Message): boolean {
    const { type } = state.chat;
    if (type === 'private' || type === 'channel') return true;
    if (this.bot.can_read_all_group_messages || state.bot === 'administrator') return true;
    if (message.reply_to_message?.from?.id === this.bot.id) return true;
    const text = message.text ?? message.caption;
    if (text === undefined) return message.migrate_to_chat_id !== undefined;
    const name = `@${this.bot.username}`.toLowerCase();
    return [...(message.entities ?? []), ...(message.caption_entities ?? [])].some((entity) => {
      const value = text.slice(entity.offset, entity.offset + entity.length).toLowerCase();
      if (entity.type === 'mention') return value === name;
      if (entity.type === 'text_mention') return entity.user.id === this.bot.id;
      return entity.type === 'bot_command' && (!value.includes('@') || value.endsWith(name));
    });
  }

  #unused(draw: () => number): number {
    for (;;) {
      const id = draw();
      if (!this.users.has(id) && !this.chats.has(id)) return id;
    }
  }
}

function isChannelPost(message: Message): message is Message & Update.Channel {
  return message.chat.type === 'channel';
}

function isOrdinary(message: Message): message is Message & Update.NonChannel {
  return message.chat.type !== 'channel' && message.from !== undefined;
}

function isEdited<T extends Message>(message: T): message is T & Update.Edited {
  return message.edit_date !== undefined;
}
