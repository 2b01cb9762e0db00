import { createHash } from 'node:crypto';
import type {
  ChatType,
  GatewayEventOf,
  InboundEvent,
  MessageContent,
  Sender,
} from '@duragent/protocol';
import type { Chat, Message, MessageOrigin, Update, User } from 'grammy/types';
import { type BotIdentity, mentions, nameOf, readContent } from './inbound/content.ts';
import { cut } from './inbound/cut.ts';
import type { PendingFile } from './inbound/file.ts';

/** What an update means. */
export type ReadUpdate =
  | { kind: 'event'; event: InboundEvent; file: PendingFile | null }
  /** Nothing that the server has to know; the update is confirmed. */
  | { kind: 'ignored'; reason: string };

type MessageReceived = GatewayEventOf<'message_received'>;

/** The updates that are asked for. Others are confirmed unread. */
export const wantedUpdates = [
  'message',
  'edited_message',
  'channel_post',
  'edited_channel_post',
  'callback_query',
  'stopped_message_generation',
] as const satisfies (keyof Update)[];

/**
 * What an update says, as an event without its cursor. Pure: the same update gives the same event,
 * and the same `event_id` on every redelivery (ids of updates start anew after an idle week).
 */
export function readUpdate(update: Update, bot: BotIdentity, receivedAt: Date): ReadUpdate {
  const edited = update.edited_message ?? update.edited_channel_post;
  const message = edited ?? update.message ?? update.channel_post;
  if (message !== undefined) return readMessage(message, { edited: edited !== undefined, bot });
  if (update.callback_query !== undefined) return readCallback(update.callback_query);
  if (update.stopped_message_generation !== undefined) {
    return readStop(update.stopped_message_generation, update.update_id, receivedAt);
  }
  const kind = Object.keys(update).find((key) => key !== 'update_id') ?? 'nothing';
  return ignored(kind);
}

function ignored(reason: string): ReadUpdate {
  return { kind: 'ignored', reason };
}

function readMessage(message: Message, how: { edited: boolean; bot: BotIdentity }): ReadUpdate {
  const { chat } = message;
  if (message.migrate_to_chat_id !== undefined) {
    return migrated(chat.id, message.migrate_to_chat_id);
  }
  // The same fact, told in the new group: the event has the same id.
  if (message.migrate_from_chat_id !== undefined) {
    return migrated(message.migrate_from_chat_id, chat.id);
  }
  if (message.from?.id === how.bot.id && message.sender_chat === undefined) {
    return ignored('a message of this bot');
  }
  const sender = readSender(message);
  if (sender === null) return ignored('a message of nobody');
  // One that is shared live moves every few seconds: nobody said anything.
  if (how.edited && message.location !== undefined) return ignored('a place that moved');
  const body = readContent(message, how.bot);
  if (body === null) return ignored('a service message');

  const type = chatTypes[chat.type];
  const chatId = String(chat.id);
  const answered = answeredMessage(message);
  const event: MessageReceived = {
    type: 'message_received',
    event_id: `m:${chatId}:${message.message_id}:${versionOf(message, body)}`,
    message_id: String(message.message_id),
    edited: how.edited,
    chat_id: chatId,
    ...threadOf(message),
    sender,
    content: body.content,
    routing: { channel: 'telegram', chat_type: type, chat_id: chatId, sender_id: sender.id },
    ...(answered === undefined ? {} : { reply_to: String(answered.message_id) }),
    mentions_bot: mentions(message, how.bot),
    reply_to_bot: answered?.from?.id === how.bot.id,
    timestamp: instant(message.edit_date ?? message.date),
    metadata: readMetadata(message),
  };
  return { kind: 'event', event, file: body.file };
}

/** Names what a message says now: seconds alone would make one of two edits that follow closely. */
function versionOf(
  { edit_date: date }: Message,
  { content, file: sent }: { content: MessageContent; file: PendingFile | null },
): string {
  if (date === undefined) return '0';
  const said = createHash('sha256').update(JSON.stringify([content, sent?.fileId]));
  return `${date}:${said.digest('hex').slice(0, 8)}`;
}

const chatTypes: Readonly<Record<Chat['type'], ChatType>> = {
  private: 'dm',
  group: 'group',
  supergroup: 'group',
  channel: 'channel',
};

/** What a group's new id is announced with; the id is the same whoever tells it. */
export function migration(from: number, to: number): GatewayEventOf<'chat_migrated'> {
  return {
    type: 'chat_migrated',
    event_id: `g:${from}:${to}`,
    chat_id: String(from),
    new_chat_id: String(to),
  };
}

