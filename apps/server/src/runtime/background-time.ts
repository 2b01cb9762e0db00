import { GRACE_MS } from '../core/session/background.ts';
import type { OpenTurn, SessionState } from '../core/session/state.ts';
import { cutWorkMs } from '../core/session/working-time.ts';
import type { Clock } from '../ports/clock.ts';

/**
 * For how long the open turn of one session has worked with nobody attached, by the monotonic
 * clock: what its log says, and all since.
 */
export class BackgroundTime {
  readonly #clock: Clock;
  readonly #onLimit: (turn: string) => void;
  #cancelTimer: () => void = () => undefined;
  #turn: string | null;
  /** Counted up to `#since`. */
  #ms: number;
  /** Monotonic instant since which it counts; null: it does not. */
  #since: number | null = null;

  /**
   * @param opened the state of a log that was opened: what its turn worked since the last record counts.
   * @param onLimit called when the turn reaches its limit, and every 30 s behind it while a tool still runs.
   */
  constructor(clock: Clock, opened: SessionState, onLimit: (turn: string) => void) {
    this.#clock = clock;
    this.#onLimit = onLimit;
    const { turn } = opened;
    this.#turn = turn?.turn ?? null;
    const now = new Date(clock.now()).toISOString();
    this.#ms = (turn?.unattendedMs ?? 0) + (turn ? cutWorkMs(turn, opened.updatedAt, now) : 0);
  }

  /** What it is now, for the rules of a decision. */
  get counted(): { turn: string | null; ms: number } {
    return { turn: this.#turn, ms: Math.floor(this.#count()) };
  }

  /** Counts on as things are now. `limitMs` 0: for ever. */
  look(turn: OpenTurn | null, isAlone: boolean, limitMs: number): void {
    this.#ms = this.#count();
    if (this.#turn !== (turn?.turn ?? null)) {
      this.#turn = turn?.turn ?? null;
      this.#ms = turn?.unattendedMs ?? 0;
    }
    const counts = turn !== null && turn.workingSince !== null && isAlone;
    this.#since = counts ? this.#clock.monotonic() : null;
    this.#cancelTimer();
    if (!counts || limitMs === 0) return;
    const used = this.#ms - turn.unattendedFrom;
    const runs = turn.calls.some(({ status }) => status === 'started');
    // A tool that still runs behind both is told of again: nothing else ends it.
    const again = runs ? used + GRACE_MS : undefined;
    const end = [limitMs, limitMs + GRACE_MS].find((ms) => ms > used) ?? again;
    if (end === undefined) return;
    this.#cancelTimer = this.#clock.after(Math.ceil(end - used), () => this.#onLimit(turn.turn));
  }

  close(): void {
    this.#cancelTimer();
  }

  #count(): number {
    return this.#ms + (this.#since === null ? 0 : this.#clock.monotonic() - this.#since);
  }
}
