import { DEFAULT_LIMITS, DuragentError, type GatewayEventOf } from '@duragent/protocol';
import { type Arrival, arrivalOf } from '../../core/arrival.ts';
import type { SessionSummary } from '../../core/session/summary.ts';
import type { Chat } from '../../core/session/state.ts';
import type { AccessStore } from '../../ports/access-store.ts';
import type { AgentCatalog } from '../../ports/agent-catalog.ts';
import type { ArtifactStore } from '../../ports/artifact-store.ts';
import type { Clock } from '../../ports/clock.ts';
import type { GatewayRunner, GatewaySpec, GatewayStatus } from '../../ports/gateway.ts';
import type { InboxEntry, InboxStore } from '../../ports/inbox.ts';
import type { Chats, PartToSend } from '../chats.ts';
import type { Logger } from '../logger.ts';
import type { SessionRegistry } from '../session-registry.ts';
import { runSlashCommand, type SlashDeps } from '../slash-commands.ts';
import { type AccountDeps, GatewayAccount } from './account.ts';
import { ChatBindings, type ChatPlace } from './bindings.ts';
import { ChatReach } from './chat-reach.ts';
import { ChatSessions } from './chat-sessions.ts';
import { limitsOfParts } from './fit.ts';
import type { GatewayLink } from './gateway-link.ts';
import type { Ask } from './handover.ts';
import { Judge, type RoutingSettings } from './judge.ts';
import { Outlet } from './outlet.ts';
import { PairingDesk } from './pairing-desk.ts';
import { Previews } from './previews.ts';
import { ProgressLines } from './progress-lines.ts';
import { Speaker } from './speaker.ts';
import { Typing } from './typing.ts';
import { WakeList } from './wake-list.ts';

export interface HubDeps {
  clock: Clock;
  log: Logger;
  agents: AgentCatalog;
  runner: GatewayRunner;
  inboxes: InboxStore;
  artifacts: ArtifactStore;
  access: AccessStore;
  /** The folder that a gateway puts files into. */
  mediaDir: (gateway: string) => string;
  /** Makes what a gateway needs before its first start. */
  prepare: (gateway: string) => Promise<void>;
}

/** One gateway as it is listed. */
export interface GatewayView extends GatewayStatus {
  name: string;
}

/** Where sessions and chats meet: runs the gateways, and takes what is said from the ones to the others. */
export class GatewayHub implements Chats {
  readonly #deps: HubDeps;
  readonly #bindings = new ChatBindings();
  readonly #accounts = new Map<string, GatewayAccount>();
  readonly #previews: Previews;
  readonly #typing: Typing;
  readonly #outlet: Outlet;
  readonly #speaker: Speaker;
  readonly #progress: ProgressLines;
  readonly #judge: Judge;
  readonly pairing: PairingDesk;
  readonly #closing = new AbortController();
  /** Wakes whoever waits for a gateway when there are others. */
  readonly #listed = new WakeList();
  /** Gateways that could not be started at all, and why. */
  readonly #failed = new Map<string, { spec: GatewaySpec; reason: string; since: string }>();
  #sessions: SessionRegistry | null = null;
  #consent: Consent | null = null;
  #chats: ChatSessions | null = null;
  /** Changes of the list, one after another. */
  #changing: Promise<void> = Promise.resolve();

  constructor(deps: HubDeps, routing: RoutingSettings) {
    this.#deps = deps;
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
  }

