import type { ChatAddress } from '@duragent/protocol';
import { chatKey } from '../../core/session/chat-key.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Speaker } from './speaker.ts';

/** Between two texts of one line, in ms. */
const EVERY_MS = 1_000;

/** The line of one turn in one chat. */
interface Line {
  chat: ChatAddress;
  /** What it is to say, and what it says. */
  wanted: string;
  shown: string;
  /** The platform's message; null: it is not known, or never will be. */
  message: string | null;
  /** A call is under way, or its time has not come. */
  isBusy: boolean;
}

interface Shown {
  turn: string;
  lines: Map<string, Line>;
  /** Aborted when the turn has ended: what was not begun is not done. */
  over: AbortController;
}

/**
 * Shows in chats how far turns are: one message for each turn and chat, posted at most once, then
 * edited at most once a second, and never when the turn has ended. Best effort: nothing is recorded.
 */
export class ProgressLines {
  readonly #clock: Clock;
  readonly #speaker: Pick<Speaker, 'sayNow' | 'editNow'>;
  readonly #sessions = new Map<string, Shown>();

  constructor(clock: Clock, speaker: Pick<Speaker, 'sayNow' | 'editNow'>) {
    this.#clock = clock;
    this.#speaker = speaker;
  }

  /** A turn is so far. */
  show(session: string, turn: string, chats: readonly ChatAddress[], text: string): void {
    if (this.#sessions.get(session)?.turn !== turn) this.end(session);
    const shown = this.#sessions.get(session) ?? {
      turn,
      lines: new Map<string, Line>(),
      over: new AbortController(),
    };
    this.#sessions.set(session, shown);
    for (const chat of chats) {
      const key = chatKey(chat);
      const line = shown.lines.get(key);
      if (line) {
        line.wanted = text;
        this.#edit(shown, line);
      } else {
        const fresh = { chat, wanted: text, shown: '', message: null, isBusy: true };
        shown.lines.set(key, fresh);
        void this.#post(shown, key, fresh);
      }
    }
  }

  /** The session's turn has ended: nothing more is said of it. */
  end(session: string): void {
    this.#sessions.get(session)?.over.abort();
    this.#sessions.delete(session);
  }

  close(): void {
    for (const session of this.#sessions.keys()) this.end(session);
  }

  async #post(shown: Shown, key: string, line: Line): Promise<void> {
    const text = (): string => {
      line.shown = line.wanted;
      return line.shown;
    };
    const posted = await this.#speaker
      .sayNow(line.chat, text, shown.over.signal)
      .catch(() => 'unsent' as const);
    if (posted === 'unsent') {
      // Nobody has seen anything: the next one may be the first.
      shown.lines.delete(key);
      return;
    }
    line.message = posted.message;
    this.#rest(shown, line, EVERY_MS);
  }

  #edit(shown: Shown, line: Line): void {
    const { chat, message, wanted } = line;
    if (line.isBusy || message === null || wanted === line.shown) return;
    line.isBusy = true;
    line.shown = wanted;
    this.#speaker.editNow(chat, message, wanted, shown.over.signal).then(
      ({ waitMs }) => this.#rest(shown, line, Math.max(EVERY_MS, waitMs)),
      () => undefined,
    );
  }

  /** After a while it may say something new. */
  #rest(shown: Shown, line: Line, ms: number): void {
    if (shown.over.signal.aborted) return;
    const cancel = this.#clock.after(ms, () => {
      line.isBusy = false;
      shown.over.signal.removeEventListener('abort', cancel);
      this.#edit(shown, line);
    });
    shown.over.signal.addEventListener('abort', cancel, { once: true });
  }
}
