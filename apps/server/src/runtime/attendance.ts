import type { Clock } from '../ports/clock.ts';

/** How long everyone has to be gone before `on_disconnect` applies. */
const LEAVE_MS = 5_000;

/** Who is attached to one session: how many, and which turn they all left while it worked. */
export class Attendance {
  readonly #clock: Clock;
  readonly #onLeft: () => void;
  #cancelTimer: () => void = () => undefined;
  #clients = 0;
  #chats = 0;
  #leftTurn: string | null = null;

  /** `onLeft` is called when everyone has been gone for 5 s from a turn that worked. */
  constructor(clock: Clock, onLeft: () => void) {
    this.#clock = clock;
    this.#onLeft = onLeft;
  }

  get clients(): number {
    return this.#clients;
  }

  /** The turn that everyone left 5 s ago or more; null: somebody is there, or it began later. */
  get leftTurn(): string | null {
    return this.#leftTurn;
  }

  enter(): void {
    this.#cancelTimer();
    this.#leftTurn = null;
    this.#clients += 1;
  }

  /** @param turn the turn that is open now. */
  leave(turn: string | null): void {
    this.#clients -= 1;
    if (this.#clients > 0 || turn === null) return;
    this.#cancelTimer = this.#clock.after(LEAVE_MS, () => {
      this.#leftTurn = turn;
      this.#onLeft();
    });
  }

  /** How many chats show the session and can be reached. */
  setChats(count: number, turn: string | null): void {
    const change = count - this.#chats;
    this.#chats = count;
    for (let i = 0; i < change; i += 1) this.enter();
    for (let i = 0; i > change; i -= 1) this.leave(turn);
  }

  /** Somebody speaks to the turn that was left: it goes on until it is left again. */
  heard(): void {
    this.#leftTurn = null;
  }

  close(): void {
    this.#cancelTimer();
  }
}
