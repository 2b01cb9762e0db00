import {
  type Answer,
  isKnownEvent,
  type MessageAccepted,
  type QueueMode,
  type StoredEvent,
} from '@duragent/protocol';

/** Follows a session's events until the turn that answers one message has ended. */
export class AnswerTracker {
  readonly #message: MessageAccepted;
  #queue: QueueMode;
  #turn: string | null;
  /** Whether the current turn has seen the message. */
  #isSeen = false;
  #text = '';

  /** @param queue the mode of a turn that was open when the message came. */
  constructor(message: MessageAccepted, queue: QueueMode) {
    this.#message = message;
    this.#queue = queue;
    this.#turn = message.turn;
  }

  /** Takes the next event behind the message. @returns the answer, once its turn has ended. */
  see(event: StoredEvent): Answer | null {
    if (!isKnownEvent(event)) return null;
    switch (event.type) {
      case 'turn_started':
        this.#turn = event.turn;
        this.#queue = event.queue;
        this.#isSeen = event.trigger.includes(this.#message.message_id);
        return null;
      case 'question_answered':
        if (event.message_id === this.#message.message_id) {
          this.#turn = event.turn;
          this.#isSeen = true;
        }
        return null;
      case 'assistant_message':
        this.#isSeen ||= this.#queue === 'steer' && event.input_seq >= this.#message.seq;
        if (this.#isSeen) {
          this.#text = event.content
            .map((part) => (part.type === 'text' ? part.text : ''))
            .join('');
        }
        return null;
      case 'turn_finished':
        if (!this.#isSeen) return null;
        return {
          ...this.#message,
          turn: event.turn,
          outcome: event.outcome,
          text: this.#text,
          usage: event.usage,
          ...(event.error ? { error: event.error } : {}),
        };
      case 'message_dropped':
        if (!event.message_ids.includes(this.#message.message_id)) return null;
        return {
          ...this.#message,
          turn: null,
          outcome: 'cancelled',
          text: '',
          usage: { input_tokens: 0, output_tokens: 0 },
          error: {
            code: 'message_dropped',
            message:
              'A turn works, and this agent does not answer what comes meanwhile; send it again later.',
          },
        };
      case 'session_ended':
        return {
          ...this.#message,
          turn: this.#turn,
          outcome: 'cancelled',
          text: this.#text,
          usage: { input_tokens: 0, output_tokens: 0 },
        };
      default:
        return null;
    }
  }
}
