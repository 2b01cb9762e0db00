import {
  DuragentError,
  type FilePart,
  type InboundEvent,
  type MessageReceived,
  type UserPart,
} from '@duragent/protocol';
import { oneLine } from '../../core/display-text.ts';
import { isSameChat } from '../../core/session/chat-key.ts';
import type { ArtifactStore } from '../../ports/artifact-store.ts';
import { type Clock, sleep } from '../../ports/clock.ts';
import type { InboxEntry } from '../../ports/inbox.ts';
import type { Logger } from '../logger.ts';
import type { ChatPlace } from './bindings.ts';
import { artifactIdOf, type ChatSessions } from './chat-sessions.ts';
import { type Judgement, placeOf } from './judge.ts';

/** How long after a failure of the storage an arrival is handed over again, in ms. */
const AGAIN_MS = 5_000;
/** Times that a chat may move to another session while a message is on its way. */
const MAX_MOVES = 5;

/** An arrival that people wait for an answer to: a slash command or a press, allowed when it came. */
export interface Ask {
  place: ChatPlace;
  agent: string;
  n: number;
  event: Exclude<InboundEvent, { type: 'chat_migrated' }>;
}

export interface HandoverDeps {
  clock: Clock;
  log: Logger;
  sessions: ChatSessions;
  artifacts: ArtifactStore;
  /** Folder that a gateway puts files into. */
  mediaDir: (gateway: string) => string;
  typeOf: (place: {
    gateway: string;
    account: string;
    chat_id: string;
  }) => ChatPlace['chat_type'] | null;
  /** Judges an arrival anew, whose agent did not load when it came. */
  judge: (event: InboundEvent) => Promise<Judgement>;
  /** The highest number that a chat was heard with. */
  heard: { get: (place: ChatPlace) => number; set: (place: ChatPlace, n: number) => void };
  /** Does what a slash command or a press asks for. */
  onAsk: (ask: Ask) => Promise<void>;
  onStranger: (ask: Ask) => Promise<void>;
}

/** Makes session events of inbox entries: for each chat in the order of the inbox, each once. */
export class Handover {
  readonly #deps: HandoverDeps;
  readonly #gateway: string;
  readonly #signal: AbortSignal;
  /** What each chat's next arrival waits for. */
  readonly #chats = new Map<string, Promise<void>>();

  constructor(gateway: string, deps: HandoverDeps, signal: AbortSignal) {
    this.#gateway = gateway;
    this.#deps = deps;
    this.#signal = signal;
  }

