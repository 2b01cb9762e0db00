import type { Message, User } from 'grammy/types';
import type { ChatState, KeptMessage, Topic, World } from './world.ts';

/** Begins a topic: its number is that of the service message which says so. */
export function beginTopic(
  world: World,
  state: ChatState,
  from: User,
  name: string,
): { topic: Topic; kept: KeptMessage } {
  const id = world.nextMessageId(state);
  const created: Message = {
    message_id: id,
    from,
    chat: state.chat,
    date: world.clock.seconds(),
    message_thread_id: id,
    forum_topic_created: { name, icon_color: 7322096 },
    is_topic_message: true,
  };
  const topic: Topic = { message_thread_id: id, name, isClosed: false, created };
  state.topics.set(id, topic);
  const version = { text: '', entities: [], buttons: [], at: world.clock.now() };
  return {
    topic,
    kept: world.keep(state, created, version, { isFromBot: from.id === world.bot.id }),
  };
}

/** What Telegram adds to a message in a topic; one that replies to nothing replies to the topic's beginning. */
export function topicFields(state: ChatState, threadId: number | undefined): Partial<Message> {
  const topic = threadId === undefined ? undefined : state.topics.get(threadId);
  if (topic === undefined) return {};
  return {
    message_thread_id: topic.message_thread_id,
    is_topic_message: true,
    // Telegram really says so, and a bot that began the topic must not take it for a reply to it.
    ...(state.chat.type === 'private' ? {} : { reply_to_message: replied(topic.created) }),
  };
}

/** A message as it stands in the replies to it: without what it replied to itself. */
export function replied(message: Message): NonNullable<Message['reply_to_message']> {
  return { ...message, reply_to_message: undefined };
}
