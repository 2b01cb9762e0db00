import { DEFAULT_LIMITS, DuragentError, type GatewayEventOf } from '@duragent/protocol';
import type { SessionSummary } from '../../core/session/summary.ts';
import type { Chat } from '../../core/session/state.ts';
import type { AccessStore } from '../../ports/access-store.ts';
import type { AgentCatalog } from '../../ports/agent-catalog.ts';
import type { GatewayRunner, GatewaySpec } from '../../ports/gateway.ts';
import type { Chats, PartToSend } from '../chats.ts';
import type { SessionRegistry } from '../session-registry.ts';
import type { SlashDeps } from '../slash-commands.ts';
import type { AccountDeps } from './account.ts';
import { type GatewayView, GatewayAccounts, type OpeningDeps } from './accounts.ts';
import { AskDesk } from './ask-desk.ts';
import { ChatBindings } from './bindings.ts';
import { ChatReach } from './chat-reach.ts';
import { ChatSessions } from './chat-sessions.ts';
import { limitsOfParts } from './fit.ts';
import type { GatewayLink } from './gateway-link.ts';
import { Judge, type RoutingSettings } from './judge.ts';
import { Outlet } from './outlet.ts';
import { PairingDesk } from './pairing-desk.ts';
import { Previews } from './previews.ts';
import { ProgressLines } from './progress-lines.ts';
import { Speaker } from './speaker.ts';
import { Typing } from './typing.ts';
import { WakeList } from './wake-list.ts';

export interface HubDeps extends OpeningDeps {
  agents: AgentCatalog;
  runner: GatewayRunner;
  access: AccessStore;
}

/** Where sessions and chats meet: runs the gateways, and takes what is said from the ones to the others. */
export class GatewayHub implements Chats {
  readonly #deps: HubDeps;
  readonly #bindings = new ChatBindings();
  readonly #accounts: GatewayAccounts;
  readonly #previews: Previews;
  readonly #typing: Typing;
  readonly #outlet: Outlet;
  readonly #speaker: Speaker;
  readonly #progress: ProgressLines;
  readonly #judge: Judge;
  readonly #desk: AskDesk;
  readonly pairing: PairingDesk;
  readonly #closing = new AbortController();
  /** Wakes whoever waits for a gateway when there are others. */
  readonly #listed = new WakeList();
  #sessions: SessionRegistry | null = null;
  #consent: SlashDeps['consent'] | null = null;
  #chats: ChatSessions | null = null;

