import { DuragentError, type GatewayEventOf, type InboundEvent } from '@duragent/protocol';
import { slashCommands } from '../../core/slash-command.ts';
import type {
  GatewayHost,
  GatewayRunner,
  GatewaySpec,
  RunningGateway,
} from '../../ports/gateway.ts';
import type { Inbox, InboxEntry } from '../../ports/inbox.ts';
import { GatewayLink } from './gateway-link.ts';
import { Handover, type HandoverDeps } from './handover.ts';
import type { Judge } from './judge.ts';

/** Arrivals that may wait to be handed over before nothing more is read, and their size in bytes. */
const MAX_WAITING = 256;
const MAX_WAITING_BYTES = 8 * 1024 * 1024;
/** What a gateway tells of itself that is logged, in so many ms. */
const MAX_TOLD = 20;
const TELL_MS = 60_000;
/** How long a gateway may take to answer a press, in ms. */
const PRESS_MS = 10_000;
/** How soon after the last hand-over it is remembered, in ms. */
const FLUSH_MS = 500;

export interface AccountDeps extends Omit<HandoverDeps, 'judge'> {
  judge: Judge;
  runner: GatewayRunner;
  /** How replies are shown while they are written. */
  streaming: () => 'edit' | 'draft';
  onPreview: (gateway: string, event: GatewayEventOf<'preview_posted'>) => void;
  onPresence: () => void;
}

/** One gateway: its inbox, its process, and the way of what people send from the one to the other. */
export class GatewayAccount {
  readonly spec: GatewaySpec;
  readonly link: GatewayLink;
  readonly #deps: AccountDeps;
  readonly #inbox: Inbox;
  readonly #handover: Handover;
  readonly #stop = new AbortController();
  /** Which process of the gateway this is, and the last of which an arrival could not be kept. */
  #life = 0;
  #refusedLife = -1;
  #running: RunningGateway | null = null;
  /** The order in which arrivals are judged and appended. */
  #intake: Promise<unknown> = Promise.resolve();
  /** Entries that are not handed over, by number, and their bytes. */
  readonly #waiting = new Map<number, number>();
  #waitingBytes = 0;
  #roomier = Promise.withResolvers<void>();
  /** The highest number up to which all was handed over. */
  #marked: number;
  #lastN: number;

  constructor(
    spec: GatewaySpec,
    opened: { inbox: Inbox; unhanded: readonly InboxEntry[] },
    deps: AccountDeps,
  ) {
    this.spec = spec;
    this.#deps = deps;
    this.#inbox = opened.inbox;
    this.link = new GatewayLink({
      name: spec.name,
      clock: deps.clock,
      limits: opened.inbox.limits,
      onPresence: deps.onPresence,
    });
    const judge = (event: InboundEvent) => deps.judge.judge(spec.name, event, this.link.username);
    this.#handover = new Handover(spec.name, { ...deps, judge }, this.#stop.signal);
    const first = opened.unhanded[0]?.n;
    this.#marked = first === undefined ? 0 : first - 1;
    this.#lastN = this.#marked;
    for (const entry of opened.unhanded) this.#handOver(entry);
  }

  /** Starts its process. */
  start(): void {
    this.#running = this.#deps.runner.run(this.spec, this.#host());
    this.link.use(this.#running);
  }

  get running(): RunningGateway | null {
    return this.#running;
  }

  /** Resolves when everything that was taken so far is handed over. */
  settled(): Promise<void> {
    return this.#handover.settled();
  }

  /** Takes nothing more; what was acknowledged and is not handed over waits for the next start. */
  stopIntake(): void {
    this.#stop.abort(new DuragentError('draining', 'The server is stopping.'));
    this.#roomier.resolve();
  }

  /** Ends its process, see `RunningGateway.stop`; what was acknowledged stays, and is handed over by the next start. */
  async close(options?: { withinMs: number }): Promise<void> {
    this.stopIntake();
    await this.#running?.stop(options);
    this.link.close();
    await this.#intake.catch(() => undefined);
    await this.#handover.settled();
    this.#cancelFlush();
    await this.#inbox.close();
  }

  #host(): GatewayHost {
    return {
      settings: () => this.#beginLife(),
      inbound: (event) => this.#receive(event),
      event: (event) => this.#hear(event),
      changed: (status) => {
        const limits = this.link.changed(status);
        if (limits) this.#inbox.keepLimits(limits);
      },
    };
  }

