import type { ChatAddress } from '@duragent/protocol';

type Address = Omit<ChatAddress, 'thread_id'> & { thread_id?: string | undefined };

/** One word for a chat or thread, to look up and to name things by. */
export function chatKey({ gateway, account, chat_id, thread_id }: Address): string {
  return JSON.stringify([gateway, account, chat_id, thread_id ?? null]);
}

/** Whether two are one chat or thread. */
export function isSameChat(one: Address, other: Address): boolean {
  return (
    one.chat_id === other.chat_id &&
    one.thread_id === other.thread_id &&
    one.gateway === other.gateway &&
    one.account === other.account
  );
}

/** Only the address of something that has one. */
export function addressOf({ gateway, account, chat_id, thread_id }: ChatAddress): ChatAddress {
  return { gateway, account, chat_id, ...(thread_id === undefined ? {} : { thread_id }) };
}
