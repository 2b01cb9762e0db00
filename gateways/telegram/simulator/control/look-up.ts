import type { User } from 'grammy/types';
import { badRequest } from '../refusal.ts';
import type { ChatState, KeptMessage, World } from '../world.ts';

/** The chat with this id; like all of these it throws a Refusal where there is none. */
export function chatOf(world: World, id: number): ChatState {
  const state = world.chats.get(id);
  if (state === undefined) throw badRequest(`there is no chat ${id}: create it first`);
  return state;
}

export function userOf(world: World, id: number): User {
  const user = world.users.get(id);
  if (user === undefined) throw badRequest(`there is no user ${id}: create it first`);
  return user;
}

/** Who does something in a chat: in a private one it can only be its person. */
export function speakerOf(world: World, { chat }: ChatState, userId: number | undefined): User {
  const id = userId ?? (chat.type === 'private' ? chat.id : undefined);
  if (id === undefined) throw badRequest('user_id says who does it: it is missing');
  if (chat.type === 'private' && id !== chat.id) {
    throw badRequest(`chat ${chat.id} is private: user ${id} cannot speak there`);
  }
  return userOf(world, id);
}

/** A message that people see: one that was deleted is none. */
export function messageOf(state: ChatState, id: number): KeptMessage {
  const kept = state.messages.get(id);
  if (kept === undefined || kept.deletedAt !== null) {
    throw badRequest(`chat ${state.chat.id} shows no message ${id}`);
  }
  return kept;
}
