import type { Chat, User } from 'grammy/types';
import { hasTopics } from '../methods-chats.ts';
import { badRequest } from '../refusal.ts';
import { beginTopic } from '../topics.ts';
import type { BotStatus, World } from '../world.ts';
import { chatOf, speakerOf, userOf } from './look-up.ts';
import { publishService } from './publish.ts';

/** Who there is, where they meet, and how the bot stands there. */
export function people(world: World) {
  return {
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
        id: given.id ?? world.newUserId(),
      };
      if (world.users.has(user.id)) throw badRequest(`there is a user ${user.id} already`);
      world.users.set(user.id, user);
      const { id, first_name, last_name, username } = user;
      const chat: Chat = { id, type: 'private', first_name };
      if (last_name !== undefined) chat.last_name = last_name;
      if (username !== undefined) chat.username = username;
      world.addChat(chat, { bot: 'member', isStarted: started });
      return user;
    },

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
      const fresh = type === 'group' ? world.newGroupId() : world.newSupergroupId();
      const id = about.id ?? fresh;
      if (world.chats.has(id)) throw badRequest(`there is a chat ${id} already`);
      const named = username === undefined ? {} : { username };
      const chat: Chat =
        type === 'group'
          ? { id, type, title }
          : type === 'channel'
            ? { id, type, title, ...named }
            : { id, type, title, ...named, ...(about.is_forum === true ? { is_forum: true } : {}) };
      const joining = members.map((member) => userOf(world, member));
      const state = world.addChat(chat, { bot: 'left', isStarted: true });
      for (const { id: member } of joining) state.members.add(member);
      const [first] = joining;
      if (bot !== 'left' && first !== undefined) world.announceStatus(state, first, bot);
      else state.bot = bot;
      return chat;
    },

    addMember({ chat_id, user_id }: { chat_id: number; user_id: number }): void {
      chatOf(world, chat_id).members.add(userOf(world, user_id).id);
    },

    /** A topic of a forum; in private chats with `privateTopics` too. */
    createTopic({ chat_id, user_id, name }: { chat_id: number; user_id?: number; name: string }): {
      message_thread_id: number;
      update_id: number | null;
    } {
      const state = chatOf(world, chat_id);
      if (!hasTopics(world, state)) {
        throw badRequest('the chat has no topics: create it with is_forum');
      }
      const { topic, kept } = beginTopic(world, state, speakerOf(world, state, user_id), name);
      const update = world.announce(state, kept, false);
      return { message_thread_id: topic.message_thread_id, update_id: update?.update_id ?? null };
    },

    /** `is_deleted`: it is gone, and what is sent to it is refused. */
    changeTopic(change: {
      chat_id: number;
      message_thread_id: number;
      is_closed?: boolean;
      is_deleted?: boolean;
    }): void {
      const { topics } = chatOf(world, change.chat_id);
      const topic = topics.get(change.message_thread_id);
      if (topic === undefined) throw badRequest(`there is no topic ${change.message_thread_id}`);
      if (change.is_closed !== undefined) topic.isClosed = change.is_closed;
      if (change.is_deleted === true) topics.delete(change.message_thread_id);
    },

    /** A person blocks the bot. */
    block({ user_id }: { user_id: number }): { update_id: number | null } {
      return setStatus(world, { chat_id: user_id, user_id, bot: 'kicked' });
    },

    unblock({ user_id }: { user_id: number }): { update_id: number | null } {
      return setStatus(world, { chat_id: user_id, user_id, bot: 'member' });
    },

    /** Adds the bot to a chat, makes it an administrator, or throws it out. */
    setBotStatus(change: { chat_id: number; user_id: number; bot: BotStatus }): {
      update_id: number | null;
    } {
      return setStatus(world, change);
    },

    /** A group becomes a supergroup, with another id. */
    migrate({ chat_id }: { chat_id: number }): { chat_id: number } {
      const state = chatOf(world, chat_id);
      const { chat } = state;
      if (chat.type !== 'group') throw badRequest('only a group can become a supergroup');
      const id = world.newSupergroupId();
      const next = world.addChat(
        { id, type: 'supergroup', title: chat.title },
        { bot: state.bot, isStarted: true },
      );
      next.members = new Set(state.members);
      const [first] = state.members;
      const from = first === undefined ? world.botUser : userOf(world, first);
      publishService(world, state, from, { migrate_to_chat_id: id });
      publishService(world, next, from, { migrate_from_chat_id: chat_id });
      state.migratedTo = id;
      return { chat_id: id };
    },
  };
}

function setStatus(
  world: World,
  { chat_id, user_id, bot }: { chat_id: number; user_id: number; bot: BotStatus },
): { update_id: number | null } {
  const state = chatOf(world, chat_id);
  const from = userOf(world, user_id);
  if (state.bot === bot) return { update_id: null };
  return { update_id: world.announceStatus(state, from, bot)?.update_id ?? null };
}