  /** What a process of the gateway is told when it starts. */
  #beginLife(): ReturnType<GatewayHost['settings']> {
    const { name } = this.spec;
    this.#life += 1;
    return {
      account: name,
      cursor: this.#inbox.cursor,
      limits: this.link.limits,
      mediaDir: this.#deps.mediaDir(name),
      streaming: this.#deps.streaming(),
      commands: slashCommands.map(({ name: command, description }) => ({
        name: command,
        description,
      })),
    };
  }

  #hear(event: Parameters<GatewayHost['event']>[0]): void {
    if (event.type === 'preview_posted') {
      this.#deps.onPreview(this.spec.name, event);
      return;
    }
    if (!this.#mayTell()) return;
    const { log } = this.#deps;
    const gateway = this.spec.name;
    switch (event.type) {
      case 'inbound_gap':
        log.warn({ gateway, from: event.from, to: event.to }, `messages missed: ${event.reason}`);
        return;
      case 'error':
        log.warn({ gateway, code: event.code }, `gateway error: ${event.message}`);
        return;
      case 'auth_required':
        log.warn({ gateway, url: event.url }, `gateway needs a person: ${event.message}`);
        return;
      case 'auth_success':
        log.info({ gateway }, 'gateway was let in');
        return;
    }
  }

  /** A gateway that tells without end fills no log. */
  #mayTell(): boolean {
    const now = this.#deps.clock.monotonic();
    if (now - this.#told.since > TELL_MS) this.#told = { since: now, count: 0 };
    this.#told.count += 1;
    return this.#told.count <= MAX_TOLD;
  }

  #told = { since: 0, count: 0 };
  #cancelFlush: () => void = () => undefined;

  /** Makes an arrival durable: resolves when its gateway may tell the platform. */
  async #receive(event: InboundEvent): Promise<void> {
    const key = keyOf(event);
    const life = this.#life;
    const appended = this.#intake.then(async () => {
      while (this.#isFull && !this.#stop.signal.aborted) {
        await this.#roomier.promise;
      }
      if (this.#stop.signal.aborted) return null;
      const judged = await this.#deps.judge.judge(this.spec.name, event, this.link.username);
      const isKept = judged.disposition !== 'block' && judged.disposition !== 'no_route';
      if (judged.disposition === 'no_route') this.#tellNoRoute(event);
      // What came behind one that was refused would move the cursor past it.
      if (life <= this.#refusedLife) throw REFUSED;
      const entry = this.#inbox.append({
        key,
        at: new Date(this.#deps.clock.now()).toISOString(),
        ...('cursor' in event && event.cursor !== undefined ? { cursor: event.cursor } : {}),
        ...judged,
        ...(isKept ? { event: withoutCursor(event) } : {}),
      });
      entry.catch(() => {
        this.#refusedLife = life;
      });
      // The next one is judged while this one is written.
      return { entry };
    });
    this.#intake = appended.catch(() => undefined);
    const taken = await appended;
    // Neither taken nor refused: the platform keeps it. The intake itself has ended, for `close`.
    if (!taken) return new Promise<never>(() => undefined);
    const entry = await taken.entry;
    if (!entry) {
      void this.#discardCopies(event);
      return;
    }
    this.#handOver(entry);
    if (!entry.event) {
      this.#handover.discardFiles(event);
      this.#refusePress(event, entry.n);
    }
  }

  /** Files of what came again are not kept; those that the first of it may refer to go once it was handed over. */
  async #discardCopies(event: InboundEvent): Promise<void> {
    await this.#handover.settled();
    // The next start hands over what was not, and sweeps the rest.
    if (!this.#stop.signal.aborted) this.#handover.discardFiles(event);
  }

  get #isFull(): boolean {
    return this.#waiting.size >= MAX_WAITING || this.#waitingBytes >= MAX_WAITING_BYTES;
  }

  /** The button of somebody who is not heard does not wait for an answer. */
  #refusePress(event: InboundEvent, n: number): void {
    if (event.type !== 'callback_query') return;
    const { callback_query_id } = event;
    const request = { type: 'answer_callback_query', callback_query_id } as const;
    const words = { request_id: `press${n}`, text: 'You may not do this here.' };
    const options = { timeoutMs: PRESS_MS, signal: this.#stop.signal };
    void this.#running?.request({ ...request, ...words }, options);
  }

  #handOver(entry: InboxEntry): void {
    const bytes = entry.event ? sizeOf(entry.event) : 0;
    this.#waiting.set(entry.n, bytes);
    this.#waitingBytes += bytes;
    this.#lastN = Math.max(this.#lastN, entry.n);
    this.#handover.take(entry).then(
      () => this.#handedOver(entry, bytes),
      () => undefined, // the server stops: the next start hands it over
    );
  }

  #handedOver({ n, disposition }: InboxEntry, bytes: number): void {
    this.#waiting.delete(n);
    this.#waitingBytes -= bytes;
    this.#roomier.resolve();
    this.#roomier = Promise.withResolvers<void>();
    const [first] = this.#waiting.keys();
    const marked = first === undefined ? this.#lastN : first - 1;
    if (marked <= this.#marked) return;
    this.#marked = marked;
    this.#inbox.mark(marked);
    // What is marked is not handed over again: soon also where nothing more comes.
    this.#cancelFlush();
    if (disposition === 'command' || disposition === 'pairing') {
      // Its answer is on its way, and no log knows of it: done again, it would come twice.
      this.#inbox.flush();
      return;
    }
    this.#cancelFlush = this.#deps.clock.after(FLUSH_MS, () => this.#inbox.flush());
  }

  #noRouteTold = false;

  #tellNoRoute(event: InboundEvent): void {
    if (this.#noRouteTold) return;
    this.#noRouteTold = true;
    this.#deps.log.warn(
      { gateway: this.spec.name, chat: event.chat_id },
      'no agent for this chat: give routes or default_agent in duragent.yaml; such messages are dropped',
    );
  }
}

const REFUSED = new DuragentError(
  'storage_failed',
  'An arrival before this one could not be kept; the gateway is started anew from there.',
);

/** About how many bytes an arrival takes. */
function sizeOf(event: InboundEvent): number {
  const text = event.type === 'message_received' ? (event.content.text?.length ?? 0) : 0;
  const files = event.type === 'message_received' ? (event.content.media?.length ?? 0) : 0;
  return 1000 + 2 * text + 500 * files;
}

/** Names an arrival: the same on every redelivery. */
function keyOf(event: InboundEvent): string {
  if (event.event_id !== undefined) return event.event_id;
  if (event.type === 'callback_query') return `callback ${event.callback_query_id}`;
  if (event.type === 'chat_migrated') return `migrated ${event.chat_id} ${event.new_chat_id}`;
  const version = event.edited ? event.timestamp : '';
  return `message ${event.chat_id} ${event.message_id} ${version}`;
}

function withoutCursor(event: InboundEvent): InboundEvent {
  const { cursor: _, ...rest } = event;
  return rest;
}
