import { Buffer } from 'node:buffer';
import type {
  BotCommand,
  Chat,
  Contact,
  InlineKeyboardMarkup,
  Location,
  Message,
  MessageEntity,
  RichMessage,
  Update,
  User,
} from 'grammy/types';
import type { CallRecord } from './bot-api.ts';
import type { FaultRule, FaultScript, FaultState } from './faults.ts';
import type { MediaDetails, MediaKind } from './files.ts';
import { findEntities } from './find-entities.ts';
import { badRequest } from './refusal.ts';
import type { LimitsMode, RateLimits } from './limits.ts';
import { hasTopics, shownDraft } from './methods-chats.ts';
import { beginTopic, replied, topicFields } from './topics.ts';
import { updateTypes, type UpdateRecord } from './update-queue.ts';
import type { BotStatus, ChatState, KeptMessage, Version, World } from './world.ts';

/** What a person did: the message, and the update that tells the bot; null when the bot is not told. */
export interface Spoken {
  message_id: number;
  update_id: number | null;
}

/** A file as a person sees it; `file_id` is what `file` of the control API takes. */
export interface ShownFile {
  file_id: string;
  name: string | null;
  mime: string;
  size: number;
  sha256: string;
}

/** A message as a person sees it, and how it came to look so. */
export interface ShownMessage {
  message_id: number;
  chat_id: number;
  thread_id: number | null;
  from: User | null;
  is_from_bot: boolean;
  date: number;
  /** Text or caption; of a rich message the words without their form. */
  text: string;
  entities: MessageEntity[];
  rich_message: RichMessage | null;
  buttons: InlineKeyboardMarkup['inline_keyboard'];
  reply_to: number | null;
  /** How often it was changed. */
  edits: number;
  /** All it said, oldest first, with times in ms since 1970. */
  history: Version[];
  files: ShownFile[];
  is_deleted: boolean;
  update_id: number | null;
  /** As the Bot API shows it. */
  message: Message;
}

export interface ShownDraft {
  chat_id: number;
  draft_id: number;
  thread_id: number | null;
  text: string;
  can_stop: boolean;
  is_shown: boolean;
  stopped_at: number | null;
  history: Version[];
}

/** What a person caused, and how far the bot came with it. */
export interface CausedUpdate {
  update_id: number;
  type: string;
  at: number;
  chat_id: number | null;
  message_id: number | null;
  text: string | null;
  /** How often it was in an answer that was made, and in one that went out whole. */
  offered: number;
  returned: number;
  confirmed: boolean;
  confirmed_at: number | null;
  state: UpdateRecord['state'];
}

export interface Snapshot {
  now: number;
  updates: CausedUpdate[];
  /** Everything in all chats, in the order in which it came. */
  messages: ShownMessage[];
  presses: PressState[];
  drafts: ShownDraft[];
}

export interface PressState {
  callback_query_id: string;
  chat_id: number;
  message_id: number;
  user_id: number;
  data: string;
  update_id: number | null;
  answer: { text: string; show_alert: boolean; at: number } | null;
}

/** Where a person speaks. */
export interface Place {
  chat_id: number;
  /** Default: the chat's own person, in a private chat. */
  user_id?: number;
  thread_id?: number;
  reply_to?: number;
}

interface Parts {
  world: World;
  faults: FaultScript;
  limits: RateLimits;
  calls: () => readonly CallRecord[];
}

/**
 * The other side of the simulated Telegram: speaks and acts as people, shows what they see, tells
 * the truth about what the bot got, and makes things go wrong. The same functions are served
 * below `/control/`. They throw a Refusal for what cannot be done.
 */
export class TelegramControl {
  readonly #world: World;
  readonly #faults: FaultScript;
  readonly #limits: RateLimits;
  readonly #calls: () => readonly CallRecord[];

  constructor({ world, faults, limits, calls }: Parts) {
    this.#world = world;
    this.#faults = faults;
    this.#limits = limits;
    this.#calls = calls;
  }

  /** The bot, and what it said about itself. */
  bot(): {
    user: User;
    token: string;
    commands: Record<string, BotCommand[]>;
    is_polling: boolean;
  } {
    const { botUser, token, commands, updates } = this.#world;
    const is_polling = updates.isPolled;
    return { user: botUser, token, commands: Object.fromEntries(commands), is_polling };
  }

