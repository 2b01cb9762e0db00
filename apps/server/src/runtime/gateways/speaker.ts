import { type ChatAddress, type InlineKeyboard, isTransient } from '@duragent/protocol';
import { type Clock, sleep } from '../../ports/clock.ts';
import type { RequestOutcome } from '../../ports/gateway.ts';
import type { ChatPlace } from './bindings.ts';
import { type ChatReach, REQUEST_MS } from './chat-reach.ts';
import { fit } from './fit.ts';
import type { GatewayLink } from './gateway-link.ts';

/** How long an answer to a slash command waits for its gateway, in ms. */
const SAY_MS = 60_000;
/** How soon one that was refused for the moment is sent again, in ms. */
const SAY_AGAIN_MS = 1_000;

/** Says in chats what is recorded nowhere: answers to commands and presses, and lines of progress. */
export class Speaker {
  readonly #clock: Clock;
  readonly #reach: ChatReach;
  readonly #never = new AbortController().signal;

  constructor(clock: Clock, reach: ChatReach) {
    this.#clock = clock;
    this.#reach = reach;
  }

  /**
   * Answers in a chat: not recorded, so it is posted once or not at all. What was refused for the
   * moment is tried again, for as long as anybody waits. @returns the platform's message id.
   */
  async say(
    place: ChatPlace,
    text: string,
    options: { keyboard?: InlineKeyboard; replyTo?: string; signal: AbortSignal },
  ): Promise<string | null> {
    const until = this.#clock.now() + SAY_MS;
    const leave = await this.#reach.enter(place, options.signal);
    try {
      for (;;) {
        const link = await this.#reach.ready(place, until, options.signal);
        if (!link?.running) return null;
        const outcome = await this.#sayOnce(place, text, link, options);
        if (outcome.type === 'answered' && outcome.answer.type === 'command_ok') {
          return outcome.answer.message_id ?? null;
        }
        const wait = repeatAfter(outcome);
        if (wait === null || this.#clock.now() + wait >= until) return null;
        await sleep(this.#clock, wait, options.signal);
      }
    } finally {
      leave();
    }
  }

  /**
   * Says something if the chat can be reached at once; `text` is read when its turn in the chat has
   * come. Once or not at all. @returns its message, null where nobody knows; `unsent`: it was not posted.
   */
  async sayNow(
    chat: ChatAddress,
    text: () => string,
    signal: AbortSignal,
  ): Promise<{ message: string | null } | 'unsent'> {
    const leave = await this.#reach.enter(chat, signal);
    try {
      const link = this.#reach.openNow(chat);
      if (signal.aborted || !link) return 'unsent';
      // What was begun is let to its end: what follows in the chat waits for it.
      const outcome = await this.#sayOnce(chat, text(), link, { signal: this.#never });
      if (outcome.type === 'unsent') return 'unsent';
      const answer = outcome.type === 'answered' ? outcome.answer : null;
      return { message: answer?.type === 'command_ok' ? (answer.message_id ?? null) : null };
    } finally {
      leave();
    }
  }

  /** Gives a message a new text if its chat can be reached at once. @returns how long the platform wants to wait, in ms. */
  async editNow(
    chat: ChatAddress,
    message: string,
    text: string,
    signal: AbortSignal,
  ): Promise<{ waitMs: number }> {
    const link = this.#reach.link(chat.gateway);
    const isPossible = link?.isReady === true && link.can('edit');
    if (!isPossible || !link.running || signal.aborted) return { waitMs: 0 };
    const outcome = await link.running.request(
      {
        type: 'edit_message',
        ...this.#reach.about(chat),
        message_id: message,
        content: fit(text, link.limits),
        format: 'text',
      },
      { timeoutMs: REQUEST_MS, signal },
    );
    const refusal = outcome.type === 'answered' ? outcome.answer : null;
    return { waitMs: refusal?.type === 'command_error' ? (refusal.retry_after_ms ?? 0) : 0 };
  }

  /** Answers a press, and puts what came of it in place of the message that was pressed. */
  async answerPress(
    press: { place: ChatPlace; callbackQueryId: string; messageId: string },
    answer: { toast: string; text?: string },
    signal: AbortSignal,
  ): Promise<void> {
    const link = this.#reach.link(press.place.gateway);
    const running = link?.running;
    if (!link || !running) return;
    const options = { timeoutMs: REQUEST_MS, signal };
    await running.request(
      {
        type: 'answer_callback_query',
        request_id: this.#reach.requestId(),
        callback_query_id: press.callbackQueryId,
        text: answer.toast.slice(0, 190).toWellFormed(),
      },
      options,
    );
    if (answer.text === undefined || !link.can('edit')) return;
    await running.request(
      {
        type: 'edit_message',
        ...this.#reach.about(press.place),
        message_id: press.messageId,
        content: fit(answer.text, link.limits),
        format: 'text',
      },
      options,
    );
  }

  async #sayOnce(
    place: ChatAddress & Partial<Pick<ChatPlace, 'chat_type'>>,
    text: string,
    link: GatewayLink,
    options: { keyboard?: InlineKeyboard; replyTo?: string; signal: AbortSignal },
  ): Promise<RequestOutcome> {
    const { running } = link;
    if (!running) return { type: 'unsent', reason: 'The gateway is not running.' };
    const keyboard = link.can('inline_keyboard') ? options.keyboard : undefined;
    const isReply = options.replyTo !== undefined && place.chat_type !== 'dm';
    return running.request(
      {
        type: 'send_message',
        ...this.#reach.about(place),
        content: fit(text, link.limits),
        format: 'text',
        ...(isReply ? { reply_to: options.replyTo } : {}),
        ...(keyboard ? { inline_keyboard: keyboard } : {}),
        part: 1,
        parts: 1,
      },
      { timeoutMs: REQUEST_MS, signal: options.signal },
    );
  }
}

/** How long to wait before a request is made again of which nothing happened, in ms; null: never. */
function repeatAfter(outcome: RequestOutcome): number | null {
  if (outcome.type === 'unsent') return SAY_AGAIN_MS;
  if (outcome.type === 'lost' || outcome.answer.type !== 'command_error') return null;
  const { uncertain, code, retry_after_ms: asked = 0 } = outcome.answer;
  return uncertain || !isTransient(code) ? null : Math.max(asked, SAY_AGAIN_MS);
}
