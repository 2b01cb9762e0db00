import { isKnownEvent, type StoredEvent } from '@duragent/protocol';
import { chatKey } from '../../core/session/chat-key.ts';
import { textOf } from '../../core/session/spoken-text.ts';
import type { SessionSummary } from '../../core/session/summary.ts';
import type { SessionRegistry } from '../session-registry.ts';
import type { OwnSessions, SpokenWord } from './session.ts';

/** Records behind the newest that are looked through for what was said. */
const SEARCHED = 2000;

/** The sessions of one agent with one owner: the person of a direct chat, a group, or who runs the server. */
export function ownSessions(
  sessions: () => Pick<SessionRegistry, 'summaries' | 'open' | 'view'>,
): OwnSessions {
  const siblings = (session: string): SessionSummary[] => {
    const all = sessions().summaries();
    const own = all.find((one) => one.session === session);
    if (!own) return [];
    const owner = ownerOf(own);
    return all.filter((one) => one.session !== session && ownerOf(one) === owner);
  };
  return {
    async list({ session }, limit) {
      return siblings(session)
        .sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1))
        .slice(0, limit)
        .map(({ session: id, agent, updated_at, preview }) => ({
          session: id,
          agent,
          status: sessions().view(id).status,
          updatedAt: updated_at,
          ...(preview === undefined ? {} : { preview }),
        }));
    },
    async read({ session: own }, session, limit) {
      if (!siblings(own).some((one) => one.session === session)) return null;
      const actor = await sessions().open(session);
      const records = await actor.read(Math.max(0, actor.lastSeq - SEARCHED), SEARCHED);
      return records.flatMap(({ event }) => wordOf(event)).slice(-limit);
    },
  };
}

/** Equal for two sessions whose agent and owner are the same. */
function ownerOf({ agent, origin, chats }: SessionSummary): string {
  const chat = chats.find((one) => one.bound) ?? origin.chat ?? chats[0];
  if (!chat) return `${agent} operator`;
  return chat.peer === undefined
    ? `${agent} chat ${chatKey(chat)}`
    : `${agent} person ${chat.gateway}:${chat.peer}`;
}

function wordOf(event: StoredEvent): SpokenWord[] {
  if (!isKnownEvent(event)) return [];
  if (event.type === 'assistant_message') {
    const text = textOf(event.content);
    return text === '' ? [] : [{ at: event.at, who: 'assistant', text }];
  }
  if (event.type !== 'user_message') return [];
  const { sender } = event.source;
  return [{ at: event.at, who: sender?.name ?? 'somebody', text: textOf(event.content) }];
}