  /** Takes the next entry. Resolves when it was handed over; rejects only when the signal aborts. */
  take(entry: InboxEntry): Promise<void> {
    const { event } = entry;
    if (!event || entry.disposition === 'block' || entry.disposition === 'no_route') {
      return Promise.resolve();
    }
    // What comes under the new id waits until the chat has moved.
    const keys =
      event.type === 'chat_migrated' ? [event.chat_id, event.new_chat_id] : [event.chat_id];
    const before = Promise.all(keys.map((key) => this.#chats.get(key) ?? Promise.resolve()));
    const done = before.then(() => this.#untilDone(entry, event));
    const settled = done.then(
      () => undefined,
      () => undefined,
    );
    for (const key of keys) this.#chats.set(key, settled);
    void settled.then(() => {
      for (const key of keys) if (this.#chats.get(key) === settled) this.#chats.delete(key);
    });
    return done;
  }

  /** Resolves when nothing is being handed over: after the signal aborted that is soon. */
  async settled(): Promise<void> {
    await Promise.all(this.#chats.values());
  }

  /** Storage that is full or failed gets better, or the server stops; nothing else is tried twice. */
  async #untilDone(entry: InboxEntry, event: InboundEvent): Promise<void> {
    for (;;) {
      this.#signal.throwIfAborted();
      try {
        await this.#handOver(entry, event);
        return;
      } catch (error) {
        this.#signal.throwIfAborted();
        const { log, clock } = this.#deps;
        const fields = { gateway: this.#gateway, n: entry.n, err: error };
        if (!(error instanceof DuragentError && isPassing(error))) {
          log.error(fields, 'arrival could not be handed over');
          return;
        }
        log.warn(fields, 'arrival waits: it is handed over again');
        await sleep(clock, AGAIN_MS, this.#signal);
      }
    }
  }

  async #handOver(entry: InboxEntry, event: InboundEvent): Promise<void> {
    if (event.type === 'chat_migrated') {
      const from = { gateway: this.#gateway, account: this.#gateway, chat_id: event.chat_id };
      await this.#deps.sessions.migrate(from, event.new_chat_id);
      return;
    }
    const address = { gateway: this.#gateway, account: this.#gateway, chat_id: event.chat_id };
    const place = placeOf(this.#gateway, event, this.#deps.typeOf(address) ?? undefined);
    let { agent = '', disposition } = entry;
    if (disposition === 'unjudged') {
      ({ agent = agent, disposition } = await this.#deps.judge(event));
      if (disposition === 'unjudged') throw agentMissing(agent);
    }
    const ask = { place, agent, n: entry.n, event };
    if (!said.has(disposition)) this.discardFiles(event);
    switch (disposition) {
      case 'command':
        await this.#deps.onAsk(ask);
        return;
      case 'pairing':
        await this.#deps.onStranger(ask);
        return;
      case 'turn':
      case 'passive':
      case 'silent':
        if (event.type === 'message_received') await this.#say(ask, disposition, event);
        return;
      case 'migrate':
      case 'block':
      case 'no_route':
        return;
    }
  }

  /** Removes the files of what nobody is told: whoever may not speak fills no disk. */
  discardFiles(event: InboundEvent): void {
    if (event.type !== 'message_received') return;
    const { artifacts, log, mediaDir } = this.#deps;
    const root = mediaDir(this.#gateway);
    for (const { path } of event.content.media ?? []) {
      artifacts
        .discard({ path, root })
        .catch((error: unknown) =>
          log.warn({ gateway: this.#gateway, err: error }, 'file not removed'),
        );
    }
  }

  async #say(
    { place, agent, n }: Ask,
    handling: 'turn' | 'passive' | 'silent',
    event: MessageReceived,
  ): Promise<void> {
    const { heard } = this.#deps;
    if (n <= heard.get(place)) return;
    for (let moves = 0; moves < MAX_MOVES; moves += 1) {
      const actor = await this.#deps.sessions.forArrival(place, agent, n);
      const bound = actor.chats.find((chat) => isSameChat(chat, place));
      if (bound && bound.inbox >= n) return;
      const content = await this.#contentOf(event, n);
      const isTaken = await actor.receiveFromChat({
        content,
        handling,
        source: {
          kind: 'gateway',
          sender: {
            name: nameOf(event),
            id: event.sender.id,
            ...(event.sender.is_bot ? { is_bot: true } : {}),
          },
          chat: {
            gateway: place.gateway,
            account: place.account,
            chat_id: place.chat_id,
            ...(place.thread_id === undefined ? {} : { thread_id: place.thread_id }),
            chat_type: place.chat_type,
            message_id: event.message_id,
          },
          inbox: { account: place.account, n },
        },
        ...(event.edited ? { edits: event.message_id } : {}),
      });
      if (isTaken) {
        heard.set(place, n);
        return;
      }
    }
    throw new DuragentError('conflict', 'The chat moved from session to session.');
  }

  async #contentOf({ content }: MessageReceived, n: number): Promise<UserPart[]> {
    const texts: string[] = [];
    if (content.text !== undefined && content.text !== '') texts.push(content.text);
    if (content.location) {
      const { latitude, longitude, name } = content.location;
      texts.push(`[location: ${latitude}, ${longitude}${name ? `, ${name}` : ''}]`);
    }
    if (content.contact) {
      const { name, phone } = content.contact;
      texts.push(`[contact: ${[name, phone].filter(Boolean).join(', ')}]`);
    }
    if (content.unknown !== undefined) texts.push(`[${content.unknown}]`);
    const files: FilePart[] = [];
    for (const [index, file] of (content.media ?? []).entries()) {
      const id = artifactIdOf(this.#gateway, n, index);
      const { path, ...meta } = file;
      const root = this.#deps.mediaDir(this.#gateway);
      const name = oneLine(meta.name, 200) || 'file';
      try {
        const ref = await this.#deps.artifacts.take({ path, root }, { id, ...meta, name });
        files.push({
          type: 'file',
          artifact: ref.id,
          name: ref.name,
          mime: ref.mime,
          size: ref.size,
        });
      } catch (error) {
        if (!(error instanceof DuragentError) || error.code === 'storage_full') throw error;
        texts.push(`[file ${name}: it could not be kept]`);
        this.#deps.log.warn({ gateway: this.#gateway, n, err: error }, 'file not kept');
      }
    }
    if (texts.length === 0 && files.length === 0) texts.push('[empty message]');
    return [...texts.map((text) => ({ type: 'text' as const, text })), ...files];
  }
}

/** What becomes a message of a session; its files become artifacts. */
const said: ReadonlySet<InboxEntry['disposition']> = new Set(['turn', 'passive', 'silent']);

/** Whether a failure goes away by itself, or the server does: then the next one hands it over. */
function isPassing({ code }: DuragentError): boolean {
  return (
    code === 'storage_full' ||
    code === 'storage_failed' ||
    code === 'queue_full' ||
    code === 'epoch_lost' ||
    code === 'draining' ||
    code === 'agent_invalid' ||
    code === 'agent_not_found'
  );
}

function agentMissing(agent: string): DuragentError {
  return new DuragentError(
    'agent_not_found',
    `The agent ${agent} does not load; duragent agent validate says why. What was sent to it waits.`,
  );
}

/** What a sender is called, in one line. */
function nameOf({ sender }: { sender: MessageReceived['sender'] }): string {
  return oneLine(sender.display_name || sender.username || sender.id, 100) || sender.id;
}