function migrated(from: number, to: number): ReadUpdate {
  return { kind: 'event', event: migration(from, to), file: null };
}

/** For a person, the person; for channels and admins who hide behind their group, the chat. */
function readSender(message: Message): Sender | null {
  const chat = message.sender_chat ?? (message.from === undefined ? message.chat : undefined);
  if (chat !== undefined) {
    const name = chat.title ?? nameOf(chat);
    return {
      id: String(chat.id),
      ...(chat.username === undefined ? {} : { username: cut(chat.username, 200) }),
      ...(name === '' ? {} : { display_name: cut(name, 200) }),
      is_bot: false,
    };
  }
  return message.from === undefined ? null : readUser(message.from);
}

function readUser(user: User): Sender {
  const name = nameOf(user);
  return {
    id: String(user.id),
    ...(user.username === undefined ? {} : { username: cut(user.username, 200) }),
    ...(name === '' ? {} : { display_name: cut(name, 200) }),
    is_bot: user.is_bot,
  };
}

/** Every message of a topic "answers" the one that opened it: that is no answer. */
function answeredMessage(message: Message): Message | undefined {
  const answered = message.reply_to_message;
  if (answered === undefined || answered.forum_topic_created !== undefined) return undefined;
  return answered;
}

/** Replies in ordinary groups carry a thread id too; only a topic is a thread of its own. */
function threadOf(message: Message): { thread_id?: string } {
  return message.is_topic_message === true && message.message_thread_id !== undefined
    ? { thread_id: String(message.message_thread_id) }
    : {};
}

/** Facts beside the text, for those who want them; all bounded. */
function readMetadata(message: Message): Record<string, unknown> {
  const { forward_origin: origin, quote, media_group_id: album, sticker, via_bot: via } = message;
  return {
    ...(origin === undefined ? {} : { forwarded_from: cut(originName(origin), 200) }),
    ...(quote === undefined ? {} : { quote: cut(quote.text, 1024) }),
    ...(album === undefined ? {} : { album: cut(album, 100) }),
    ...(sticker?.emoji === undefined ? {} : { sticker: cut(sticker.emoji, 20) }),
    ...(via?.username === undefined ? {} : { via_bot: cut(via.username, 100) }),
  };
}

function originName(origin: MessageOrigin): string {
  switch (origin.type) {
    case 'user':
      return nameOf(origin.sender_user);
    case 'hidden_user':
      return origin.sender_user_name;
    case 'chat':
      return origin.sender_chat.title ?? String(origin.sender_chat.id);
    case 'channel':
      return origin.chat.title ?? String(origin.chat.id);
  }
}

function readCallback(query: NonNullable<Update['callback_query']>): ReadUpdate {
  const { message, data } = query;
  // Buttons of inline messages and of games: this gateway posts none.
  if (message === undefined || data === undefined) return ignored('a button of another kind');
  const event: GatewayEventOf<'callback_query'> = {
    type: 'callback_query',
    event_id: `c:${query.id}`,
    callback_query_id: query.id,
    chat_id: String(message.chat.id),
    ...threadOf(message),
    chat_type: chatTypes[message.chat.type],
    sender: readUser(query.from),
    message_id: String(message.message_id),
    data: cut(data, 200),
  };
  return { kind: 'event', event, file: null };
}

/** The stop button of a draft: what typing `/stop` would be. Telegram names neither user nor time. */
function readStop(
  stopped: NonNullable<Update['stopped_message_generation']>,
  updateId: number,
  receivedAt: Date,
): ReadUpdate {
  const { chat } = stopped;
  const chatId = String(chat.id);
  const thread = stopped.message_thread_id;
  const name = nameOf(chat);
  const event: MessageReceived = {
    type: 'message_received',
    event_id: `s:${chatId}:${stopped.draft_id}:${updateId}`,
    message_id: `draft:${stopped.draft_id}`,
    edited: false,
    chat_id: chatId,
    ...(thread === undefined ? {} : { thread_id: String(thread) }),
    sender: {
      // A private chat has the id of its user.
      id: chatId,
      ...(chat.username === undefined ? {} : { username: cut(chat.username, 200) }),
      ...(name === '' ? {} : { display_name: cut(name, 200) }),
      is_bot: false,
    },
    content: { text: '/stop' },
    routing: { channel: 'telegram', chat_type: 'dm', chat_id: chatId, sender_id: chatId },
    mentions_bot: false,
    reply_to_bot: false,
    timestamp: receivedAt.toISOString(),
    metadata: {},
  };
  return { kind: 'event', event, file: null };
}

function instant(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
