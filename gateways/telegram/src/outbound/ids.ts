import type { AnswerBody } from '@duragent/protocol/node';
import type { ReplyParameters } from 'grammy/types';
import { refusal } from './failure.ts';

/** An id as Telegram makes them; null: it is none. */
export function readId(id: string | undefined): number | null {
  if (id === undefined || !/^-?[1-9]\d{0,15}$/.test(id)) return null;
  const number = Number(id);
  return Number.isSafeInteger(number) ? number : null;
}

/** What the server is answered for an id that is none. */
export function noId(field: string): AnswerBody {
  return refusal('invalid_request', `${field} is no id of Telegram: those are whole numbers`);
}

/** The message that another one answers, in Telegram's words. */
export function replyTo(id: string | undefined): ReplyParameters | undefined {
  const messageId = readId(id);
  // It may be gone by now: then the message stands alone.
  return messageId === null
    ? undefined
    : { message_id: messageId, allow_sending_without_reply: true };
}
