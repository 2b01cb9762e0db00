import type { GatewayView, OutboxPage, SessionEvent, SessionView } from '@duragent/protocol';
import type { ShownMessage } from '../../gateways/telegram/simulator/control/sight.ts';
import {
  startTelegramSimulator,
  type TelegramSimulator,
  type TelegramSimulatorOptions,
} from '../../gateways/telegram/simulator/simulator.ts';
import { type Run, type Server, Workspace } from './duragent.ts';
import { readAllLogs, settledFaults, textOf } from './session-log.ts';
import { until } from './until.ts';

export type { ShownMessage } from '../../gateways/telegram/simulator/control/sight.ts';

/**
 * What `agent.yaml` says of who may speak with a bot: everybody, unless there are other lines, and
 * its owners. Each message is taken by itself.
 */
export function accessOf(more: { owners?: readonly number[]; lines?: readonly string[] } = {}) {
  const { owners = [], lines = ['dm: { policy: open }', 'groups: { policy: open }'] } = more;
  const all = [
    `owners: [${owners.map((id) => `"telegram:${id}"`).join(', ')}]`,
    'queue: { debounce: { enabled: false } }',
    ...lines,
  ];
  return ['access:', ...all.map((line) => `  ${line}`)].join('\n');
}

export interface BotOptions {
  /** `agent.yaml` of each agent, by its name; one that has no `access` lets everybody speak. */
  agents: Record<string, string>;
  /** Lines of duragent.yaml beside `gateways`. */
  config?: string;
  simulator?: TelegramSimulatorOptions;
}

/** A bot in a simulated Telegram, with every process real: `duragent serve` and its gateway. */
export class TelegramBot implements AsyncDisposable {
  readonly telegram: TelegramSimulator;
  readonly workspace: Workspace;
  #server: Server | null = null;

  private constructor(telegram: TelegramSimulator, workspace: Workspace) {
    this.telegram = telegram;
    this.workspace = workspace;
  }

  /** Starts all of it, and waits until the gateway is ready. */
  static async start(options: BotOptions): Promise<TelegramBot> {
    const bot = await TelegramBot.prepare(options);
    await bot.serve();
    await bot.ready();
    return bot;
  }

  /** The same without a server. */
  static async prepare({ agents, config = '', simulator }: BotOptions): Promise<TelegramBot> {
    const telegram = await startTelegramSimulator(simulator);
    const withAccess = Object.entries(agents).map(([name, yaml]) => [
      name,
      /^access:/m.test(yaml) ? yaml : `${yaml}\n${accessOf()}`,
    ]);
    const workspace = await Workspace.create(Object.fromEntries(withAccess));
    const bot = new TelegramBot(telegram, workspace);
    await bot.configure(config);
    return bot;
  }

  /** Writes duragent.yaml. `gateway`: more keys of the gateway's config. */
  async configure(config: string, gateway: Record<string, string> = {}): Promise<void> {
    const keys = { bot_token: this.telegram.token, api_root: this.telegram.url, ...gateway };
    const written = Object.entries(keys).map(([key, value]) => `${key}: "${value}"`);
    const entry = `{ name: telegram, command: duragent-gateway-telegram, config: { ${written.join(', ')} } }`;
    await this.workspace.configure(`${config}\ngateways: { external: [ ${entry} ] }\n`);
  }

  get control(): TelegramSimulator['control'] {
    return this.telegram.control;
  }

