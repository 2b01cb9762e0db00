import { createHash } from 'node:crypto';
import type {
  ChatType,
  GatewayEventOf,
  InboundEvent,
  MessageContent,
  Sender,
} from '@duragent/protocol';
import type { Chat, Message, MessageEntity, MessageOrigin, Update, User } from 'grammy/types';

/** Telegram gives bots no larger files. */
export const MAX_DOWNLOAD_BYTES = 20 * 1024 * 1024;

/** What an update has to know of the bot that got it. */
export interface BotIdentity {
  id: number;
  /** Without the `@`. */
  username: string;
}

/** A file that is fetched before its event is sent. */
export interface PendingFile {
  /** What it is, such as `voice`. */
  kind: string;
  fileId: string;
  name: string;
  mime: string;
  /** As Telegram announced it; undefined: it did not. */
  size: number | undefined;
}

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

function nameOf(person: { first_name?: string; last_name?: string }): string {
  return [person.first_name, person.last_name].filter((part) => part !== undefined).join(' ');
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

function readContent(
  message: Message,
  bot: BotIdentity,
): { content: MessageContent; file: PendingFile | null } | null {
  const text = readText(message, bot);
  const said = text === '' ? {} : { text };
  const file = readFile(message);
  if (file !== null) {
    if (file.size !== undefined && file.size > MAX_DOWNLOAD_BYTES) {
      const reason = `${file.kind}: larger than the 20 MB that Telegram gives to bots`;
      return { content: { ...said, unknown: reason }, file: null };
    }
    return { content: said, file };
  }
  const { location, venue, contact } = message;
  if (location !== undefined) {
    const { latitude, longitude } = location;
    const name = venue === undefined ? '' : [venue.title, venue.address].join(', ');
    const place = { latitude, longitude, ...(name === '' ? {} : { name: cut(name, 500) }) };
    return { content: { ...said, location: place }, file: null };
  }
  if (contact !== undefined) {
    const card = { name: cut(nameOf(contact), 500), phone: cut(contact.phone_number, 100) };
    return { content: { ...said, contact: card }, file: null };
  }
  const unknown = otherKinds.find((kind) => message[kind] !== undefined);
  if (unknown !== undefined) return { content: { ...said, unknown }, file: null };
  return text === '' ? null : { content: said, file: null };
}

/** What people send and this gateway cannot read. What is nowhere here is a service message. */
const otherKinds = [
  'poll',
  'dice',
  'game',
  'story',
  'checklist',
  'paid_media',
  'giveaway',
  'invoice',
  'rich_message',
] as const satisfies (keyof Message)[];

/** The text, without this bot's name behind a command: `/new@thisbot` says `/new`. */
function readText(message: Message, bot: BotIdentity): string {
  const text = message.text ?? message.caption;
  if (text === undefined) {
    return message.rich_message === undefined ? '' : blockText(message.rich_message).trim();
  }
  const command = (message.entities ?? message.caption_entities ?? []).find(
    (entity) => entity.type === 'bot_command' && entity.offset === 0,
  );
  if (command === undefined || !isAddressed(entityText(text, command), bot)) return text;
  return text.slice(0, text.indexOf('@')) + text.slice(command.length);
}

/** The words of a rich message's block, a line for each part. */
function blockText(block: unknown, depth = 0): string {
  if (depth > MAX_RICH_DEPTH || !isRecord(block)) return '';
  const { summary, text, expression, caption, blocks, items, cells } = block;
  const lines = [summary, text, expression, caption].map((part) => inlineText(part));
  for (const children of [blocks, items]) {
    if (Array.isArray(children))
      lines.push(...children.map((child) => blockText(child, depth + 1)));
  }
  if (Array.isArray(cells)) {
    const rows = cells.filter((row) => Array.isArray(row));
    lines.push(...rows.map((row) => row.map((cell) => inlineText(cell)).join(' | ')));
  }
  return lines.filter((line) => line !== '').join('\n');
}

/** Telegram nests up to 16 levels. */
const MAX_RICH_DEPTH = 40;

function inlineText(node: unknown, depth = 0): string {
  if (typeof node === 'string') return node;
  if (depth > MAX_RICH_DEPTH) return '';
  if (Array.isArray(node)) return node.map((piece) => inlineText(piece, depth + 1)).join('');
  return isRecord(node) ? inlineText(node['text'] ?? node['expression'], depth + 1) : '';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function entityText(text: string, entity: MessageEntity): string {
  return text.slice(entity.offset, entity.offset + entity.length);
}

/** Whether a command such as `/new@thisbot` names this bot. */
function isAddressed(command: string, bot: BotIdentity): boolean {
  const [, name] = command.split('@');
  return name?.toLowerCase() === bot.username.toLowerCase();
}

function mentions(message: Message, bot: BotIdentity): boolean {
  const text = message.text ?? message.caption ?? '';
  return (message.entities ?? message.caption_entities ?? []).some((entity) => {
    switch (entity.type) {
      case 'mention':
        return entityText(text, entity).toLowerCase() === `@${bot.username.toLowerCase()}`;
      case 'text_mention':
        return entity.user.id === bot.id;
      case 'bot_command':
        return isAddressed(entityText(text, entity), bot);
      default:
        return false;
    }
  });
}

function readFile(message: Message): PendingFile | null {
  // An animation is a document too, and a live photo a photo: the richer kind comes first.
  const { animation, photo, voice, audio, video, video_note: note, sticker, document } = message;
  if (animation !== undefined) return file('animation', animation, 'animation.mp4', 'video/mp4');
  const largest = photo?.reduce((best, size) => (area(size) > area(best) ? size : best));
  if (largest !== undefined) return file('photo', largest, 'photo.jpg', 'image/jpeg');
  if (voice !== undefined) return file('voice', voice, 'voice.ogg', 'audio/ogg');
  if (audio !== undefined) return file('audio', audio, 'audio.mp3', 'audio/mpeg');
  if (video !== undefined) return file('video', video, 'video.mp4', 'video/mp4');
  if (note !== undefined) return file('video_note', note, 'video_note.mp4', 'video/mp4');
  if (sticker !== undefined) {
    if (sticker.is_video) return file('sticker', sticker, 'sticker.webm', 'video/webm');
    return sticker.is_animated
      ? file('sticker', sticker, 'sticker.tgs', 'application/x-tgsticker')
      : file('sticker', sticker, 'sticker.webp', 'image/webp');
  }
  if (document !== undefined) {
    return file('document', document, 'document', 'application/octet-stream');
  }
  return null;
}

function area(size: { width: number; height: number }): number {
  return size.width * size.height;
}

function file(
  kind: string,
  of: { file_id: string; file_size?: number; file_name?: string; mime_type?: string },
  name: string,
  mime: string,
): PendingFile {
  return {
    kind,
    fileId: of.file_id,
    name: cleanName(of.file_name ?? '') || name,
    mime: cut(of.mime_type ?? mime, 255),
    size: of.file_size,
  };
}

/** A name without folders, and without what terminals and file systems take amiss. */
export function cleanName(name: string): string {
  const last = name.split(/[\\/]/).at(-1) ?? '';
  const clean = last.replace(/[\p{Cc}\p{Cf}\p{Cs}<>:"|?*]/gu, '_').replace(/^[.\s]+|[.\s]+$/g, '');
  // Bytes, for file systems take 255 of them; characters stay whole.
  let kept = '';
  for (const character of clean) {
    if (Buffer.byteLength(kept + character) > 200) break;
    kept += character;
  }
  return kept;
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

function cut(text: string, length: number): string {
  return text.length <= length ? text : text.slice(0, length);
}
