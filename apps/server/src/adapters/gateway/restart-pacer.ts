import type { GatewayProcessLimits } from './limits.ts';

/** When the next start may be. `degraded`: there were so many that it is tried seldom from now on. */
export interface Pause {
  delayMs: number;
  degraded: boolean;
}

type PacerLimits = Pick<
  GatewayProcessLimits,
  'backoffMs' | 'maxBackoffMs' | 'maxRestarts' | 'restartWindowMs' | 'degradedMs'
>;

/**
 * Paces restarts: a random part of a pause that doubles (full jitter, so that what fell together
 * does not rise together); after too many within the window only the long pause, until `reset`.
 */
export class RestartPacer {
  readonly #limits: PacerLimits;
  readonly #random: () => number;
  #attempt = 0;
  #isDegraded = false;
  /** When there were restarts, within the window. */
  #restarts: number[] = [];

  constructor(limits: PacerLimits, random: () => number) {
    this.#limits = limits;
    this.#random = random;
  }

  /** A restart is due. `now`: ms of a clock that never falls. */
  next(now: number): Pause {
    const { backoffMs, maxBackoffMs, maxRestarts, restartWindowMs, degradedMs } = this.#limits;
    this.#restarts = this.#restarts.filter((at) => at > now - restartWindowMs);
    this.#isDegraded ||= this.#restarts.length >= maxRestarts;
    if (this.#isDegraded) return { delayMs: degradedMs, degraded: true };
    this.#restarts.push(now);
    const ceiling = Math.min(maxBackoffMs, backoffMs * 2 ** this.#attempt);
    this.#attempt += 1;
    return { delayMs: this.#random() * ceiling, degraded: false };
  }

  /** It worked for long enough, or a person asked: what was before is forgotten. */
  reset(): void {
    this.#attempt = 0;
    this.#isDegraded = false;
    this.#restarts = [];
  }
}
