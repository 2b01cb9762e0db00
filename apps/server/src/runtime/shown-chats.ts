import { type ProgressDelta, visible } from '@duragent/protocol';
import { boundChats, stepOut } from '../core/session/deliveries.ts';
import type { Chat, SessionState } from '../core/session/state.ts';
import type { Chats } from './chats.ts';

/** What one session shows its chats while it works: replies that grow, and that the agent writes. */
export class ShownChats {
  readonly #session: string;
  readonly #outlet: Chats;
  /** The turn that was open when the session was: nobody knows what the chats were shown of it. */
  readonly #openedTurn: string | undefined;
  #isTurnShown = false;
  /** The turn whose progress is shown. */
  #progressOf: string | null = null;

  constructor(session: string, outlet: Chats, openedTurn?: string) {
    this.#session = session;
    this.#outlet = outlet;
    this.#openedTurn = openedTurn;
  }

  /** How many chats show the session and can be reached. */
  present(state: SessionState): number {
    return boundChats(state).filter((chat) => this.#outlet.isPresent(chat.gateway)).length;
  }

  /** Shows what the model has said so far; `text` is read when there is time to show it. */
  reply(state: SessionState, text: (turn: string, step: number, attempt: number) => string): void {
    const { turn, previews } = state;
    if (turn?.phase !== 'model') return;
    const { step, attempt, replyTo } = turn;
    for (const chat of boundChats(state)) {
      if (!this.#mayShow(state, chat)) continue;
      const out = stepOut(turn.turn, step, chat);
      const isPosted = previews.some((preview) => preview.out === out);
      const isAsker = chat.chat_type !== 'dm' && replyTo?.chat === chat.since;
      this.#outlet.preview(this.#session, chat, out, {
        text: () => text(turn.turn, step, attempt),
        isPosted,
        ...(isAsker && replyTo ? { replyTo: replyTo.message } : {}),
      });
    }
  }

  /** Shows how far the open turn is. */
  progress(state: SessionState, { turn, text, percent }: ProgressDelta): void {
    // A second message would stand beside the one of before the restart.
    if (state.turn?.turn !== turn || turn === this.#openedTurn) return;
    this.#progressOf = turn;
    const line =
      percent === undefined ? `⏳ ${visible(text)}` : `⏳ ${percent} %: ${visible(text)}`;
    this.#outlet.progress(this.#session, { turn, chats: boundChats(state), text: line });
  }

  /** What is owed to a chat comes first. */
  #mayShow({ deliveries }: SessionState, chat: Chat): boolean {
    const isBehind = deliveries.some((one) => one.chat === chat.since);
    return !isBehind && this.#outlet.showsPreviews(chat.gateway);
  }

  /** Tells the chats when a turn begins and ends to work. */
  turn(state: SessionState): void {
    if (this.#progressOf !== null && state.turn?.turn !== this.#progressOf) this.#endProgress();
    const isWorking = state.turn !== null && state.turn.paused === null;
    this.#show(isWorking ? boundChats(state) : []);
  }

  /** The session is closed: whatever its turn does, it is not seen here any more. */
  close(): void {
    if (this.#progressOf !== null) this.#endProgress();
    this.#show([]);
  }

  #endProgress(): void {
    this.#progressOf = null;
    this.#outlet.progress(this.#session, null);
  }

  #show(chats: readonly Chat[]): void {
    if (chats.length === 0 && !this.#isTurnShown) return;
    this.#isTurnShown = chats.length > 0;
    this.#outlet.working(this.#session, chats);
  }
}
