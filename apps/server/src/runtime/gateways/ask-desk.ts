import type { AgentCatalog } from '../../ports/agent-catalog.ts';
import { type Arrival, arrivalOf } from '../../core/arrival.ts';
import type { Logger } from '../logger.ts';
import { runSlashCommand, type SlashDeps } from '../slash-commands.ts';
import type { ChatPlace } from './bindings.ts';
import type { Ask } from './handover.ts';
import type { Judge } from './judge.ts';
import type { PairingDesk } from './pairing-desk.ts';
import type { Speaker } from './speaker.ts';

/** The sessions that people ask something of. */
type AskedOf = Pick<SlashDeps, 'chats' | 'consent' | 'summaries'>;

interface DeskDeps {
  log: Logger;
  agents: AgentCatalog;
  judge: Judge;
  pairing: PairingDesk;
  speaker: Speaker;
  /** Aborts when nothing more is to be said. */
  signal: AbortSignal;
}

/** Answers what is asked of the server itself in chats: slash commands, presses, and strangers. */
export class AskDesk {
  readonly #deps: DeskDeps;

  constructor(deps: DeskDeps) {
    this.#deps = deps;
  }

  /** Does what a slash command or a press asks for, if whoever asks may still do so. */
  async answer(ask: Ask, { chats, consent, summaries }: AskedOf): Promise<void> {
    const { judge, pairing, speaker, signal } = this.#deps;
    const { place, event } = ask;
    const arrival = arrivalOf(place.gateway, event, place.chat_type);
    const agent = arrival && (await judge.agentFor(arrival));
    if (!arrival || !agent) return;
    const access = await judge.access(agent, arrival);
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
            pairing,
            consent,
            summaries,
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
    this.#inBackground(speaker.answerPress(press, shown, signal));
  }

  /** Tells a stranger how to be let in. */
  async answerStranger(ask: Ask): Promise<void> {
    const text = await this.#deps.pairing.ask(ask);
    if (text !== null) this.#say(ask.place, text, {});
  }

  /** Tells somebody who was let in. Best effort. */
  welcome(chat: { gateway: string; chat_id: string; thread_id?: string }): void {
    const place: ChatPlace = { ...chat, account: chat.gateway, chat_type: 'dm' };
    this.#say(place, 'You were let in. Write something.', {});
  }

  async #isOwnerOf(name: string, arrival: Arrival): Promise<boolean> {
    const agent = await this.#deps.agents.get(name);
    return agent !== null && (await this.#deps.judge.access(agent, arrival)).isOwner;
  }

  #say(
    place: ChatPlace,
    text: string,
    options: Omit<Parameters<Speaker['say']>[2], 'signal'>,
  ): void {
    const { signal, speaker } = this.#deps;
    this.#inBackground(speaker.say(place, text, { ...options, signal }));
  }

  #inBackground(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (!this.#deps.signal.aborted) this.#deps.log.warn({ err: error }, 'answer not sent');
    });
  }
}
