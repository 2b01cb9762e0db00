import type { ChatAddress } from '@duragent/protocol';

/** One word for a chat or thread, to compare and to look up by. */
export function chatKey({
  gateway,
  account,
  chat_id,
  thread_id,
}: Omit<ChatAddress, 'thread_id'> & { thread_id?: string | undefined }): string {
  return JSON.stringify([gateway, account, chat_id, thread_id ?? null]);
}

/** Only the address of something that has one. */
export function addressOf({ gateway, account, chat_id, thread_id }: ChatAddress): ChatAddress {
  return { gateway, account, chat_id, ...(thread_id === undefined ? {} : { thread_id }) };
}