  get server(): Server {
    if (this.#server === null) throw new Error('the server does not run');
    return this.#server;
  }

  /** Starts the server; its gateway may not be ready yet. */
  async serve(): Promise<Run> {
    this.#server = await this.workspace.serve();
    return this.#server.run;
  }

  /** The gateway as operators see it. */
  async gateway(): Promise<GatewayView> {
    const { body } = await this.server.api.get<{ gateways: GatewayView[] }>('/admin/gateways');
    const [view] = body.gateways;
    if (view === undefined) throw new Error('there is no gateway');
    return view;
  }

  /** Waits until the gateway is ready, with another process than `before`. @returns its process id. */
  async ready(before: number | null = null): Promise<number> {
    const view = await until('the gateway is ready', async () => {
      const now = await this.gateway();
      return now.state === 'ready' && now.pid !== before && now;
    });
    return (view && view.pid) || -1;
  }

  /** `kill -9` of the gateway. Resolves when its successor is ready. */
  async killGateway(): Promise<void> {
    const { pid } = await this.gateway();
    if (pid === null) throw new Error('the gateway does not run');
    process.kill(pid, 'SIGKILL');
    await this.ready(pid);
  }

  /** `kill -9` of the server. Resolves when its successor and that one's gateway are ready. */
  async killServer(): Promise<void> {
    await this.endServer();
    await this.serve();
    await this.ready();
  }

  /** `kill -9` of the server, and nothing after it. */
  async endServer(): Promise<void> {
    const { run } = this.server;
    this.#server = null;
    await run.kill('SIGKILL');
  }

  /** A person, and their private chat with the bot. */
  person(first_name: string, more: { id?: number } = {}): TelegramChat {
    const { id } = this.control.createUser({ first_name, ...more });
    return new TelegramChat(this, id, id);
  }

  /** A group with these people and the bot. */
  group(
    people: readonly TelegramChat[],
    more: { type?: 'group' | 'supergroup'; is_forum?: boolean } = {},
  ): TelegramChat {
    const members = people.map(({ id }) => id);
    const { id } = this.control.createChat({
      type: 'supergroup',
      title: 'Garden',
      members,
      ...more,
    });
    return new TelegramChat(this, id, members[0] ?? 0);
  }

  /** The session that a chat shows; null: none yet. */
  async sessionOf({ id, thread }: TelegramChat): Promise<string | null> {
    const query = thread === null ? '' : `?thread=${thread}`;
    const reply = await this.server.api.get<{ session: string }>(`/chats/telegram/${id}${query}`);
    return reply.status === 200 ? reply.body.session : null;
  }

  /** Waits until somebody's message with this text is in a log. */
  async hears(text: string): Promise<void> {
    await until(`"${text}" is in a log`, async () => {
      const logs = await readAllLogs(this.workspace.dataDir);
      return logs.some(({ events }) =>
        events.some((event) => event.type === 'user_message' && textOf(event) === text),
      );
    });
  }

  /** Waits until all that was said is confirmed to Telegram, nothing works, and nothing is owed; `chat`: there. */
  async rest(chat?: TelegramChat): Promise<void> {
    const { api } = this.server;
    const isMeant = (id: number | string | null): boolean =>
      chat === undefined || id === chat.id || id === String(chat.id);
    await until('all is at rest', async () => {
      const updates = this.control.updates().filter(({ chat_id }) => isMeant(chat_id));
      if (updates.some(({ state }) => state !== 'confirmed')) return false;
      const { body } = await api.get<{ sessions: SessionView[] }>('/sessions');
      const works = body.sessions.filter(({ turn_state }) => turn_state !== 'idle');
      if (works.some(({ chats }) => chats.some(({ chat_id }) => isMeant(chat_id)))) return false;
      const outbox = await api.get<OutboxPage>('/admin/outbox');
      const owed = outbox.body.deliveries.filter(({ chat_id }) => isMeant(chat_id));
      return owed.every(({ state }) => state === 'dead');
    });
  }

  /**
   * Where Telegram and the logs contradict each other, of a bot at rest: what people said that is
   * in no log or in more than one place, and parts that the chats show not at all or twice.
   * @param unheard texts that are kept nowhere: commands of the server, and what strangers say.
   */
  async faults(unheard: RegExp = /^\//): Promise<string[]> {
    const logs = await readAllLogs(this.workspace.dataDir);
    const events = logs.flatMap((log) => log.events);
    const faults = logs.flatMap((log) => settledFaults(log.events));
    const heard = new Map<string, number>();
    for (const event of events) {
      if (event.type !== 'user_message' || !event.source.chat) continue;
      const { chat_id, message_id } = event.source.chat;
      const said = `${chat_id}/${message_id}: ${textOf(event)}`;
      heard.set(said, (heard.get(said) ?? 0) + 1);
    }
    for (const update of this.control.updates({ full: true })) {
      const { chat_id, message_id, text, type } = update;
      const isSaid = type === 'message' || type === 'edited_message';
      const message = update.update?.message ?? update.update?.edited_message;
      const isService = message !== undefined && text === null && !('document' in message);
      if (!isSaid || isService || unheard.test(text ?? '')) continue;
      const said = `${chat_id}/${message_id}: ${text ?? ''}`;
      if (heard.get(said) !== 1) faults.push(`in the logs ${heard.get(said) ?? 0} times: ${said}`);
    }
    return [...faults, ...this.#deliveryFaults(events)];
  }

  #deliveryFaults(events: readonly SessionEvent[]): string[] {
    const faults: string[] = [];
    const owed = new Map<string, { chat: string; text: string }>();
    const edited = new Set<string>();
    for (const event of events) {
      const deliveries = 'deliveries' in event ? (event.deliveries ?? []) : [];
      const whole = event.type === 'assistant_message' ? textOf(event) : '';
      for (const { out, chat_id: chat, parts, edits } of deliveries) {
        if (edits) edited.add(out);
        for (const [index, part] of parts.entries()) {
          const text = 'file' in part ? '' : whole.slice(part.from, part.to);
          owed.set(`${out}/${index + 1}`, { chat, text });
        }
      }
    }
    const { messages } = this.control.snapshot();
    const shown = new Map<string, ShownMessage>();
    const moved = new Map<string, string>();
    for (const one of messages) {
      if (one.is_from_bot) shown.set(`${one.chat_id}/${one.message_id}`, one);
      const to = one.message.migrate_to_chat_id;
      if (to !== undefined) moved.set(String(one.chat_id), String(to));
    }
    const posted = new Set<string>();
    for (const event of events) {
      if (event.type !== 'delivery_finished' || event.outcome !== 'delivered') continue;
      const name = `${event.out}/${event.part}`;
      const part = owed.get(name);
      if (!part || !owed.delete(name)) {
        faults.push(`delivered twice: ${name}`);
        continue;
      }
      if (edited.has(event.out)) continue;
      const message = `${moved.get(part.chat) ?? part.chat}/${event.platform_message_id}`;
      if (posted.has(message)) faults.push(`two parts are the message ${message}`);
      posted.add(message);
      const text = shown.get(message)?.text;
      if (text === undefined) faults.push(`not shown: ${message}`);
      else if (!saysAll(text, part.text)) faults.push(`not all of ${message} is shown: ${text}`);
    }
    for (const name of owed.keys()) faults.push(`not delivered: ${name}`);
    return faults;
  }

  /** Kills what a story names. */
  async kill(what: 'gateway' | 'server'): Promise<void> {
    await (what === 'gateway' ? this.killGateway() : this.killServer());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.workspace.close();
    await this.telegram.close();
  }
}

/** A chat, or a topic of one, as the people in it see it. */
export class TelegramChat {
  readonly id: number;
  readonly thread: number | null;
  readonly #bot: TelegramBot;
  /** Who speaks when nobody is named. */
  readonly #person: number;

