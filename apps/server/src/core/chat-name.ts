import type { ChatAddress } from '@duragent/protocol';

/** A chat as people write it: `telegram:-100`, or `telegram:-100:7` for a thread; null for what is none. */
export function readChatName(text: string): ChatAddress | null {
  const [gateway = '', chat_id = '', thread_id, ...more] = text.split(':');
  if (gateway === '' || chat_id === '' || thread_id === '' || more.length > 0) return null;
  const address = { gateway, account: gateway, chat_id };
  return thread_id === undefined ? address : { ...address, thread_id };
}

/** The name of a chat, as `readChatName` reads it. */
export function chatNameOf({ gateway, chat_id, thread_id }: ChatAddress): string {
  return [gateway, chat_id, ...(thread_id === undefined ? [] : [thread_id])].join(':');
}
