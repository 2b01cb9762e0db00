import type { Message, User } from 'grammy/types';
import type { ChatState, Version, World } from '../world.ts';

/** What a person did: the message, and the update that tells the bot; null when the bot is not told. */
export interface Spoken {
  message_id: number;
  update_id: number | null;
}

/** Shows a message of a person in its chat, and tells the bot. */
export function publish(
  world: World,
  state: ChatState,
  message: Message,
  fileIds: string[],
): Spoken {
  const version: Version = {
    text: message.text ?? message.caption ?? '',
    entities: message.entities ?? message.caption_entities ?? [],
    buttons: [],
    at: world.clock.now(),
  };
  const kept = world.keep(state, message, version, { isFromBot: false, fileIds });
  const update = world.announce(state, kept, false);
  return { message_id: message.message_id, update_id: update?.update_id ?? null };
}

/** Shows what a chat says by itself of something that a person did. */
export function publishService(
  world: World,
  state: ChatState,
  from: User,
  fields: Partial<Message>,
): Spoken {
  const message_id = world.nextMessageId(state);
  const date = world.clock.seconds();
  return publish(world, state, { message_id, from, chat: state.chat, date, ...fields }, []);
}