  /** Starts the gateways. The sessions are known to the registry by now. */
  async start(
    sessions: SessionRegistry,
    specs: readonly GatewaySpec[],
    consent: Consent,
  ): Promise<void> {
    this.#sessions = sessions;
    this.#consent = consent;
    this.#chats = new ChatSessions(sessions, this.#bindings);
    const losers = this.#bindings.learn(sessions.summaries());
    await this.reload(specs, this.#judge.routing);
    // What left a chat bound twice may be about to be done again, and then ends one of them.
    const handedOver = [...this.#accounts.values()].map((account) => account.settled());
    this.#inBackground(Promise.all(handedOver).then(() => this.#chats?.unbindAll(losers)));
  }

  /** Starts, stops and restarts exactly the gateways that changed. @returns their names. */
  async reload(
    specs: readonly GatewaySpec[],
    routing: RoutingSettings,
  ): Promise<{ started: string[]; stopped: string[]; restarted: string[] }> {
    const report = { started: [] as string[], stopped: [] as string[], restarted: [] as string[] };
    const isOtherwiseShown = this.#judge.routing.streaming !== routing.streaming;
    this.#judge.routing = routing;
    await this.#change(async () => {
      const wanted = new Map(specs.map((spec) => [spec.name, spec]));
      const ended: Promise<void>[] = [];
      for (const [name, { spec }] of this.#failed) {
        if (JSON.stringify(wanted.get(name)) === JSON.stringify(spec)) continue;
        this.#failed.delete(name);
      }
      for (const [name, account] of this.#accounts) {
        const spec = wanted.get(name);
        // How replies are shown is told to a gateway once, when it starts.
        const isTold = !(isOtherwiseShown && account.link.can('preview'));
        if (spec && isTold && JSON.stringify(spec) === JSON.stringify(account.spec)) {
          wanted.delete(name);
          continue;
        }
        (spec ? report.restarted : report.stopped).push(name);
        this.#accounts.delete(name);
        ended.push(account.close());
      }
      for (const end of await Promise.allSettled(ended)) {
        if (end.status === 'fulfilled') continue;
        this.#deps.log.error({ err: end.reason as unknown }, 'gateway not closed cleanly');
      }
      for (const spec of wanted.values()) {
        if (this.#closing.signal.aborted) return;
        if (!report.restarted.includes(spec.name)) report.started.push(spec.name);
        await this.#open(spec);
      }
    });
    return report;
  }

  /** Changes the list, after what is changing it already. */
  async #change(work: () => Promise<void>): Promise<void> {
    const change = this.#changing.then(work);
    this.#changing = change.catch(() => undefined);
    await change;
    this.#listed.wake();
    this.#sessions?.presenceChanged();
  }

  #now(): string {
    return new Date(this.#deps.clock.now()).toISOString();
  }

