import type { CallbackQuery, ChatType, MessageReceived } from '@duragent/protocol';

/** Where something in a chat came from and who caused it, by the platform's immutable ids only. */
export interface Arrival {
  /** The gateway's name in duragent.yaml. */
  gateway: string;
  chatType: ChatType;
  chatId: string;
  threadId?: string;
  senderId: string;
  isBot: boolean;
}

/**
 * Where an event of a gateway came from, whatever it is: a message, an edit, a command, a file, a
 * press. Names are not looked at. `known` is the type of the chat as it was learnt before, for a
 * press that does not say it. @returns null where the type is not known: nobody can be let in then.
 */
export function arrivalOf(
  gateway: string,
  event: MessageReceived | CallbackQuery,
  known: ChatType | null = null,
): Arrival | null {
  const thread = event.thread_id === undefined ? {} : { threadId: event.thread_id };
  const isBot = event.sender.is_bot;
  if (event.type === 'message_received') {
    const { chat_type: chatType, chat_id: chatId, sender_id: senderId } = event.routing;
    return { gateway, chatType, chatId, ...thread, senderId, isBot };
  }
  const chatType = event.chat_type ?? known;
  if (chatType === null) return null;
  return { gateway, chatType, chatId: event.chat_id, ...thread, senderId: event.sender.id, isBot };
}

/** The sender as agents' files and the access book name them: `<gateway>:<platform id>`. */
export function senderOf({ gateway, senderId }: Arrival): string {
  return `${gateway}:${senderId}`;
}
