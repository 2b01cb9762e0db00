import type { AgentAccess, SenderDisposition } from './agent-access.ts';
import type { Arrival } from './arrival.ts';

/**
 * What becomes of an arrival. `allow`: it may trigger the agent; `passive`: the agent sees it later;
 * `silent`: kept for audit only; `block`: not kept; `pairing`: the sender is told how to be let in.
 */
export interface AccessDecision {
  disposition: SenderDisposition | 'pairing';
  /** Whether the sender is an owner, whatever the disposition is; never a bot. */
  isOwner: boolean;
}

/**
 * Who may speak with an agent: the one rule for every kind of arrival. `paired` are the senders that
 * were let in, as `<gateway>:<platform id>`. What has an empty id is blocked. An owner is allowed in
 * every direct chat, and in a group unless the group itself is not; no override changes that.
 */
export function evaluateAccess(
  access: AgentAccess,
  arrival: Arrival,
  paired: ReadonlySet<string>,
): AccessDecision {
  const sender = namesOf(arrival.gateway, arrival.senderId);
  const chat = namesOf(arrival.gateway, arrival.chatId);
  if (sender === null || chat === null) return { disposition: 'block', isOwner: false };
  const isOwner = !arrival.isBot && access.owners.includes(sender.exact);
  const direct = arrival.chatType === 'dm';
  if (!direct && !isGroupAllowed(access.groups, chat)) return { disposition: 'block', isOwner };
  if (isOwner) return { disposition: 'allow', isOwner };
  const disposition = direct
    ? inDirectChat(access.dm, sender, arrival.isBot, paired)
    : inGroup(access.groups, sender, arrival.isBot);
  return { disposition, isOwner };
}

/** How lists and overrides may name somebody, or a chat. */
interface Names {
  exact: string;
  /** All of its gateway. */
  any: string;
}

/** @returns null where there is no id, or one that would read as the pattern. */
function namesOf(gateway: string, id: string): Names | null {
  if (gateway === '' || id === '' || id === '*') return null;
  return { exact: `${gateway}:${id}`, any: `${gateway}:*` };
}

function isListed(list: readonly string[], { exact, any }: Names): boolean {
  return list.includes(exact) || list.includes(any);
}

function inDirectChat(
  { policy, allowlist }: AgentAccess['dm'],
  sender: Names,
  isBot: boolean,
  paired: ReadonlySet<string>,
): AccessDecision['disposition'] {
  // Two bots that are alone with each other never stop.
  if (isBot) return 'block';
  switch (policy) {
    case 'open':
      return 'allow';
    case 'disabled':
      return 'block';
    case 'allowlist':
      return isListed(allowlist, sender) ? 'allow' : 'block';
    case 'pairing':
      return isListed(allowlist, sender) || paired.has(sender.exact) ? 'allow' : 'pairing';
  }
}

function isGroupAllowed({ policy, allowlist }: AgentAccess['groups'], chat: Names): boolean {
  switch (policy) {
    case 'open':
      return true;
    case 'disabled':
      return false;
    case 'allowlist':
      return isListed(allowlist, chat);
  }
}

function inGroup(
  { senderOverrides, senderDefault }: AgentAccess['groups'],
  sender: Names,
  isBot: boolean,
): SenderDisposition {
  const exact = senderOverrides[sender.exact];
  if (exact !== undefined) return exact;
  const general = senderOverrides[sender.any] ?? senderDefault;
  // Who allows everybody means people: a bot is allowed by its own id, or not at all.
  return isBot && general === 'allow' ? 'passive' : general;
}
