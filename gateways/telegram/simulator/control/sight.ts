import type { InlineKeyboardMarkup, Message, MessageEntity, RichMessage, User } from 'grammy/types';
import { badRequest } from '../refusal.ts';
import type { KeptMessage, Version, World } from '../world.ts';
import { chatOf } from './look-up.ts';

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

/** What people see in their chats. */
export function sight(world: World) {
  return {
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
      const state = chatOf(world, chat_id);
      return [...state.messages.values()]
        .filter(({ message }) => thread_id === undefined || message.message_thread_id === thread_id)
        .filter(({ deletedAt }) => deleted || deletedAt === null)
        .map((kept) => shownMessage(world, kept));
    },

    /** The bytes of a file that a message shows, in base64. */
    file({ file_id }: { file_id: string }): ShownFile & { base64: string } {
      const file = world.files.get(file_id);
      if (file === undefined) throw badRequest(`there is no file ${file_id}`);
      return { ...shownFile(world, file_id), base64: file.bytes.toString('base64') };
    },
  };
}

/** A message with its past, as a copy. */
export function shownMessage(world: World, kept: KeptMessage): ShownMessage {
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
    files: kept.fileIds.map((id) => shownFile(world, id)),
    is_deleted: kept.deletedAt !== null,
    update_id: kept.updateId,
    message,
  });
}

/** A file that is not kept any more has an id only. */
export function shownFile(world: World, fileId: string): ShownFile {
  const file = world.files.get(fileId);
  const unknown = { file_id: fileId, name: null, mime: '', size: 0, sha256: '' };
  if (file === undefined) return unknown;
  const { file_id, name, mime, size, sha256 } = file;
  return { file_id, name: name ?? null, mime, size, sha256 };
}
