import type { ChatFullInfo, ChatMember, ForumTopic } from 'grammy/types';
import type { Call, Method } from './method.ts';
import { badRequest, forbidden, Refusal } from './refusal.ts';
import type { ChatState, Draft, World } from './world.ts';
import { beginTopic } from './topics.ts';

/** What a bot asks about chats and does to them. */
export const chatMethods: Record<string, Method> = {
  getChat({ world, parameters }): ChatFullInfo {
    const { chat } = findChat(world, parameters.text('chat_id'), 'read');
    const gifts = {
      unlimited_gifts: true,
      limited_gifts: true,
      unique_gifts: true,
      premium_subscription: true,
      gifts_from_channels: true,
    };
    return { ...chat, accent_color_id: 0, max_reaction_count: 11, accepted_gift_types: gifts };
  },
  getChatMember({ world, parameters }): ChatMember {
    const state = findChat(world, parameters.text('chat_id'), 'read');
    const userId = parameters.integer('user_id');
    if (userId === world.bot.id) return world.memberOf(state.bot);
    const user = userId === undefined ? undefined : world.users.get(userId);
    if (user === undefined) throw badRequest('user not found');
    const isMember = state.members.has(user.id) || state.chat.id === user.id;
    return { user, status: isMember ? 'member' : 'left' };
  },
  getChatMemberCount: ({ world, parameters }) =>
    findChat(world, parameters.text('chat_id'), 'read').members.size + 1,
  leaveChat({ world, parameters }) {
    const state = findChat(world, parameters.text('chat_id'), 'write');
    if (state.chat.type === 'private') {
      throw badRequest("chat member status can't be changed in private chats");
    }
    world.announceStatus(state, world.botUser, 'left');
    return true;
  },
  createForumTopic({ world, parameters }): ForumTopic {
    const state = findChat(world, parameters.text('chat_id'), 'write');
    if (!hasTopics(world, state)) throw badRequest('the chat is not a forum');
    if (state.chat.type !== 'private' && state.bot !== 'administrator') {
      throw badRequest('not enough rights to create a topic');
    }
    const name = parameters.text('name');
    if (name === '' || name.length > 128) throw badRequest('TOPIC_TITLE_EMPTY');
    const { message_thread_id } = beginTopic(world, state, world.botUser, name).topic;
    return { message_thread_id, name, icon_color: 7322096 };
  },
  sendChatAction({ world, parameters }) {
    const state = findChat(world, parameters.text('chat_id'), 'write');
    const action = parameters.text('action').toLowerCase();
    if (!actions.has(action)) throw badRequest('wrong parameter action in request');
    const threadId = parameters.integer('message_thread_id');
    checkThread(world, state, threadId);
    world.typing.set(state.chat.id, { action, at: world.clock.now(), threadId });
    return true;
  },
};

const actions = new Set(
  `typing upload_photo record_video upload_video record_voice upload_voice upload_document
   choose_sticker find_location record_video_note upload_video_note cancel`.split(/\s+/),
);

/**
 * The chat that a call names, if the bot may read it or write to it.
 * @throws Refusal in Telegram's words.
 */
export function findChat(world: World, chatId: string, access: 'read' | 'write'): ChatState {
  if (chatId === '') throw badRequest('chat_id is empty');
  const state = chatId.startsWith('@')
    ? [...world.chats.values()].find(({ chat }) => isNamed(chat, chatId.slice(1)))
    : world.chats.get(Number(chatId));
  if (state === undefined) throw badRequest('chat not found');
  if (state.migratedTo !== undefined) {
    throw new Refusal(400, 'Bad Request: group chat was upgraded to a supergroup chat', {
      migrate_to_chat_id: state.migratedTo,
    });
  }
  const { type } = state.chat;
  if (type === 'private') {
    if (!state.isStarted) {
      const isKnown = [...world.chats.values()].some(({ members }) => members.has(state.chat.id));
      throw isKnown
        ? forbidden("bot can't initiate conversation with a user")
        : badRequest('chat not found');
    }
    if (state.bot === 'kicked' && access === 'write') {
      throw forbidden('bot was blocked by the user');
    }
    return state;
  }
  if (state.bot === 'kicked') throw forbidden(`bot was kicked from the ${type} chat`);
  if (state.bot === 'left') throw forbidden(`bot is not a member of the ${type} chat`);
  return state;
}

function isNamed(chat: ChatState['chat'], name: string): boolean {
  return chat.type !== 'private' && chat.username?.toLowerCase() === name.toLowerCase();
}

export function hasTopics(world: World, { chat }: ChatState): boolean {
  return chat.type === 'private' ? world.hasPrivateTopics : chat.is_forum === true;
}

/**
 * Whether something may be posted to a thread.
 * @throws Refusal for a topic that is not there (General is none, it has no number) or closed.
 */
export function checkThread(world: World, state: ChatState, threadId: number | undefined): void {
  if (threadId === undefined || threadId === 0) return;
  const topic = hasTopics(world, state) ? state.topics.get(threadId) : undefined;
  if (topic === undefined) throw badRequest('message thread not found');
  if (topic.isClosed && state.bot !== 'administrator') throw badRequest('TOPIC_CLOSED');
}

/** The draft that a private chat shows now: half a minute long, until a message comes. */
export function shownDraft(world: World, chatId: number): Draft | undefined {
  const draft = world.drafts.findLast((it) => it.chatId === chatId);
  const at = draft?.versions.at(-1)?.at ?? 0;
  if (draft === undefined || draft.replacedAt !== null) return undefined;
  if (draft.stoppedAt !== null && !draft.keepOnStop) return undefined;
  return world.clock.now() - at < 30_000 ? draft : undefined;
}

/** The waiting time that the limits ask for. @throws Refusal 429. */
export function checkLimits({ limits }: Call, { chat }: ChatState): void {
  const seconds = limits.take(chat.id, chat.type === 'group' || chat.type === 'supergroup');
  if (seconds === 0) return;
  throw new Refusal(429, `Too Many Requests: retry after ${seconds}`, { retry_after: seconds });
}
