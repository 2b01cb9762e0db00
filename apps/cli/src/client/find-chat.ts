import { DuragentError, namePattern, type SessionView } from '@duragent/protocol';
import { sanitizeLine } from '../terminal/sanitize.ts';
import type { CallOptions } from './api-calls.ts';
import type { SessionClient } from './session-client.ts';

/** Chats that an error names. */
const NAMED = 8;

/** `<gateway>:<chat>` or `<gateway>:<chat>:<thread>`; null: this names no chat. */
export function readChatName(text: string): { gateway: string; rest: string } | null {
  const at = text.indexOf(':');
  const gateway = text.slice(0, Math.max(at, 0));
  const rest = text.slice(at + 1);
  return namePattern.test(gateway) && rest !== '' ? { gateway, rest } : null;
}

/**
 * The session that the chat of this name shows, or that has this name as its key; ids of chats may
 * hold colons themselves. @throws DuragentError session_not_found, naming the chats that have one
 */
export async function findChat(
  client: SessionClient,
  name: { gateway: string; rest: string },
  options: CallOptions,
): Promise<SessionView> {
  const { gateway, rest } = name;
  const at = rest.lastIndexOf(':');
  const found =
    (await client.chat({ gateway, chat_id: rest }, options)) ??
    (at > 0 && at < rest.length - 1
      ? await client.chat(
          { gateway, chat_id: rest.slice(0, at), thread: rest.slice(at + 1) },
          options,
        )
      : null);
  if (found !== null) return await client.session(found, options);
  const text = `${gateway}:${rest}`;
  const withKey = (await client.sessions({}, options)).filter((one) => one.key === text);
  const [keyed] = [...withKey].sort(
    (a, b) => Number(a.status === 'ended') - Number(b.status === 'ended'),
  );
  if (keyed !== undefined) return keyed;
  const chats = (await client.sessions({ gateway }, options)).flatMap((one) =>
    one.chats.filter((chat) => chat.gateway === gateway),
  );
  const names = chats.map(({ chat_id, thread_id }) =>
    [gateway, chat_id, thread_id].filter((part) => part !== undefined).join(':'),
  );
  const known = [...new Set(names)].slice(0, NAMED).map((one) => `\n  ${sanitizeLine(one)}`);
  const others =
    known.length > 0
      ? ` Chats of ${gateway} that show one:${known.join('')}`
      : ` No chat of ${gateway} does; is that its name in duragent.yaml (duragent gateway list)?`;
  throw new DuragentError(
    'session_not_found',
    `The chat ${sanitizeLine(text)} shows no session: the first message in it makes one.${others}`,
  );
}
