/** The simulator's time: real time, moved ahead by whoever tests with it. */
export class SimulatorClock {
  #aheadMs = 0;

  /** Milliseconds since 1970. */
  now(): number {
    return Date.now() + this.#aheadMs;
  }

  /** Seconds since 1970, as Telegram writes dates. */
  seconds(): number {
    return Math.floor(this.now() / 1000);
  }

  /** Moves it ahead. Long polls still wait in real time. */
  advance(ms: number): void {
    if (!Number.isFinite(ms) || ms < 0) throw new RangeError('the clock moves ahead only: ms >= 0');
    this.#aheadMs += ms;
  }
}