  constructor(deps: HubDeps, routing: RoutingSettings) {
    this.#deps = deps;
    const { signal } = this.#closing;
    this.#accounts = new GatewayAccounts(deps, {
      signal,
      accountDeps: () => this.#accountDeps(),
      highestN: (gateway) => this.#highestN(gateway),
      onChange: () => {
        this.#listed.wake();
        this.#sessions?.presenceChanged();
      },
    });
    const link = (gateway: string): GatewayLink | null => this.#accounts.get(gateway)?.link ?? null;
    const { clock, artifacts } = deps;
    this.#previews = new Previews(clock, link);
    this.#typing = new Typing(clock, link);
    const reach = new ChatReach({ clock, link, listed: this.#listed });
    this.#outlet = new Outlet({ clock, reach, artifacts, previews: this.#previews });
    this.#speaker = new Speaker(clock, reach);
    this.#progress = new ProgressLines(clock, this.#speaker);
    this.pairing = new PairingDesk(deps.access, clock);
    this.#judge = new Judge(
      {
        clock,
        agents: deps.agents,
        access: deps.access,
        log: deps.log,
        bindings: this.#bindings,
        activationOf: (session) => this.#summaryOf(session)?.settings.activation ?? null,
        agentOf: (session) => (session === null ? null : (this.#summaryOf(session)?.agent ?? null)),
      },
      routing,
    );
    this.#desk = new AskDesk({
      log: deps.log,
      agents: deps.agents,
      judge: this.#judge,
      pairing: this.pairing,
      speaker: this.#speaker,
      signal,
    });
  }

  /** Starts the gateways. The sessions are known to the registry by now. */
  async start(
    sessions: SessionRegistry,
    specs: readonly GatewaySpec[],
    consent: SlashDeps['consent'],
  ): Promise<void> {
    this.#sessions = sessions;
    this.#consent = consent;
    this.#chats = new ChatSessions(sessions, this.#bindings);
    const losers = this.#bindings.learn(sessions.summaries());
    await this.reload(specs, this.#judge.routing);
    // What left a chat bound twice may be about to be done again, and then ends one of them.
    const unbound = this.#accounts.settled().then(() => this.#chats?.unbindAll(losers));
    unbound.catch((error: unknown) => {
      if (!this.#closing.signal.aborted) this.#deps.log.warn({ err: error }, 'chats not let go of');
    });
  }

  /** Starts, stops and restarts exactly the gateways that changed. @returns their names. */
  reload(
    specs: readonly GatewaySpec[],
    routing: RoutingSettings,
  ): ReturnType<GatewayAccounts['reload']> {
    const isOtherwiseShown = this.#judge.routing.streaming !== routing.streaming;
    this.#judge.routing = routing;
    return this.#accounts.reload(specs, isOtherwiseShown);
  }

  /** All gateways and how they are. */
  list(): GatewayView[] {
    return this.#accounts.list();
  }

  /** Ends a gateway's process and starts it anew. @throws DuragentError not_found. */
  restart(name: string): Promise<void> {
    return this.#accounts.restart(name);
  }

  /** A gateway's newest lines of log. @throws DuragentError not_found. */
  logOf(name: string): readonly string[] {
    return this.#accounts.logOf(name);
  }

  /** The session that a chat or thread shows; null: none. */
  sessionOf(chat: { gateway: string; chat_id: string; thread_id?: string }): string | null {
    return this.#bindings.find({ ...chat, account: chat.gateway });
  }

  /** Tells somebody who was let in. Best effort. */
  welcome(chat: { gateway: string; chat_id: string; thread_id?: string }): void {
    this.#desk.welcome(chat);
  }

  /** Takes nothing more from the platforms: they keep it. What is being answered goes on. */
  stopIntake(): void {
    this.#accounts.stopIntake();
  }

  /** Ends every gateway, see `RunningGateway.stop`. What is owed to chats stays owed. */
  async close(options?: { withinMs: number }): Promise<void> {
    this.#closing.abort(new DuragentError('draining', 'The server is stopping.'));
    this.#typing.close();
    this.#progress.close();
    await this.#accounts.close(options);
  }

  limits(gateway: string) {
    return limitsOfParts(this.#accounts.get(gateway)?.link.limits ?? DEFAULT_LIMITS);
  }

  isPresent(gateway: string): boolean {
    return this.#accounts.get(gateway)?.link.isPresent ?? false;
  }

  send(part: PartToSend, options: { begin: () => Promise<void>; signal: AbortSignal }) {
    return this.#outlet.send(part, options);
  }

  showsPreviews(gateway: string): boolean {
    const link = this.#accounts.get(gateway)?.link;
    return link !== undefined && link.isReady && link.can('preview');
  }

  preview(...shown: Parameters<Chats['preview']>): void {
    this.#previews.show(...shown);
  }

  progress(...[session, shown]: Parameters<Chats['progress']>): void {
    if (shown) this.#progress.show(session, shown.turn, shown.chats, shown.text);
    else this.#progress.end(session);
  }

  working(session: string, chats: readonly Chat[]): void {
    this.#typing.set(session, chats);
  }

  /** The highest number of a gateway's inbox that any session has: a new inbox goes on from there. */
  #highestN(gateway: string): number {
    const chats = this.#registry()
      .summaries()
      .flatMap((summary) => summary.chats)
      .filter((chat) => chat.account === gateway);
    return chats.reduce((most, chat) => Math.max(most, chat.inbox), 0);
  }

  #summaryOf(session: string): SessionSummary | null {
    try {
      return this.#registry().summary(session);
    } catch (error) {
      // It is gone with its data, or of a newer version.
      if (error instanceof DuragentError) return null;
      throw error;
    }
  }

  #accountDeps(): AccountDeps {
    const { clock, log, artifacts, runner, mediaDir } = this.#deps;
    const [chats, consent] = [this.#chats, this.#consent];
    if (!chats || !consent) throw new Error('the hub was not started');
    const asked = { chats, consent, summaries: () => this.#registry().summaries() };
    return {
      clock,
      log,
      artifacts,
      runner,
      mediaDir,
      streaming: () => this.#judge.routing.streaming,
      judge: this.#judge,
      sessions: chats,
      typeOf: (address) => this.#bindings.typeOf(address),
      heard: {
        get: (place) => this.#bindings.heardOf(place),
        set: (place, n) => this.#bindings.heard(place, n),
      },
      onAsk: (ask) => this.#desk.answer(ask, asked),
      onStranger: (ask) => this.#desk.answerStranger(ask),
      onPreview: (gateway, event) => this.#previewPosted(gateway, event),
      onPresence: () => this.#sessions?.presenceChanged(),
    };
  }

  #previewPosted(
    gateway: string,
    { preview_id: out, message_id }: GatewayEventOf<'preview_posted'>,
  ): void {
    const session = this.#previews.sessionOf(gateway, out);
    const actor = session === null ? undefined : this.#sessions?.opened(session);
    // One that cannot be recorded is as one that was not seen.
    actor?.previewPosted(out, message_id).catch(() => undefined);
  }

  #registry(): SessionRegistry {
    if (!this.#sessions) throw new Error('the hub was not started');
    return this.#sessions;
  }
}