  /** All gateways and how they are. */
  list(): GatewayView[] {
    const running = [...this.#accounts.values()].flatMap((account) => {
      const status = account.running?.status;
      return status ? [{ name: account.spec.name, ...status }] : [];
    });
    const failed = [...this.#failed].map(([name, { reason, since }]) => ({
      name,
      ...NEVER_STARTED,
      reason,
      since,
    }));
    return [...running, ...failed];
  }

  /** Ends a gateway's process and starts it anew. @throws DuragentError not_found. */
  async restart(name: string): Promise<void> {
    const reopen = async (): Promise<void> => {
      const failed = this.#failed.get(name);
      if (failed) await this.#open(failed.spec);
    };
    if (this.#failed.has(name)) await this.#change(reopen);
    else await this.#account(name).running?.restart();
  }

  /** A gateway's newest lines of log. @throws DuragentError not_found. */
  logOf(name: string): readonly string[] {
    return this.#failed.has(name) ? [] : (this.#account(name).running?.log ?? []);
  }

  /** The session that a chat or thread shows; null: none. */
  sessionOf(chat: { gateway: string; chat_id: string; thread_id?: string }): string | null {
    return this.#bindings.find({ ...chat, account: chat.gateway });
  }

  /** Tells somebody who was let in. Best effort. */
  welcome(chat: { gateway: string; chat_id: string; thread_id?: string }): void {
    const place: ChatPlace = { ...chat, account: chat.gateway, chat_type: 'dm' };
    this.#say(place, 'You were let in. Write something.', {});
  }

  /** Takes nothing more from the platforms: they keep it. What is being answered goes on. */
  stopIntake(): void {
    for (const account of this.#accounts.values()) account.stopIntake();
  }

  /** Ends every gateway, see `RunningGateway.stop`. What is owed to chats stays owed. */
  async close(options?: { withinMs: number }): Promise<void> {
    this.#closing.abort(new DuragentError('draining', 'The server is stopping.'));
    this.#typing.close();
    this.#progress.close();
    await this.#changing;
    const accounts = [...this.#accounts.values()];
    this.#accounts.clear();
    await Promise.allSettled(accounts.map((account) => account.close(options)));
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

  async #open(spec: GatewaySpec): Promise<void> {
    const { log, inboxes, artifacts, mediaDir } = this.#deps;
    this.#failed.delete(spec.name);
    try {
      await this.#deps.prepare(spec.name);
      const opened = await inboxes.open(spec.name, { after: this.#highestN(spec.name) });
      // What cannot be removed now is removed at a later start.
      await artifacts
        .sweep(mediaDir(spec.name), opened.unhanded.flatMap(filesOf))
        .catch((error: unknown) => log.warn({ gateway: spec.name, err: error }, 'files not swept'));
      const account = new GatewayAccount(spec, opened, this.#accountDeps());
      this.#accounts.set(spec.name, account);
      account.start();
    } catch (error) {
      // The others go on: one damaged inbox is no reason to be silent everywhere.
      log.error({ gateway: spec.name, err: error }, 'gateway not started');
      const reason = error instanceof Error ? error.message : String(error);
      this.#failed.set(spec.name, { spec, reason, since: this.#now() });
    }
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
    const chats = this.#chats;
    if (!chats) throw new Error('the hub was not started');
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
      onAsk: (ask) => this.#answer(ask, chats),
      onStranger: async (ask) => {
        const text = await this.pairing.ask(ask);
        if (text !== null) this.#say(ask.place, text, {});
      },
      onPreview: (gateway, event) => this.#previewPosted(gateway, event),
      onPresence: () => this.#sessions?.presenceChanged(),
      onStatus: (gateway, { state, reason }) =>
        log.info({ gateway, state, reason }, `gateway ${state}`),
    };
  }

  /** Does what a slash command or a press asks for, if whoever asks may still do so. */
  async #answer(ask: Ask, chats: ChatSessions): Promise<void> {
    const { place, event } = ask;
    const arrival = arrivalOf(place.gateway, event, place.chat_type);
    const agent = arrival && (await this.#judge.agentFor(arrival));
    const consent = this.#consent;
    if (!arrival || !agent || !consent) return;
    const access = await this.#judge.access(agent, arrival);
    const isPress = event.type === 'callback_query';
    const isAllowed = access.disposition === 'allow';
    const answer = isAllowed
      ? await runSlashCommand(
          {
            place,
            agent: agent.name,
            n: ask.n,
            text: isPress ? event.data : (event.content.text ?? ''),
            by: `${place.gateway}:${event.sender.id}`,
            isOwner: access.isOwner,
          },
          {
            chats,
            pairing: this.pairing,
            consent,
            summaries: () => this.#registry().summaries(),
            isOwnerOf: (name) => this.#isOwnerOf(name, arrival),
            welcome: (chat) => this.welcome(chat),
          },
        )
      : { text: 'You may not do this here.', isRefused: true as const };
    if (!answer) return;
    if (!isPress) {
      this.#say(place, answer.text, {
        ...(answer.keyboard ? { keyboard: answer.keyboard } : {}),
        replyTo: event.message_id,
      });
      return;
    }
    const press = {
      place,
      callbackQueryId: event.callback_query_id,
      messageId: event.message_id,
    };
    const { card, isRefused, text } = answer;
    const shown = isRefused ? { toast: text } : { toast: text, text: card ?? text };
    this.#inBackground(this.#speaker.answerPress(press, shown, this.#closing.signal));
  }

  async #isOwnerOf(name: string, arrival: Arrival): Promise<boolean> {
    const agent = await this.#deps.agents.get(name);
    return agent !== null && (await this.#judge.access(agent, arrival)).isOwner;
  }

  #say(
    place: ChatPlace,
    text: string,
    options: Omit<Parameters<Speaker['say']>[2], 'signal'>,
  ): void {
    const { signal } = this.#closing;
    this.#inBackground(this.#speaker.say(place, text, { ...options, signal }));
  }

  #inBackground(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (!this.#closing.signal.aborted) this.#deps.log.warn({ err: error }, 'answer not sent');
    });
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

  #account(name: string): GatewayAccount {
    const account = this.#accounts.get(name);
    if (account) return account;
    const known = [...this.#accounts.keys()].join(', ');
    throw new DuragentError(
      'not_found',
      `There is no gateway named ${name.slice(0, 63)}. ${known === '' ? 'None is configured (gateways.external).' : `There are: ${known}.`}`,
    );
  }

  #registry(): SessionRegistry {
    if (!this.#sessions) throw new Error('the hub was not started');
    return this.#sessions;
  }
}

type Consent = SlashDeps['consent'];

/** What is known of a gateway that has no process. */
const NEVER_STARTED = {
  state: 'fatal',
  pid: null,
  restarts: 0,
  ready: null,
  dropped: 0,
  unknown: 0,
} as const;

function filesOf({ event }: InboxEntry): string[] {
  if (event?.type !== 'message_received') return [];
  return (event.content.media ?? []).map((file) => file.path);
}
