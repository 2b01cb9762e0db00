import {
  isKnownEvent,
  type MessageSource,
  type StoredEvent,
  type Usage,
  usageSchema,
} from '@duragent/protocol';
import { z } from 'zod';
import type { CallName, SettledCall } from './settled-call.ts';

/** Messages whose senders are remembered until a turn answers them; a session holds fewer that wait. */
const MAX_MESSAGES = 128;

/** What an event may say of a call's cost. */
const chargeSchema = z.looseObject({
  usage: usageSchema.extend({ usd: z.number().min(0).optional() }),
  model: z.string().default(''),
});

/** Says of the events of one log, in order, which calls they charge: what a lost record of them is made from. */
export class SpendingReader {
  readonly #priceOf: (model: string, usage: Usage) => number | null;
  #session: string;
  #agent: string;
  /** Whom the messages are of that wait for a turn, by message id. */
  readonly #senders = new Map<string, string>();
  #turn: { turn: string; step: number; sender: string | undefined } | null = null;

  /**
   * @param log where reading does not start with its first event: what its state says.
   * @param priceOf what a call cost that its event names no price for.
   */
  constructor(
    log: { session: string; agent: string },
    priceOf: (model: string, usage: Usage) => number | null,
  ) {
    this.#session = log.session;
    this.#agent = log.agent;
    this.#priceOf = priceOf;
  }

  /** The call that an event charges; null: none. */
  add(event: StoredEvent): SettledCall | null {
    if (!isKnownEvent(event)) return null;
    switch (event.type) {
      case 'session_started':
        this.#session = event.session;
        this.#agent = event.agent;
        return null;
      case 'user_message': {
        const sender = senderOf(event.source);
        if (sender !== undefined) this.#senders.set(event.message_id, sender);
        for (const oldest of this.#senders.keys()) {
          if (this.#senders.size <= MAX_MESSAGES) break;
          this.#senders.delete(oldest);
        }
        return null;
      }
      case 'turn_started': {
        const last = event.trigger.findLast((id) => this.#senders.has(id));
        const sender = last === undefined ? undefined : this.#senders.get(last);
        for (const id of event.trigger) this.#senders.delete(id);
        this.#turn = { turn: event.turn, step: 1, sender };
        return null;
      }
      case 'assistant_message': {
        const { turn, step, attempt } = event;
        this.#at(turn).step = step + 1;
        return this.#call(event, { turn, step, attempt });
      }
      case 'model_call_failed': {
        const { turn, step, attempt } = event;
        return this.#call(event, { turn, step, attempt });
      }
      case 'history_summarized':
      case 'summary_failed':
        return this.#call(event, { summary: event.up_to_seq });
      case 'turn_resumed': {
        // What the call before it is charged with, which was cut.
        const { turn, attempt } = event;
        const { step } = this.#at(turn);
        const call = this.#call(event, { turn, step, attempt: attempt - 1 });
        return call && { ...call, cut: true };
      }
      case 'turn_finished':
        this.#turn = null;
        return null;
      default:
        return null;
    }
  }

  /** The open turn; one whose beginning was not read. */
  #at(turn: string): { step: number; sender: string | undefined } {
    if (this.#turn?.turn !== turn) this.#turn = { turn, step: 1, sender: undefined };
    return this.#turn;
  }

  #call(event: StoredEvent, call: CallName): SettledCall | null {
    const charge = chargeSchema.safeParse(event);
    if (!charge.success) return null;
    const { usage: priced, model } = charge.data;
    const { usd: written, ...usage } = priced;
    const usd = written ?? this.#priceOf(model, usage);
    const sender = this.#turn?.sender;
    return {
      at: event.at,
      session: this.#session,
      ...call,
      agent: this.#agent,
      ...(sender === undefined ? {} : { sender }),
      model,
      usage,
      usd,
    };
  }
}

/** `<gateway>:<id>` of the person of a chat that wrote a message; undefined: nobody of a chat did. */
function senderOf({ chat, sender }: MessageSource): string | undefined {
  return chat && sender?.id !== undefined ? `${chat.gateway}:${sender.id}` : undefined;
}
