import { Buffer } from 'node:buffer';
import type { Contact, Location, Message, MessageEntity, Update } from 'grammy/types';
import type { MediaDetails, MediaKind } from '../files.ts';
import { findEntities } from '../find-entities.ts';
import { badRequest } from '../refusal.ts';
import { replied, topicFields } from '../topics.ts';
import { updateTypes } from '../update-queue.ts';
import type { World } from '../world.ts';
import { chatOf, messageOf, speakerOf } from './look-up.ts';
import { publish, type Spoken } from './publish.ts';
import { type ShownFile, shownFile } from './sight.ts';

/** Where a person speaks. */
export interface Place {
  chat_id: number;
  /** Default: the chat's own person, in a private chat. */
  user_id?: number;
  thread_id?: number;
  reply_to?: number;
}

/** What people say, change and take back. */
export function speech(world: World) {
  return {
    /** Says something. Mentions, commands and links are marked as Telegram marks them; `entities` adds others. */
    say(spoken: Place & { text: string; entities?: MessageEntity[] }): Spoken {
      if (spoken.text.trim() === '') throw badRequest('a person cannot send an empty text');
      const entities = withFound(spoken.text, spoken.entities);
      return post(world, spoken, {
        text: spoken.text,
        ...(entities.length > 0 ? { entities } : {}),
      });
    },

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
      const file = world.files.add(kind, content, about);
      const entities = caption === undefined ? [] : withFound(caption);
      const fields: Partial<Message> = {
        ...world.files.media(kind, file, sent),
        ...(caption === undefined ? {} : { caption }),
        ...(entities.length > 0 ? { caption_entities: entities } : {}),
      };
      const spoken = post(world, sent, fields, [file.file_id]);
      return { ...spoken, file: shownFile(world, file.file_id) };
    },

    sendLocation({
      latitude,
      longitude,
      ...place
    }: Place & Pick<Location, 'latitude' | 'longitude'>): Spoken {
      return post(world, place, { location: { latitude, longitude } });
    },

    sendContact({
      phone_number,
      first_name,
      ...place
    }: Place & Pick<Contact, 'phone_number' | 'first_name'>): Spoken {
      return post(world, place, { contact: { phone_number, first_name } });
    },

    /** Any message that has no function of its own: the fields as the Bot API names them. */
    sendOther({ fields, ...place }: Place & { fields: Partial<Message> }): Spoken {
      return post(world, place, fields);
    },

    /** Has the bot get an update that was recorded elsewhere, with an id of this simulator. */
    deliver({ update }: { update: Partial<Update> }): { update_id: number | null } {
      const body = { ...structuredClone(update) };
      delete body.update_id;
      const type = updateTypes.find((known) => body[known] !== undefined);
      if (type === undefined) throw badRequest('the update has no field that is simulated');
      const message = body.message ?? body.edited_message ?? body.channel_post;
      const about = message && { chatId: message.chat.id, messageId: message.message_id };
      return { update_id: world.updates.pushRaw(type, body, about)?.update_id ?? null };
    },

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
      const state = chatOf(world, chat_id);
      const kept = messageOf(state, message_id);
      if (kept.isFromBot) throw badRequest('a person cannot edit what the bot said');
      const entities = withFound(text);
      const next: Message = { ...kept.message, edit_date: world.clock.seconds() };
      const isCaption = next.text === undefined;
      for (const field of ['text', 'entities', 'caption', 'caption_entities'] as const) {
        delete next[field];
      }
      if (isCaption) next.caption = text;
      else next.text = text;
      if (entities.length > 0) next[isCaption ? 'caption_entities' : 'entities'] = entities;
      kept.message = next;
      kept.versions.push({ text, entities, buttons: [], at: world.clock.now() });
      const update = world.announce(state, kept, true);
      return { message_id, update_id: update?.update_id ?? null };
    },

    /** Takes back any message. A bot is never told. */
    deleteMessage({ chat_id, message_id }: { chat_id: number; message_id: number }): void {
      messageOf(chatOf(world, chat_id), message_id).deletedAt = world.clock.now();
    },
  };
}

function post(
  world: World,
  place: Place,
  fields: Partial<Message>,
  fileIds: string[] = [],
): Spoken {
  const { thread_id, reply_to } = place;
  const state = chatOf(world, place.chat_id);
  if (state.migratedTo !== undefined) {
    throw badRequest(`the group is now the supergroup ${state.migratedTo}`);
  }
  const { chat } = state;
  const from = chat.type === 'channel' ? undefined : speakerOf(world, state, place.user_id);
  if (chat.type === 'private') {
    if (state.bot === 'kicked') throw badRequest('the person blocked the bot: unblock it first');
    state.isStarted = true;
  } else if (from !== undefined) state.members.add(from.id);
  if (thread_id !== undefined && !state.topics.has(thread_id)) {
    throw badRequest(`chat ${chat.id} has no topic ${thread_id}`);
  }
  const target = reply_to === undefined ? undefined : messageOf(state, reply_to).message;
  const message: Message = {
    message_id: world.nextMessageId(state),
    ...(from === undefined ? { sender_chat: chat } : { from }),
    chat,
    date: world.clock.seconds(),
    ...topicFields(state, thread_id),
    ...(target === undefined ? {} : { reply_to_message: replied(target) }),
    ...fields,
  };
  return publish(world, state, message, fileIds);
}

/** What Telegram marks itself, and what the writer marked. */
function withFound(text: string, own: MessageEntity[] = []): MessageEntity[] {
  const isFree = ({ offset, length }: MessageEntity): boolean =>
    !own.some((it) => it.offset < offset + length && offset < it.offset + it.length);
  return [...own, ...findEntities(text).filter(isFree)].sort((a, b) => a.offset - b.offset);
}
