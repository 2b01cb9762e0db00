import { isKnownEvent, type StoredEvent, type TurnOutcome } from '@duragent/protocol';

/** Follows from a session's events which turn is open, and which messages have no answer yet. Pure. */
export class TurnWatch {
  /** The turn that is open. */
  turn: string | null = null;
  /** How the last turn ended. */
  lastOutcome: TurnOutcome | null = null;
  /** The last seq seen. */
  seq = 0;
  ended = false;
  /** Whether an operator has paused the session. */
  held = false;
  readonly #waiting = new Map<string, { seq: number; turn: string | null }>();

  apply(event: StoredEvent): void {
    this.seq = event.seq;
    if (!isKnownEvent(event)) return;
    switch (event.type) {
      case 'user_message':
        // Its new text is answered in its place.
        if (event.replaces !== undefined) this.#waiting.delete(event.replaces);
        if (event.handling === 'turn')
          this.#waiting.set(event.message_id, { seq: event.seq, turn: null });
        return;
      case 'turn_started':
        this.turn = event.turn;
        this.#assign(event.turn, (id) => event.trigger.includes(id));
        return;
      case 'assistant_message':
        // A message that this step saw belongs to its turn, also when it came later than the trigger.
        this.#assign(event.turn, (_, seq) => seq <= event.input_seq);
        return;
      case 'turn_finished':
        this.turn = null;
        this.lastOutcome = event.outcome;
        for (const [id, message] of this.#waiting) {
          if (message.turn === event.turn) this.#waiting.delete(id);
        }
        return;
      case 'session_ended':
        this.ended = true;
        this.held = false;
        this.turn = null;
        this.#waiting.clear();
        return;
      case 'session_paused':
      case 'session_resumed':
        this.held = event.type === 'session_paused';
        return;
      case 'message_dropped':
        for (const id of event.message_ids) this.#waiting.delete(id);
        return;
      case 'session_started':
      case 'chat_bound':
      case 'chat_unbound':
      case 'preview_posted':
      case 'delivery_started':
      case 'delivery_finished':
      case 'notice':
      case 'setting_changed':
      case 'model_call_failed':
      case 'approval_requested':
      case 'approval_decided':
      case 'question_asked':
      case 'question_answered':
      case 'tool_started':
      case 'tool_finished':
      case 'turn_paused':
      case 'turn_resumed':
      case 'recovered':
      case 'history_summarized':
      case 'summary_failed':
        return;
    }
  }

  /** Whether nothing is being answered, nor waits for it. */
  get idle(): boolean {
    return this.turn === null && this.#waiting.size === 0;
  }

  #assign(turn: string, belongs: (id: string, seq: number) => boolean): void {
    for (const [id, message] of this.#waiting) {
      if (message.turn === null && belongs(id, message.seq)) message.turn = turn;
    }
  }
}
