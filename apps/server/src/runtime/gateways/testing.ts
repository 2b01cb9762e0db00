import {
  type CommandOf,
  DuragentError,
  type GatewayAnswer,
  type GatewayCapability,
  type GatewayCommand,
  type InboundEvent,
  type MessageReceived,
} from '@duragent/protocol';
import { type MemoryInbox, memoryInboxStore } from '../../adapters/inbox/memory.ts';
import { defaultAccess } from '../../core/agent-access.ts';
import type { AccessBook, AccessStore } from '../../ports/access-store.ts';
import type { ArtifactRef, ArtifactStore } from '../../ports/artifact-store.ts';
import type { Inbox, InboxStore } from '../../ports/inbox.ts';
import type {
  GatewayHost,
  GatewayRunner,
  GatewaySpec,
  GatewayStatus,
  RequestOutcome,
  RunningGateway,
} from '../../ports/gateway.ts';
import { type RuntimeOptions, TestRuntime, ticks } from '../testing.ts';
import { ConsentDesk } from '../consent-desk.ts';
import { GatewayHub } from './hub.ts';
import type { RoutingSettings } from './judge.ts';

/** What a platform shows in one chat. */
interface Posted {
  id: string;
  chat_id: string;
  thread_id?: string | undefined;
  text: string;
  reply_to?: string | undefined;
  keyboard: string[];
}

type Request = Extract<GatewayCommand, { request_id: string }>;

/** A gateway in memory, with the chat platform behind it. */
export class FakeGateway implements RunningGateway {
  readonly spec: GatewaySpec;
  readonly host: GatewayHost;
  readonly log: string[] = [];
  readonly posts: Posted[] = [];
  readonly typing: string[] = [];
  readonly previews: CommandOf<'preview_message'>[] = [];
  readonly pressAnswers: string[] = [];
  /** Takes the place of what the platform would answer; `undefined`: it does what it always does. */
  answer: (request: Request) => RequestOutcome | Promise<RequestOutcome> | undefined = () =>
    undefined;
  status: GatewayStatus;
  #ids = 0;

  constructor(spec: GatewaySpec, host: GatewayHost) {
    this.spec = spec;
    this.host = host;
    this.status = {
      state: 'starting',
      reason: null,
      since: '',
      pid: 1,
      restarts: 0,
      ready: null,
      dropped: 0,
      unknown: 0,
    };
  }

  ready(capabilities: GatewayCapability[], maxLength = 200): void {
    this.#set({
      state: 'ready',
      ready: {
        type: 'ready',
        gateway: 'fake',
        version: '1',
        protocol: 'v1',
        capabilities,
        limits: {
          max_length: maxLength,
          length_unit: 'utf16',
          max_buttons: 10,
          media_max_bytes: 0,
        },
        identity: { id: '1', username: 'my_bot' },
      },
    });
  }

  down(): void {
    this.#set({ state: 'backoff' });
  }

  #set(change: Partial<GatewayStatus>): void {
    this.status = { ...this.status, ...change };
    this.host.changed(this.status);
  }

  /** Texts of a chat, in order. */
  texts(chatId: string): string[] {
    return this.posts.filter((post) => post.chat_id === chatId).map((post) => post.text);
  }

  async request(request: Request, { signal }: { signal: AbortSignal }): Promise<RequestOutcome> {
    if (signal.aborted) return { type: 'unsent', reason: 'aborted' };
    if (this.status.state !== 'ready') return { type: 'unsent', reason: 'not ready' };
    await Promise.resolve();
    return (await this.answer(request)) ?? { type: 'answered', answer: this.perform(request) };
  }

  /** What the platform does with a request. */
  perform(request: Request): GatewayAnswer {
    const { request_id } = request;
    switch (request.type) {
      case 'send_message': {
        const { replaces } = request;
        const keyboard = (request.inline_keyboard ?? []).flat().map((button) => button.data);
        const known = this.posts.find((post) => post.id === replaces?.message_id);
        if (known) {
          known.text = request.content;
          return { type: 'command_ok', request_id, message_id: known.id };
        }
        this.#ids += 1;
        const id = `m${this.#ids}`;
        const { chat_id, thread_id, content, reply_to } = request;
        this.posts.push({ id, chat_id, thread_id, text: content, reply_to, keyboard });
        return { type: 'command_ok', request_id, message_id: id };
      }
      case 'send_media': {
        this.#ids += 1;
        const id = `m${this.#ids}`;
        const text = `file ${request.media.name}`;
        this.posts.push({ id, chat_id: request.chat_id, text, keyboard: [] });
        return { type: 'command_ok', request_id, message_id: id };
      }
      case 'edit_message': {
        const known = this.posts.find((post) => post.id === request.message_id);
        if (known) {
          known.text = request.content;
          known.keyboard = [];
        }
        return { type: 'command_ok', request_id };
      }
      case 'answer_callback_query':
        this.pressAnswers.push(request.text ?? '');
        return { type: 'command_ok', request_id };
      default:
        return {
          type: 'command_error',
          request_id,
          code: 'invalid_request',
          message: '',
          uncertain: false,
        };
    }
  }

  notify(command: Extract<GatewayCommand, { type: 'preview_message' | 'send_typing' }>): boolean {
    if (command.type === 'send_typing') this.typing.push(command.chat_id);
    else this.previews.push(command);
    return true;
  }

  async restart(): Promise<void> {
    this.down();
  }

  async stop(): Promise<void> {
    this.#set({ state: 'stopped' });
  }
}

