import { setTimeout as delay } from 'node:timers/promises';
import type { CommandOf } from '@duragent/protocol';
import type { Calls } from './calls.ts';
import { readId } from './ids.ts';

/** Telegram shows that somebody writes for 5 s. */
const TYPING_MS = 4500;
const MAX_TYPING = 1000;

/** Shows in chats and threads that the bot writes. */
export class Typing {
  readonly #calls: Calls;
  /** What ends it, by its place. */
  readonly #shown = new Map<string, AbortController>();
  #isClosed = false;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /** Shows it until a message comes or the time is over. */
  show(command: CommandOf<'send_typing'>): void {
    const chat = readId(command.chat_id);
    if (chat === null || this.#isClosed) return;
    this.stop(command);
    if (command.duration === 0) return;
    const ending = new AbortController();
    this.#shown.set(placeOf(command), ending);
    for (const [place, oldest] of this.#shown) {
      if (this.#shown.size <= MAX_TYPING) break;
      oldest.abort();
      this.#shown.delete(place);
    }
    void this.#keep(command, chat, ending.signal).finally(() => {
      if (this.#shown.get(placeOf(command)) === ending) this.#shown.delete(placeOf(command));
    });
  }

  /** A message comes there. */
  stop(where: Place): void {
    this.#shown.get(placeOf(where))?.abort();
    this.#shown.delete(placeOf(where));
  }

  /** Shows it nowhere any more. */
  close(): void {
    this.#isClosed = true;
    for (const ending of this.#shown.values()) ending.abort();
  }

  async #keep(command: CommandOf<'send_typing'>, chat: number, signal: AbortSignal): Promise<void> {
    const { api, pacer } = this.#calls;
    const until = performance.now() + command.duration;
    while (!signal.aborted) {
      if (pacer.takeSpare(chat, 'action')) {
        const what = { message_thread_id: readId(command.thread_id) ?? undefined };
        // Aborted with the typing: shown after the message it would say that another one comes.
        await this.#calls.call(chat, 'action', 'sendChatAction', signal, (id, its) =>
          api.sendChatAction({ chat_id: id, action: 'typing', ...what }, its),
        );
      }
      const leftMs = until - performance.now();
      if (leftMs <= 0) return;
      await delay(Math.min(TYPING_MS, leftMs), undefined, { signal, ref: false }).catch(
        () => undefined,
      );
      if (performance.now() >= until) return;
    }
  }
}

interface Place {
  chat_id: string;
  thread_id?: string | undefined;
}

function placeOf(where: Place): string {
  return `${where.chat_id}/${where.thread_id ?? ''}`;
}
