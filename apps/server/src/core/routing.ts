import type { ChatType } from '@duragent/protocol';
import type { Arrival } from './arrival.ts';

/** One line of `routes`: what matches goes to this agent. */
export interface Route {
  /** All that is given has to hold; nothing given matches all. Ids are the platform's own. */
  match: {
    gateway?: string;
    chatType?: ChatType;
    chatId?: string;
    senderId?: string;
    threadId?: string;
  };
  agent: string;
}

/**
 * The agent that an arrival is for, which need not exist: that of the first route that matches;
 * where there are no routes the default agent, or else the only one. @returns null: for nobody.
 */
export function resolveRoute(
  routes: readonly Route[],
  arrival: Arrival,
  agents: readonly string[],
  defaultAgent: string | null,
): string | null {
  if (routes.length > 0) return routes.find((route) => matches(route, arrival))?.agent ?? null;
  if (defaultAgent !== null) return defaultAgent;
  const [only, ...others] = agents;
  return only === undefined || others.length > 0 ? null : only;
}

function matches({ match }: Route, arrival: Arrival): boolean {
  return (
    holds(match.gateway, arrival.gateway) &&
    holds(match.chatType, arrival.chatType) &&
    holds(match.chatId, arrival.chatId) &&
    holds(match.senderId, arrival.senderId) &&
    holds(match.threadId, arrival.threadId)
  );
}

/** An empty id matches nothing, itself included. */
function holds(wanted: string | undefined, found: string | undefined): boolean {
  return wanted === undefined || (wanted !== '' && wanted === found);
}