  constructor(bot: TelegramBot, id: number, person: number, thread: number | null = null) {
    this.#bot = bot;
    this.id = id;
    this.#person = person;
    this.thread = thread;
  }

  /** A topic of this forum. */
  topic(name: string): TelegramChat {
    const { message_thread_id } = this.#bot.control.createTopic({
      chat_id: this.id,
      user_id: this.#person,
      name,
    });
    return new TelegramChat(this.#bot, this.id, this.#person, message_thread_id);
  }

  /** Makes a supergroup of this group. @returns that. */
  migrated(): TelegramChat {
    const { chat_id } = this.#bot.control.migrate({ chat_id: this.id });
    return new TelegramChat(this.#bot, chat_id, this.#person);
  }

  /** Says something. @returns the message's id. */
  say(text: string, { by, replyTo }: { by?: TelegramChat; replyTo?: number } = {}): number {
    return this.#bot.control.say({
      ...this.#place(by),
      ...(replyTo === undefined ? {} : { reply_to: replyTo }),
      text,
    }).message_id;
  }

  /** Changes what was said. */
  edit(message_id: number, text: string): void {
    this.#bot.control.edit({ chat_id: this.id, message_id, text });
  }

  /** Sends a file as a document. */
  sendFile(file: { bytes: Uint8Array; name: string; mime?: string; caption?: string }) {
    return this.#bot.control.sendFile({ ...this.#place(), kind: 'document', ...file });
  }

  /** Presses a button of a message by its text. @returns what the presser is told. */
  async press(message: ShownMessage, text: string, by?: TelegramChat): Promise<string> {
    const { control } = this.#bot;
    const { callback_query_id: id } = control.press({
      chat_id: this.id,
      message_id: message.message_id,
      user_id: by?.id ?? this.#person,
      text,
    });
    const answer = await until(`the press of ${text} is answered`, () => {
      return control.presses().find((press) => press.callback_query_id === id)?.answer;
    });
    return answer?.text ?? '';
  }

  /** All that the bot posted here and did not take back, oldest first. */
  posts(): ShownMessage[] {
    const thread = this.thread === null ? {} : { thread_id: this.thread };
    const all = this.#bot.control.readChat({ chat_id: this.id, ...thread });
    return all.filter((message) => message.is_from_bot);
  }

  texts(): string[] {
    return this.posts().map(({ text }) => text);
  }

  /**
   * Waits until the bot has posted exactly this here, and stays with it when all is at rest.
   * @throws Error that shows what it posted.
   */
  async shows(...expected: readonly (string | RegExp)[]): Promise<ShownMessage[]> {
    const isShown = (): boolean => {
      const texts = this.texts();
      return (
        texts.length === expected.length && texts.every((text, at) => fits(text, expected[at]))
      );
    };
    try {
      await until(`the chat shows ${expected.join(' | ')}`, isShown);
      await this.#bot.rest(this);
    } catch (error) {
      throw new Error(`the chat shows ${JSON.stringify(this.texts())}`, { cause: error });
    }
    if (!isShown()) throw new Error(`in the end the chat shows ${JSON.stringify(this.texts())}`);
    return this.posts();
  }

  #place(by?: TelegramChat) {
    const thread = this.thread === null ? {} : { thread_id: this.thread };
    return { chat_id: this.id, user_id: by?.id ?? this.#person, ...thread };
  }
}

/** Whether all words of a text without Markdown are shown, and nothing more; of others nothing is said. */
function saysAll(shown: string, text: string): boolean {
  const words = (from: string): string => from.match(/[\p{L}\p{N}]+/gu)?.join(' ') ?? '';
  const isPlain = /^[\p{L}\p{N}\s.,:;!?'-]+$/u.test(text);
  const isList = /^\s*(?:-|\d+\.)\s/m.test(text);
  return !isPlain || isList || words(shown.replace(/^\[sent again\]/, '')) === words(text);
}

function fits(text: string, expected: string | RegExp | undefined): boolean {
  return expected instanceof RegExp ? expected.test(text) : text === expected;
}