/** A server's runtime with gateways in memory. `restart` keeps what a disk would keep. */
export class TestHub {
  readonly runtime: TestRuntime;
  readonly inboxes = new Map<string, MemoryInbox>();
  readonly artifacts = new Map<string, ArtifactRef>();
  /** Files of gateways that were removed. */
  readonly discarded: string[] = [];
  book: AccessBook = { pairings: [], requests: [] };
  hub!: GatewayHub;
  gateways = new Map<string, FakeGateway>();
  routes: RoutingSettings = { routes: [], defaultAgent: 'assistant', streaming: 'edit' };
  readonly #names: readonly string[];
  #messages = 0;

  constructor(options: RuntimeOptions & { gateways?: string[] } = {}) {
    this.#names = options.gateways ?? ['fake'];
    const open = {
      ...defaultAccess,
      dm: { policy: 'open' as const, allowlist: [] },
      groups: { ...defaultAccess.groups, policy: 'open' as const },
    };
    this.runtime = new TestRuntime({
      ...options,
      agent: { access: open, ...options.agent },
      chats: (runtime) => {
        this.hub = this.#makeHub(runtime);
        return this.hub;
      },
    });
  }

  #makeHub(runtime: TestRuntime): GatewayHub {
    const say = (_: object, text: string): void => void runtime.logged.push(text);
    const access: AccessStore = {
      read: async () => this.book,
      update: async (change) => (this.book = change(this.book)),
    };
    const artifacts: ArtifactStore = {
      take: async (_, meta) => {
        this.artifacts.set(meta.id, meta);
        return meta;
      },
      discard: async ({ path }) => void this.discarded.push(path),
      sweep: async () => undefined,
      put: async (_, { id, name, mime }) => {
        const ref = { id, name, mime, size: 0, sha256: '' };
        this.artifacts.set(id, ref);
        return ref;
      },
      read: async () => null,
      list: async () => [],
      get: async (id) => {
        const ref = this.artifacts.get(id);
        return ref ? { ref, path: `/artifacts/${id}` } : null;
      },
    };
    const runner: GatewayRunner = {
      run: (spec, host) => {
        const gateway = new FakeGateway(spec, host);
        this.gateways.set(spec.name, gateway);
        return gateway;
      },
    };
    return new GatewayHub(
      {
        clock: runtime.clock,
        log: { info: say, warn: say, error: say },
        agents: runtime.catalog,
        runner,
        inboxes: this.#inboxStore(),
        artifacts,
        access,
        mediaDir: (name) => `/media/${name}`,
        prepare: async () => undefined,
      },
      this.routes,
    );
  }

  /** Rules that were allowed always. */
  readonly rules: string[] = [];

  /** So many of the next appends are refused. */
  refuseAppends = 0;

  #inboxStore(): InboxStore {
    const store = memoryInboxStore(this.inboxes);
    return {
      open: async (gateway, options) => {
        const { inbox, unhanded } = await store.open(gateway, options);
        const append: Inbox['append'] = async (entry) => {
          if (this.refuseAppends === 0) return inbox.append(entry);
          this.refuseAppends -= 1;
          throw new DuragentError('storage_full', 'The disk is full.');
        };
        const wrapped: Inbox = {
          append,
          get cursor() {
            return inbox.cursor;
          },
          get limits() {
            return inbox.limits;
          },
          has: (key) => inbox.has(key),
          mark: (n) => inbox.mark(n),
          flush: () => inbox.flush(),
          keepLimits: (limits) => inbox.keepLimits(limits),
          close: () => inbox.close(),
        };
        return { inbox: wrapped, unhanded };
      },
    };
  }

  /** Starts the sessions and the gateways, which are ready with these capabilities. */
  async start(
    capabilities: GatewayCapability[] = ['ack', 'edit', 'reply', 'typing', 'inline_keyboard'],
  ) {
    await this.runtime.sessions.start();
    const { sessions, catalog: agents } = this.runtime;
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const allowAlways = async (_: unknown, rule: string): Promise<void> =>
      void this.rules.push(rule);
    const consent = new ConsentDesk({ sessions, agents, allowAlways, log });
    await this.hub.start(sessions, this.#names.map(specOf), consent);
    for (const gateway of this.gateways.values()) gateway.ready(capabilities);
    this.runtime.sessions.resume();
    await ticks();
    return this;
  }

  /** The server dies as it is, and another one starts on the same disk. */
  async restart(capabilities?: GatewayCapability[]): Promise<void> {
    this.hub.stopIntake();
    this.runtime.sessions.abandon(new DuragentError('epoch_lost', 'It died.'));
    await ticks();
    this.gateways.clear();
    await this.runtime.restart();
    await this.start(capabilities);
  }

  get gateway(): FakeGateway {
    return this.of('fake');
  }

  of(name: string): FakeGateway {
    const gateway = this.gateways.get(name);
    if (!gateway) throw new Error(`no gateway ${name}`);
    return gateway;
  }

  /** Somebody says something in a chat. Resolves when it is acknowledged and what it causes has begun. */
  async tell(
    text: string,
    change: Partial<MessageReceived> & { from?: string } = {},
  ): Promise<void> {
    // Nobody types so fast that it would be held together with what came before.
    await this.runtime.clock.advance(6_000);
    await this.send(this.message(text, change));
  }

  async send(event: InboundEvent): Promise<void> {
    await this.gateway.host.inbound(event);
    await ticks();
  }

  message(
    text: string,
    change: Partial<MessageReceived> & { from?: string } = {},
  ): MessageReceived {
    this.#messages += 1;
    const { from = 'ann', ...rest } = change;
    const chat_id = rest.chat_id ?? from;
    const chat_type = rest.routing?.chat_type ?? 'dm';
    return {
      type: 'message_received',
      event_id: `e${this.#messages}`,
      message_id: `p${this.#messages}`,
      edited: false,
      chat_id,
      sender: { id: from, display_name: from, is_bot: false },
      content: { text },
      mentions_bot: false,
      reply_to_bot: false,
      timestamp: '2026-01-01T00:00:00Z',
      metadata: {},
      ...rest,
      routing: { chat_type, chat_id, sender_id: from },
    };
  }

  /** The model answers the newest call, and what that causes has been done. */
  async answer(text: string): Promise<void> {
    const call = this.runtime.model.calls.at(-1);
    if (!call) throw new Error('nobody asked the model');
    call.done(text);
    await ticks();
    await ticks();
  }
}

/** How a message of a group is marked. */
export const inGroup = (chatId: string) =>
  ({ chat_id: chatId, routing: { chat_type: 'group', chat_id: chatId, sender_id: '' } }) as const;

function specOf(name: string): GatewaySpec {
  return { name, command: name, args: [], env: {}, config: {}, restart: 'on_failure' };
}