  /** A person, and the private chat with the bot: it has the person's id. `started`: the person wrote to the bot before. */
  createUser(
    about: Partial<Omit<User, 'is_premium' | 'added_to_attachment_menu'>> & {
      started?: boolean;
    } = {},
  ): User {
    const { started = false, ...given } = about;
    const user: User = {
      is_bot: false,
      first_name: 'Person',
      ...given,
      id: given.id ?? this.#world.newUserId(),
    };
    if (this.#world.users.has(user.id)) throw badRequest(`there is a user ${user.id} already`);
    this.#world.users.set(user.id, user);
    const { id, first_name, last_name, username } = user;
    const chat: Chat = { id, type: 'private', first_name };
    if (last_name !== undefined) chat.last_name = last_name;
    if (username !== undefined) chat.username = username;
    this.#world.addChat(chat, { bot: 'member', isStarted: started });
    return user;
  }

  /** A group, supergroup or channel; the bot is told that it was added. */
  createChat(about: {
    type: 'group' | 'supergroup' | 'channel';
    title: string;
    id?: number;
    username?: string;
    is_forum?: boolean;
    /** User ids. The first is the one who adds the bot. */
    members?: number[];
    bot?: BotStatus;
  }): Chat {
    const {
      type,
      title,
      username,
      members = [],
      bot = type === 'channel' ? 'administrator' : 'member',
    } = about;
    const fresh = type === 'group' ? this.#world.newGroupId() : this.#world.newSupergroupId();
    const id = about.id ?? fresh;
    if (this.#world.chats.has(id)) throw badRequest(`there is a chat ${id} already`);
    const named = username === undefined ? {} : { username };
    const chat: Chat =
      type === 'group'
        ? { id, type, title }
        : type === 'channel'
          ? { id, type, title, ...named }
          : { id, type, title, ...named, ...(about.is_forum === true ? { is_forum: true } : {}) };
    const people = members.map((member) => this.#user(member));
    const state = this.#world.addChat(chat, { bot: 'left', isStarted: true });
    for (const { id: member } of people) state.members.add(member);
    const [first] = people;
    if (bot !== 'left' && first !== undefined) this.#world.announceStatus(state, first, bot);
    else state.bot = bot;
    return chat;
  }

  addMember({ chat_id, user_id }: { chat_id: number; user_id: number }): void {
    this.#chat(chat_id).members.add(this.#user(user_id).id);
  }

  /** A topic of a forum; in private chats with `privateTopics` too. */
  createTopic({ chat_id, user_id, name }: { chat_id: number; user_id?: number; name: string }): {
    message_thread_id: number;
    update_id: number | null;
  } {
    const state = this.#chat(chat_id);
    if (!hasTopics(this.#world, state)) {
      throw badRequest('the chat has no topics: create it with is_forum');
    }
    const { topic, kept } = beginTopic(this.#world, state, this.#speaker(state, user_id), name);
    const update = this.#world.announce(state, kept, false);
    return { message_thread_id: topic.message_thread_id, update_id: update?.update_id ?? null };
  }

  /** `is_deleted`: it is gone, and what is sent to it is refused. */
  changeTopic(change: {
    chat_id: number;
    message_thread_id: number;
    is_closed?: boolean;
    is_deleted?: boolean;
  }): void {
    const { topics } = this.#chat(change.chat_id);
    const topic = topics.get(change.message_thread_id);
    if (topic === undefined) throw badRequest(`there is no topic ${change.message_thread_id}`);
    if (change.is_closed !== undefined) topic.isClosed = change.is_closed;
    if (change.is_deleted === true) topics.delete(change.message_thread_id);
  }

  /** Says something. Mentions, commands and links are marked as Telegram marks them; `entities` adds others. */
  say(spoken: Place & { text: string; entities?: MessageEntity[] }): Spoken {
    if (spoken.text.trim() === '') throw badRequest('a person cannot send an empty text');
    const entities = withFound(spoken.text, spoken.entities);
    return this.#post(spoken, { text: spoken.text, ...(entities.length > 0 ? { entities } : {}) });
  }

  /** Sends a file. `bytes`: the bytes, or their base64. */
  sendFile(
    sent: Place &
      MediaDetails & {
        kind: MediaKind;
        bytes: Uint8Array | string;
        name?: string;
        mime?: string;
        caption?: string;
      },
  ): Spoken & { file: ShownFile } {
    const { kind, name, mime, caption, bytes } = sent;
    const content = typeof bytes === 'string' ? Buffer.from(bytes, 'base64') : Buffer.from(bytes);
    const about = {
      ...(name === undefined || kind === 'photo' ? {} : { name }),
      ...(mime === undefined ? {} : { mime }),
    };
    const file = this.#world.files.add(kind, content, about);
    const entities = caption === undefined ? [] : withFound(caption);
    const fields: Partial<Message> = {
      ...this.#world.files.media(kind, file, sent),
      ...(caption === undefined ? {} : { caption }),
      ...(entities.length > 0 ? { caption_entities: entities } : {}),
    };
    const spoken = this.#post(sent, fields, [file.file_id]);
    return { ...spoken, file: this.#shownFile(file.file_id) };
  }

  sendLocation({
    latitude,
    longitude,
    ...place
  }: Place & Pick<Location, 'latitude' | 'longitude'>): Spoken {
    return this.#post(place, { location: { latitude, longitude } });
  }

  sendContact({
    phone_number,
    first_name,
    ...place
  }: Place & Pick<Contact, 'phone_number' | 'first_name'>): Spoken {
    return this.#post(place, { contact: { phone_number, first_name } });
  }

  /** Any message that has no function of its own: the fields as the Bot API names them. */
  sendOther({ fields, ...place }: Place & { fields: Partial<Message> }): Spoken {
    return this.#post(place, fields);
  }

  /** Has the bot get an update that was recorded elsewhere, with an id of this simulator. */
  deliver({ update }: { update: Partial<Update> }): { update_id: number | null } {
    const body = { ...structuredClone(update) };
    delete body.update_id;
    const type = updateTypes.find((known) => body[known] !== undefined);
    if (type === undefined) throw badRequest('the update has no field that is simulated');
    const message = body.message ?? body.edited_message ?? body.channel_post;
    const about = message && { chatId: message.chat.id, messageId: message.message_id };
    return { update_id: this.#world.updates.pushRaw(type, body, about)?.update_id ?? null };
  }

  /** Changes what a person said. */
  edit({
    chat_id,
    message_id,
    text,
  }: {
    chat_id: number;
    message_id: number;
    text: string;
  }): Spoken {
    const state = this.#chat(chat_id);
    const kept = this.#message(state, message_id);
    if (kept.isFromBot) throw badRequest('a person cannot edit what the bot said');
    const entities = withFound(text);
    const next: Message = { ...kept.message, edit_date: this.#world.clock.seconds() };
    const isCaption = next.text === undefined;
    for (const field of ['text', 'entities', 'caption', 'caption_entities'] as const) {
      delete next[field];
    }
    if (isCaption) next.caption = text;
    else next.text = text;
    if (entities.length > 0) next[isCaption ? 'caption_entities' : 'entities'] = entities;
    kept.message = next;
    kept.versions.push({ text, entities, buttons: [], at: this.#world.clock.now() });
    const update = this.#world.announce(state, kept, true);
    return { message_id, update_id: update?.update_id ?? null };
  }

  /** Takes back any message. A bot is never told. */
  deleteMessage({ chat_id, message_id }: { chat_id: number; message_id: number }): void {
    this.#message(this.#chat(chat_id), message_id).deletedAt = this.#world.clock.now();
  }

  /** Presses a button, found by its data or by its text. */
  press(pressed: {
    chat_id: number;
    message_id: number;
    user_id?: number;
    data?: string;
    text?: string;
  }): { callback_query_id: string; update_id: number | null } {
    const { chat_id, message_id, data, text } = pressed;
    const state = this.#chat(chat_id);
    const { message } = this.#message(state, message_id);
    const from = this.#speaker(state, pressed.user_id);
    const buttons = message.reply_markup?.inline_keyboard.flat() ?? [];
    const button = buttons.find(
      (it) =>
        'callback_data' in it &&
        (data === undefined || it.callback_data === data) &&
        (text === undefined || it.text === text),
    );
    if (button === undefined || !('callback_data' in button)) {
      const there = buttons.map((it) => it.text).join(', ') || 'none';
      throw badRequest(`message ${message_id} shows no such button; its buttons: ${there}`);
    }
    const id = String(this.#world.random.between(1e15, 9e15));
    const update = this.#world.updates.push(
      'callback_query',
      {
        id,
        from,
        message: structuredClone(message),
        chat_instance: String(this.#world.random.between(1e15, 9e15)),
        data: button.callback_data,
      },
      { chatId: chat_id, messageId: message_id },
    );
    const updateId = update?.update_id ?? null;
    this.#world.addPress({
      id,
      at: this.#world.clock.now(),
      user: from,
      chatId: chat_id,
      messageId: message_id,
      data: button.callback_data,
      updateId,
      answer: null,
    });
    return { callback_query_id: id, update_id: updateId };
  }

  /** All presses and what the bot answered to them. */
  presses(): PressState[] {
    return [...this.#world.presses.values()].map((press) => ({
      callback_query_id: press.id,
      chat_id: press.chatId,
      message_id: press.messageId,
      user_id: press.user.id,
      data: press.data,
      update_id: press.updateId,
      answer: press.answer,
    }));
  }

  /** Presses stop on the draft that a private chat shows. */
  stopDraft({ chat_id }: { chat_id: number }): { draft_id: number; update_id: number | null } {
    const { chat } = this.#chat(chat_id);
    const draft = shownDraft(this.#world, chat_id);
    if (draft === undefined || chat.type !== 'private') throw badRequest('no draft is shown here');
    if (!draft.canStop) throw badRequest('the draft has no stop button: the bot sets can_stop');
    if (draft.stoppedAt !== null) throw badRequest('the draft was stopped already');
    draft.stoppedAt = this.#world.clock.now();
    const { threadId, draftId: draft_id } = draft;
    const thread = threadId === undefined ? {} : { message_thread_id: threadId };
    const update = this.#world.updates.push(
      'stopped_message_generation',
      { chat, ...thread, draft_id },
      { chatId: chat_id },
    );
    return { draft_id, update_id: update?.update_id ?? null };
  }

  /** All drafts, oldest first; `is_shown` says which one is seen now. */
  drafts({ chat_id }: { chat_id?: number } = {}): ShownDraft[] {
    return this.#world.drafts
      .filter(({ chatId }) => chat_id === undefined || chatId === chat_id)
      .map((draft) => ({
        chat_id: draft.chatId,
        draft_id: draft.draftId,
        thread_id: draft.threadId ?? null,
        text: draft.versions.at(-1)?.text ?? '',
        can_stop: draft.canStop,
        is_shown: shownDraft(this.#world, draft.chatId) === draft,
        stopped_at: draft.stoppedAt,
        history: structuredClone(draft.versions),
      }));
  }

  /** What the chat shows above the keyboard ("typing"), for five seconds. */
  typing({ chat_id }: { chat_id: number }): { action: string; thread_id: number | null } | null {
    const typing = this.#world.typing.get(chat_id);
    if (typing === undefined || typing.action === 'cancel') return null;
    if (this.#world.clock.now() - typing.at > 5000) return null;
    return { action: typing.action, thread_id: typing.threadId ?? null };
  }

  /** A person blocks the bot. */
  block({ user_id }: { user_id: number }): { update_id: number | null } {
    return this.#setStatus({ chat_id: user_id, user_id, bot: 'kicked' });
  }

  unblock({ user_id }: { user_id: number }): { update_id: number | null } {
    return this.#setStatus({ chat_id: user_id, user_id, bot: 'member' });
  }

  /** Adds the bot to a chat, makes it an administrator, or throws it out. */
  setBotStatus(change: { chat_id: number; user_id: number; bot: BotStatus }): {
    update_id: number | null;
  } {
    return this.#setStatus(change);
  }

  /** A group becomes a supergroup, with another id. */
  migrate({ chat_id }: { chat_id: number }): { chat_id: number } {
    const state = this.#chat(chat_id);
    const { chat } = state;
    if (chat.type !== 'group') throw badRequest('only a group can become a supergroup');
    const id = this.#world.newSupergroupId();
    const next = this.#world.addChat(
      { id, type: 'supergroup', title: chat.title },
      { bot: state.bot, isStarted: true },
    );
    next.members = new Set(state.members);
    const [first] = state.members;
    const from = first === undefined ? this.#world.botUser : this.#user(first);
    this.#serve(state, from, { migrate_to_chat_id: id });
    this.#serve(next, from, { migrate_from_chat_id: chat_id });
    state.migratedTo = id;
    return { chat_id: id };
  }

  /** What a person sees in a chat, or in one topic of it, in order. */
  readChat({
    chat_id,
    thread_id,
    deleted = false,
  }: {
    chat_id: number;
    thread_id?: number;
    deleted?: boolean;
  }): ShownMessage[] {
    const state = this.#chat(chat_id);
    return [...state.messages.values()]
      .filter(({ message }) => thread_id === undefined || message.message_thread_id === thread_id)
      .filter(({ deletedAt }) => deleted || deletedAt === null)
      .map((kept) => this.#shown(kept));
  }

  /** The bytes of a file that a message shows, in base64. */
  file({ file_id }: { file_id: string }): ShownFile & { base64: string } {
    const file = this.#world.files.get(file_id);
    if (file === undefined) throw badRequest(`there is no file ${file_id}`);
    return { ...this.#shownFile(file_id), base64: file.bytes.toString('base64') };
  }

  /** What the bot called, oldest first: at most the last 100,000 calls. */
  calls({ method, after = 0 }: { method?: string; after?: number } = {}): CallRecord[] {
    const name = method?.toLowerCase();
    return this.#calls()
      .filter(({ seq }) => seq > after)
      .filter((call) => name === undefined || call.method.toLowerCase() === name)
      .map((call) => structuredClone(call));
  }

  /** Every update that there was, and what became of it. */
  updates({ after = 0, full = false }: { after?: number; full?: boolean } = {}): (CausedUpdate & {
    update?: Update;
  })[] {
    return this.#world.updates.records
      .filter((record) => record.at > after)
      .map((record) => ({
        ...caused(record),
        ...(full ? { update: structuredClone(record.update) } : {}),
      }));
  }

  /** The ids that an offset confirmed: what the platform saw acknowledged. */
  confirmed(): number[] {
    return this.#world.updates.records
      .filter(({ state }) => state === 'confirmed')
      .map(({ update_id }) => update_id);
  }

  /** The whole truth at this moment. */
  snapshot(): Snapshot {
    return {
      now: this.#world.clock.now(),
      updates: this.#world.updates.records.map(caused),
      messages: this.#world.messages.map((kept) => this.#shown(kept)),
      presses: this.presses(),
      drafts: this.drafts(),
    };
  }

  /** Moves the clock ahead: updates, queries, drafts and links grow old, limits recover. */
  advanceClock({ ms }: { ms: number }): { now: number } {
    this.#world.clock.advance(ms);
    return { now: this.#world.clock.now() };
  }

  addFault(rule: FaultRule): { id: number } {
    return { id: this.#faults.add(rule) };
  }

  /** Without an id: all of them. */
  removeFault({ id }: { id?: number } = {}): void {
    this.#faults.remove(id);
  }

  faults(): FaultState[] {
    return this.#faults.rules;
  }

  /** The next `getUpdates` gets the last `back` updates again, whatever its offset says. */
  redeliver({ back }: { back: number }): { count: number } {
    return { count: this.#world.updates.redeliver(back) };
  }

  setLimits({ limits }: { limits: LimitsMode }): void {
    this.#limits.mode = limits;
  }

  #post(place: Place, fields: Partial<Message>, fileIds: string[] = []): Spoken {
    const { thread_id, reply_to } = place;
    const state = this.#chat(place.chat_id);
    if (state.migratedTo !== undefined) {
      throw badRequest(`the group is now the supergroup ${state.migratedTo}`);
    }
    const { chat } = state;
    const from = chat.type === 'channel' ? undefined : this.#speaker(state, place.user_id);
    if (chat.type === 'private') {
      if (state.bot === 'kicked') throw badRequest('the person blocked the bot: unblock it first');
      state.isStarted = true;
    } else if (from !== undefined) state.members.add(from.id);
    if (thread_id !== undefined && !state.topics.has(thread_id)) {
      throw badRequest(`chat ${chat.id} has no topic ${thread_id}`);
    }
    const target = reply_to === undefined ? undefined : this.#message(state, reply_to).message;
    const message: Message = {
      message_id: this.#world.nextMessageId(state),
      ...(from === undefined ? { sender_chat: chat } : { from }),
      chat,
      date: this.#world.clock.seconds(),
      ...topicFields(state, thread_id),
      ...(target === undefined ? {} : { reply_to_message: replied(target) }),
      ...fields,
    };
    return this.#publish(state, message, fileIds);
  }

  #serve(state: ChatState, from: User, fields: Partial<Message>): Spoken {
    const message_id = this.#world.nextMessageId(state);
    const date = this.#world.clock.seconds();
    return this.#publish(state, { message_id, from, chat: state.chat, date, ...fields }, []);
  }

  #publish(state: ChatState, message: Message, fileIds: string[]): Spoken {
    const version: Version = {
      text: message.text ?? message.caption ?? '',
      entities: message.entities ?? message.caption_entities ?? [],
      buttons: [],
      at: this.#world.clock.now(),
    };
    const kept = this.#world.keep(state, message, version, { isFromBot: false, fileIds });
    const update = this.#world.announce(state, kept, false);
    return { message_id: message.message_id, update_id: update?.update_id ?? null };
  }

  #setStatus({ chat_id, user_id, bot }: { chat_id: number; user_id: number; bot: BotStatus }): {
    update_id: number | null;
  } {
    const state = this.#chat(chat_id);
    const from = this.#user(user_id);
    if (state.bot === bot) return { update_id: null };
    return { update_id: this.#world.announceStatus(state, from, bot)?.update_id ?? null };
  }

  #chat(id: number): ChatState {
    const state = this.#world.chats.get(id);
    if (state === undefined) throw badRequest(`there is no chat ${id}: create it first`);
    return state;
  }

  #user(id: number): User {
    const user = this.#world.users.get(id);
    if (user === undefined) throw badRequest(`there is no user ${id}: create it first`);
    return user;
  }

  #speaker({ chat }: ChatState, userId: number | undefined): User {
    const id = userId ?? (chat.type === 'private' ? chat.id : undefined);
    if (id === undefined) throw badRequest('user_id says who does it: it is missing');
    if (chat.type === 'private' && id !== chat.id) {
      throw badRequest(`chat ${chat.id} is private: user ${id} cannot speak there`);
    }
    return this.#user(id);
  }

  #message(state: ChatState, id: number): KeptMessage {
    const kept = state.messages.get(id);
    if (kept === undefined || kept.deletedAt !== null) {
      throw badRequest(`chat ${state.chat.id} shows no message ${id}`);
    }
    return kept;
  }

  #shown(kept: KeptMessage): ShownMessage {
    const { message, versions } = kept;
    const last = versions.at(-1);
    return structuredClone({
      message_id: message.message_id,
      chat_id: message.chat.id,
      thread_id: message.message_thread_id ?? null,
      from: message.from ?? null,
      is_from_bot: kept.isFromBot,
      date: message.date,
      text: last?.text ?? '',
      entities: last?.entities ?? [],
      rich_message: message.rich_message ?? null,
      buttons: last?.buttons ?? [],
      reply_to: message.reply_to_message?.message_id ?? null,
      edits: versions.length - 1,
      history: versions,
      files: kept.fileIds.map((id) => this.#shownFile(id)),
      is_deleted: kept.deletedAt !== null,
      update_id: kept.updateId,
      message,
    });
  }

  #shownFile(fileId: string): ShownFile {
    const file = this.#world.files.get(fileId);
    const unknown = { file_id: fileId, name: null, mime: '', size: 0, sha256: '' };
    if (file === undefined) return unknown;
    const { file_id, name, mime, size, sha256 } = file;
    return { file_id, name: name ?? null, mime, size, sha256 };
  }
}

/** What Telegram marks itself, and what the writer marked. */
function withFound(text: string, own: MessageEntity[] = []): MessageEntity[] {
  const isFree = ({ offset, length }: MessageEntity): boolean =>
    !own.some((it) => it.offset < offset + length && offset < it.offset + it.length);
  return [...own, ...findEntities(text).filter(isFree)].sort((a, b) => a.offset - b.offset);
}

function caused(record: UpdateRecord): CausedUpdate {
  const { update } = record;
  const message =
    update.message ?? update.edited_message ?? update.channel_post ?? update.edited_channel_post;
  return {
    update_id: record.update_id,
    type: record.type,
    at: record.at,
    chat_id: record.chat_id ?? null,
    message_id: record.message_id ?? null,
    text: message?.text ?? message?.caption ?? update.callback_query?.data ?? null,
    offered: record.offered,
    returned: record.returned,
    confirmed: record.state === 'confirmed',
    confirmed_at: record.confirmed_at,
    state: record.state,
  };
}
