import type { InboundEvent } from '@duragent/protocol';
import { evaluateAccess } from '../../core/access.ts';
import { isActivated } from '../../core/activation.ts';
import type { Agent } from '../../core/agent.ts';
import { type Arrival, arrivalOf } from '../../core/arrival.ts';
import { pairedSenders } from '../../core/pairing.ts';
import { resolveRoute, type Route } from '../../core/routing.ts';
import { findSlashCommand, parseSlashCommand } from '../../core/slash-command.ts';
import type { AccessBook, AccessStore } from '../../ports/access-store.ts';
import type { AgentCatalog } from '../../ports/agent-catalog.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Disposition } from '../../ports/inbox.ts';
import type { Logger } from '../logger.ts';
import type { ChatBindings, ChatPlace } from './bindings.ts';

/** How long a list of the agents' names is good for, in ms. */
const NAMES_MS = 1_000;

/** What route and access make of an arrival. */
export interface Judgement {
  disposition: Disposition;
  agent?: string;
}

export interface JudgeDeps {
  clock: Clock;
  agents: AgentCatalog;
  access: AccessStore;
  log: Logger;
  bindings: ChatBindings;
  /** What people set for a session. */
  activationOf: (session: string) => 'mention' | 'always' | null;
  /** The agent of a session; null: there is none. */
  agentOf: (session: string | null) => string | null;
}

export interface RoutingSettings {
  routes: readonly Route[];
  defaultAgent: string | null;
  /** How replies are shown while they are written. */
  streaming: 'edit' | 'draft';
}

/** Decides who is heard by whom: route, access, activation, in this order. The same for every gateway. */
export class Judge {
  readonly #deps: JudgeDeps;
  routing: RoutingSettings;
  #names: { at: number; names: Promise<readonly string[]> } | null = null;

  constructor(deps: JudgeDeps, routing: RoutingSettings) {
    this.#deps = deps;
    this.routing = routing;
  }

  /** Judges an event of a gateway. `username`: the bot's own, without `@`. */
  async judge(gateway: string, event: InboundEvent, username?: string): Promise<Judgement> {
    if (event.type === 'chat_migrated') return { disposition: 'migrate' };
    const { bindings } = this.#deps;
    const address = { gateway, account: gateway, chat_id: event.chat_id };
    const arrival = arrivalOf(gateway, event, bindings.typeOf(address));
    if (!arrival || !isOneChat(event)) return { disposition: arrival ? 'block' : 'no_route' };
    const name = await this.#routeOf(arrival);
    if (name === null) return { disposition: 'no_route' };
    const agent = await this.#deps.agents.get(name);
    if (!agent) return { disposition: 'unjudged', agent: name };
    const place = placeOf(gateway, event);
    const disposition = await this.#dispositionOf(agent, arrival, place);
    const judged = (what: Disposition): Judgement => ({ disposition: what, agent: agent.name });
    // A press is no word to overhear, nor a reason to give out a code: it is refused, and answered.
    const isRefusedPress = event.type === 'callback_query' && disposition !== 'allow';
    if (disposition === 'block' || isRefusedPress) return { disposition: 'block' };
    if (disposition !== 'allow') return judged(disposition);
    if (event.type === 'callback_query') return judged('command');
    const slash = parseSlashCommand(event.content.text ?? '', username);
    if (slash && findSlashCommand(slash.name) && !event.edited) return judged('command');
    if (arrival.chatType === 'dm') return judged('turn');
    const session = bindings.get(place);
    const set = session === null ? null : this.#deps.activationOf(session);
    const isForUs = isActivated(set ?? agent.access.groups.activation, {
      mentionsBot: event.mentions_bot,
      replyToBot: event.reply_to_bot,
      isCommand: slash !== null,
    });
    return judged(isForUs ? 'turn' : 'passive');
  }

  /** The agent that an arrival is for; null: none, or it does not load. */
  async agentFor(arrival: Arrival): Promise<Agent | null> {
    const name = await this.#routeOf(arrival);
    return name === null ? null : this.#deps.agents.get(name);
  }

  /**
   * How somebody may speak in a chat: with the agent that it is for, and, where the chat was
   * attached to a session of another agent, with that one too. The stricter counts.
   */
  async #dispositionOf(agent: Agent, arrival: Arrival, place: ChatPlace) {
    const { disposition } = await this.access(agent, arrival);
    const driven = this.#deps.agentOf(this.#deps.bindings.get(place));
    if (driven === null || driven === agent.name) return disposition;
    const other = await this.#deps.agents.get(driven);
    if (!other) return 'block';
    const { disposition: there } = await this.access(other, arrival);
    return STRICTER.indexOf(there) > STRICTER.indexOf(disposition) ? there : disposition;
  }

  async #routeOf(arrival: Arrival): Promise<string | null> {
    const { routes, defaultAgent } = this.routing;
    const isListNeeded = routes.length === 0 && defaultAgent === null;
    const names = isListNeeded ? await this.#agentNames() : [];
    return resolveRoute(routes, arrival, names, defaultAgent);
  }

  /** Whether, and how, somebody may speak with an agent now. */
  async access(agent: Agent, arrival: Arrival) {
    const book = await this.#book();
    return evaluateAccess(agent.access, arrival, pairedSenders(book, agent.name));
  }

  /** The access book; while the file has a fault, as it was before. */
  async #book(): Promise<AccessBook> {
    try {
      this.#lastBook = await this.#deps.access.read();
      this.#isFaultTold = false;
    } catch (error) {
      if (!this.#isFaultTold) this.#deps.log.error({ err: error }, 'the access book is not read');
      this.#isFaultTold = true;
    }
    return this.#lastBook;
  }

  #lastBook: AccessBook = { pairings: [], requests: [] };
  #isFaultTold = false;

  #agentNames(): Promise<readonly string[]> {
    const now = this.#deps.clock.monotonic();
    if (!this.#names || now - this.#names.at >= NAMES_MS) {
      const names = this.#deps.agents.list().then(({ agents }) => agents.map(({ name }) => name));
      this.#names = { at: now, names };
    }
    return this.#names.names;
  }
}

/** From the most that somebody may do to the least. */
const STRICTER = ['allow', 'passive', 'silent', 'pairing', 'block'];

/** Whether an event names one chat and one sender: access is judged by what is bound. */
function isOneChat(event: Exclude<InboundEvent, { type: 'chat_migrated' }>): boolean {
  if (event.type === 'callback_query') return true;
  const { chat_id, sender_id } = event.routing;
  return chat_id === event.chat_id && sender_id === event.sender.id;
}

/** The chat, or thread of it, that an event was caused in. */
export function placeOf(
  gateway: string,
  event: Exclude<InboundEvent, { type: 'chat_migrated' }>,
  chatType?: ChatPlace['chat_type'],
): ChatPlace {
  const chat_type =
    event.type === 'message_received'
      ? event.routing.chat_type
      : (event.chat_type ?? chatType ?? 'dm');
  return {
    gateway,
    account: gateway,
    chat_id: event.chat_id,
    ...(event.thread_id === undefined ? {} : { thread_id: event.thread_id }),
    chat_type,
    ...(chat_type === 'dm' ? { peer: event.sender.id } : {}),
  };
}
